package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quoratedb/quorate/quorum/strong"
)

// strongTrio are three cores with one strong partition whose messages and syncs take no
// time: all of the shards' work and nothing else.
type strongTrio struct {
	nodes   [3]*trioNode
	now     Now
	keys    [][]byte
	n       int
	events  []Event
	replies int
}

type trioNode struct {
	core  *Core
	disk  *disk
	inbox []Event
	gated []Gated
}

func newStrongTrio(tb testing.TB) *strongTrio {
	w := newStrongWorld(tb, "abc", 1)
	w.active()
	t := &strongTrio{now: Now{Mono: time.Second, WallMS: epochMS}}
	for i := range t.nodes {
		d := newDisk()
		n := &trioNode{core: New(Config{Self: sidOf(string(rune('a' + i))), Shards: 1, Starts: 1, Rand: rand.New(rand.NewPCG(1, 2))}, d), disk: d}
		t.nodes[i] = n
		n.inbox = append(n.inbox, Event{Ring: w.ring}, Event{Confirmed: true})
	}
	for i := range 100 {
		t.keys = append(t.keys, fmt.Appendf(nil, "key%04d", i))
	}
	t.run()
	return t
}

// run steps until nobody has anything left.
func (t *strongTrio) run() {
	for busy := true; busy; {
		busy = false
		for i, n := range t.nodes {
			if len(n.inbox) > 0 {
				busy = true
				t.step(i, n)
			}
		}
	}
}

func (t *strongTrio) step(i int, n *trioNode) {
	t.events = append(t.events[:0], n.inbox...)
	n.inbox = n.inbox[:0]
	t.now.Mono += time.Microsecond
	r := n.core.Step(t.now, t.events)
	for j := range r.Now {
		t.emit(i, &r.Now[j])
	}
	n.gated = append(n.gated[:0], r.AfterSync...)
	if r.Batch == nil {
		return
	}
	n.disk.apply([]*Batch{r.Batch})
	for j := range n.gated {
		t.emit(i, &n.gated[j].Out)
	}
	n.inbox = append(n.inbox, Event{Synced: r.Batch.Seq})
}

func (t *strongTrio) emit(from int, o *Out) {
	if o.Message == nil {
		if o.Reply.Code == OK {
			t.replies++
		}
		return
	}
	o.Message.From = t.nodes[from].core.cfg.Self
	for _, n := range t.nodes {
		if n.core.cfg.Self == o.Message.To {
			n.inbox = append(n.inbox, Event{Message: o.Message})
		}
	}
}

// put does so many writes in one step of the primary.
func (t *strongTrio) put(tb testing.TB, n int, value []byte) {
	t.replies = 0
	for range n {
		t.n++
		t.nodes[0].inbox = append(t.nodes[0].inbox, Event{Request: &Request{Op: OpPut, Bucket: "s", Key: t.keys[t.n%len(t.keys)], Value: value}})
	}
	t.run()
	if t.replies != n {
		tb.Fatalf("%d of %d writes were answered", t.replies, n)
	}
}

func (t *strongTrio) get(tb testing.TB, n int, level Level) {
	t.replies = 0
	for range n {
		t.n++
		t.nodes[0].inbox = append(t.nodes[0].inbox, Event{Request: &Request{Op: OpGet, Bucket: "s", Key: t.keys[t.n%len(t.keys)], Level: level}})
	}
	t.run()
	if t.replies != n {
		tb.Fatalf("%d of %d reads were answered", t.replies, n)
	}
}

func BenchmarkStrongPut(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, value := newStrongTrio(b), make([]byte, 80)
			s.put(b, 128, value)
			b.ReportAllocs()
			for done := 0; done < b.N; done += n {
				s.put(b, n, value)
			}
		})
	}
}

func BenchmarkStrongGet(b *testing.B) {
	s, value := newStrongTrio(b), make([]byte, 80)
	s.put(b, 128, value)
	b.ReportAllocs()
	for done := 0; done < b.N; done += 64 {
		s.get(b, 64, LevelLeader)
	}
}

// A step touches what it is about and what is due, not every partition there is.
func TestStrongStepTouchesFew(t *testing.T) {
	w := newStrongWorld(t, "abc", 1000)
	w.frozen = true
	w.run(2 * time.Second)
	a := w.node("a")
	for range 5 { // between two beats
		w.run(3 * time.Millisecond)
		peek := &strong.Message{Kind: strong.MsgPeek, Epoch: 6, ID: 1, Bucket: 5, Key: []byte("k")}
		before := len(a.core.strong.touched)
		r := a.core.Step(Now{Mono: w.now, WallMS: w.wall()}, []Event{{Message: &Message{Kind: MsgStrong, From: sidOf("b"), Partition: 7, Strong: []*strong.Message{peek}}}})
		if before != 0 || cap(a.core.strong.touched) == 0 || len(r.Now) > 5 {
			t.Fatalf("%d messages left for one question", len(r.Now))
		}
	}
}
