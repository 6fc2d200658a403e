package sim

import "time"

// eventKind says what an event of the world does when its time comes.
type eventKind uint8

const (
	evWake    eventKind = iota + 1 // a shard takes its inbox
	evTimer                        // a shard's deadline
	evSynced                       // a shard's commit returns
	evArrive                       // a parcel reaches its node
	evLoaded                       // a long read returns
	evDial                         // a pair tries to connect
	evSilence                      // a pair looks whether it has been silent for too long
	evDown                         // a node learns that a connection is gone
	evGossip                       // a node looks at its members
	evLearn                        // a node may learn a ring state
	evBoot                         // a node tries to get its start confirmed
	evClient                       // the next client operation
	evAnswer                       // a reply reaches its client
	evGiveUp                       // a client stops waiting
	evFault                        // the nemesis begins or ends something
	evDo                           // anything else
)

// event is one thing that will happen. n and inc name the process it is meant for:
// one that has died meanwhile gets nothing.
type event struct {
	at   time.Duration
	seq  uint64
	kind eventKind
	x    uint32 // shard, or what the kind needs
	inc  uint32
	n    *node
	p    any
}

// queue is a heap of events by time, then by the order in which they were put in.
type queue struct {
	heap []event
	seq  uint64
}

func (q *queue) put(e event) {
	q.seq++
	e.seq = q.seq
	h := append(q.heap, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !before(&e, &h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	q.heap = h
}

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (q *queue) take() event {
	h := q.heap
	top := h[0]
	last := h[len(h)-1]
	h[len(h)-1] = event{}
	h = h[:len(h)-1]
	if len(h) > 0 {
		i := 0
		for {
			least := -1
			for c := 4*i + 1; c <= 4*i+4 && c < len(h); c++ {
				if least < 0 || before(&h[c], &h[least]) {
					least = c
				}
			}
			if least < 0 || before(&last, &h[least]) {
				break
			}
			h[i] = h[least]
			i = least
		}
		h[i] = last
	}
	q.heap = h
	return top
}
