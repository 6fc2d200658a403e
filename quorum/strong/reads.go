package strong

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
)

// waiter is what needs a confirmation round begun after it came in (S10): a read, a
// refusal, or a replica's question for an index.
type waiter struct {
	round    uint64
	index    uint64 // must be applied
	reply    Reply
	read     *Read // value to be read at the answer
	to       hashring.SID
	id       uint64 // of a replica's question
	deadline time.Duration
	lease    bool // a lease does, as long as there is one
}

// Read takes a read of one key. Its Reply comes from this or a later Finish.
func (r *Replica) Read(q *Read) {
	reply := Reply{Waiter: q.Waiter, Outcome: No}
	leading := r.lead != nil && r.lead.phase == leading
	switch {
	case q.Level == Stale && r.cfg.Holds(r.self) && r.trusted():
		r.readHere(q, reply)
	case q.Level != Stale && q.Deadline <= r.now.Mono:
		reply.Code = Timeout
		r.reply(reply)
	case leading && q.Level != Stale:
		r.wait(waiter{index: r.hard.Commit, reply: reply, read: q, deadline: q.Deadline, lease: q.Level == Lease && r.leased()})
	case q.Level == Validated && r.cfg.Holds(r.self) && r.cfg.Primary != r.self && r.trusted():
		r.readValidated(q)
	default:
		reply.Code, reply.Primary = NotPrimary, r.cfg.Primary
		if q.Level == Validated || q.Level == Stale {
			reply.Code = Redirect
		}
		r.reply(reply)
	}
}

// readHere answers from what is applied here.
func (r *Replica) readHere(q *Read, reply Reply) {
	v, err := r.store.Value(r.hard.Generation, q.Bucket, q.Key)
	if plant.Is(plant.StrongReadsOverlay) {
		v, _, err = r.current(q.Bucket, q.Key)
	}
	if err != nil {
		r.damaged(err)
		reply.Code = Corrupt
		r.reply(reply)
		return
	}
	reply.Outcome, reply.Code, reply.Value, reply.Applied = OK, Done, v, r.hard.Applied
	if v != nil {
		reply.Version = v.Version
	}
	r.reply(reply)
}

// wait joins the next round. The index is at least the barrier's: before it is
// committed, this primary does not know what is.
func (r *Replica) wait(w waiter) {
	l := r.lead
	if len(l.pend)+len(l.waits) >= r.opts.Pending {
		r.giveUpWait(w, Overloaded)
		return
	}
	w.index = max(w.index, l.barrier)
	if plant.Is(plant.StrongNoBarrierWait) {
		w.index = min(w.index, r.hard.Commit)
		l.active = true
	}
	if !w.lease {
		w.joinRound(l)
	}
	l.waits = append(l.waits, w)
}

func (w *waiter) joinRound(l *lead) {
	w.round = l.round + 1
	if plant.Is(plant.StrongRoundBefore) && l.done < l.round {
		w.round = l.round
	}
	l.wanted = true
}

// refuse keeps a refusal until it is sure: what it saw is committed, and no newer
// primary had begun when it came in.
func (r *Replica) refuse(op *Op, reply Reply, saw uint64) {
	if plant.Is(plant.StrongRefusesAtOnce) {
		r.reply(reply)
		return
	}
	w := waiter{index: saw, reply: reply, deadline: op.Deadline}
	if plant.Is(plant.StrongRefusesUnconfirmed) {
		r.await(max(saw, r.lead.barrier), reply, op.Deadline)
		return
	}
	r.wait(w)
}

// settleWaits answers the waiters whose round is done, or whose lease is still held.
func (r *Replica) settleWaits() {
	l := r.lead
	for i := range l.waits {
		if w := &l.waits[i]; w.lease && !r.leased() {
			w.lease = false
			w.joinRound(l)
			r.wake(r.now.Mono)
		}
	}
	l.waits = slices.DeleteFunc(l.waits, func(w waiter) bool {
		switch {
		case (w.lease || w.round <= l.done) && w.index <= r.hard.Applied:
			r.answerWait(w)
		case r.due(w.deadline, 0):
			r.giveUpWait(w, Timeout)
		default:
			return false
		}
		return true
	})
}

func (r *Replica) answerWait(w waiter) {
	if !plant.Is(plant.StrongNoBarrierWait) {
		assert.That(r.lead.active, "S10", "an answer before the barrier")
	}
	switch {
	case !w.to.IsZero():
		r.hasten(w.to)
		r.send(w.to, &Message{Kind: MsgReadIndexReply, Epoch: r.lead.epoch, ID: w.id, Match: w.index})
	case w.read != nil:
		w.reply.Lease = w.lease
		r.readHere(w.read, w.reply)
	default:
		r.reply(w.reply)
	}
}

// hasten tells a store that waits for what is committed now, instead of with the next
// Append.
func (r *Replica) hasten(s hashring.SID) {
	if p := r.lead.peer(s); p != nil && !p.behind && !p.probing && p.sentCommit < min(r.hard.Commit, p.next-1) {
		r.heartbeat(p)
	}
}

// giveUpWait answers a waiter that nothing was sequenced for.
func (r *Replica) giveUpWait(w waiter, code Code) {
	if !w.to.IsZero() {
		r.send(w.to, &Message{Kind: MsgReadIndexReply, Epoch: r.cfg.Epoch, ID: w.id, Reject: true})
		return
	}
	r.giveUp(w.reply, code, false)
}

// onReadIndex is a replica's question: the answer is an index that covers all that was
// committed when the question came in. Who asks under another epoch looks at the ring first:
// after a forced recovery without it, what stands at that index in its log may be lost.
func (r *Replica) onReadIndex(from hashring.SID, m *Message) {
	w := waiter{to: from, id: m.ID, index: r.hard.Commit, deadline: r.now.Mono + r.opts.Silence}
	if r.lead == nil || r.lead.phase != leading || m.Epoch != r.lead.epoch {
		r.giveUpWait(w, NotPrimary)
		return
	}
	if plant.Is(plant.StrongIndexUnconfirmed) {
		r.send(from, &Message{Kind: MsgReadIndexReply, Epoch: m.Epoch, ID: m.ID, Match: r.hard.Commit})
		return
	}
	r.wait(w)
}

// validated are the reads that this store answers itself at an index that the primary
// has confirmed. One question is on its way for all reads that came in before it.
type validated struct {
	waits []validatedRead
	asked uint64 // id of the newest question
	open  bool   // it is not answered
	next  bool   // somebody waits for the next one
	at    time.Duration
}

type validatedRead struct {
	q     *Read
	id    uint64 // of the question asked for it, 0: not yet
	index uint64
	known bool
}

func (r *Replica) readValidated(q *Read) {
	v := &r.reads
	if len(v.waits) >= r.opts.Pending {
		r.reply(Reply{Waiter: q.Waiter, Outcome: No, Code: Overloaded})
		return
	}
	w := validatedRead{q: q}
	if plant.Is(plant.StrongIndexShared) && v.open {
		w.id = v.asked
	}
	v.waits = append(v.waits, w)
	v.next = true
}

// askReadIndex asks the primary, for all reads that nobody has asked for yet.
func (r *Replica) askReadIndex() {
	v := &r.reads
	if v.open && r.due(v.at, r.opts.Retry) {
		v.open, v.next = false, true // lost: those that waited for it ask anew
		for i := range v.waits {
			if v.waits[i].id == v.asked && !v.waits[i].known {
				v.waits[i].id = 0
			}
		}
	}
	if v.open || !v.next {
		return
	}
	v.next = false
	if !slices.ContainsFunc(v.waits, func(w validatedRead) bool { return w.id == 0 }) {
		return
	}
	v.asked, v.open, v.at = r.newID(), true, r.now.Mono
	for i := range v.waits {
		if v.waits[i].id == 0 {
			v.waits[i].id = v.asked
		}
	}
	r.wake(v.at + r.opts.Retry)
	r.send(r.cfg.Primary, &Message{Kind: MsgReadIndex, Epoch: r.cfg.Epoch, ID: v.asked})
}

func (r *Replica) onReadIndexReply(m *Message) {
	v := &r.reads
	if m.ID == v.asked {
		v.open = false
	}
	v.waits = slices.DeleteFunc(v.waits, func(w validatedRead) bool {
		return m.Reject && w.id == m.ID && r.redirect(w.q)
	})
	for i := range v.waits {
		if v.waits[i].id == m.ID {
			v.waits[i].index, v.waits[i].known = m.Match, true
		}
	}
}

func (r *Replica) redirect(q *Read) bool {
	r.reply(Reply{Waiter: q.Waiter, Outcome: No, Code: Redirect, Primary: r.cfg.Primary})
	return true
}

// settleValidated answers the reads whose index is applied here.
func (r *Replica) settleValidated() {
	v := &r.reads
	v.waits = slices.DeleteFunc(v.waits, func(w validatedRead) bool {
		switch {
		case !r.trusted():
			return r.redirect(w.q)
		case w.known && (r.hard.Applied >= w.index || plant.Is(plant.StrongIndexIgnored)):
			r.readHere(w.q, Reply{Waiter: w.q.Waiter})
		case r.due(w.q.Deadline, 0):
			return r.redirect(w.q)
		default:
			return false
		}
		return true
	})
}
