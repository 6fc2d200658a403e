package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// A stage begins, and one node has not heard of it: what it plans by the older ring is
// refused by the owners, and planned anew once that node has the newer one, whatever is
// asked and wherever; the client notices nothing but the time it took.
func TestARequestIsPlannedAnew(t *testing.T) {
	asks := map[string]*Request{
		"get":                  {Op: OpGet},
		"get one":              {Op: OpGet, R: 1},
		"put":                  {Op: OpPut, Value: []byte("new")},
		"delete":               {Op: OpDelete},
		"put of two owners":    {Op: OpPut, Value: []byte("new"), PW: 2, Sloppy: Yes},
		"get with stand-ins":   {Op: OpGet, Sloppy: Yes},
		"put and any stand-in": {Op: OpPut, Value: []byte("new"), Sloppy: Yes},
	}
	for _, late := range []time.Duration{0, 300 * time.Millisecond} { // at once, or when it comes by itself
		for name, r := range asks {
			for _, at := range "abcde" { // d and e own nothing
				t.Run(fmt.Sprint(name, " at ", string(at), " after ", late), func(t *testing.T) {
					w := newWorld(t, "abcde", 1)
					w.reshape(building("c"))
					before := w.put("a", "strict", "k", "old")
					w.run(time.Second)
					full := w.nextRing(true)
					full.Partitions[0].Building, full.Partitions[0].Session = nil, 0
					full = hashring.NewRing(full.State)
					behind := w.node(string(at))
					for _, n := range w.nodes {
						if n != behind {
							w.step(n, Event{Ring: full})
						}
					}
					w.ring, w.deafTo = full, map[*wnode]bool{behind: late > 0}
					if late > 0 {
						w.at(w.now+late, func() { w.step(behind, Event{Ring: full}) })
					}
					req := *r
					req.Bucket, req.Key = "strict", []byte("k")
					began := w.now
					got := w.do(behind, &req)
					if got.Code != OK || w.now-began > late+200*time.Millisecond {
						t.Fatalf("%v %q after %v: %+v", got.Code, got.Detail, w.now-began, got.Failed)
					}
					if req.Op == OpGet && got.Object.Siblings[0].Dot != before.Object.Siblings[0].Dot {
						t.Errorf("read %v", got.Object)
					}
					w.run(time.Second)
					if req.Op == OpPut {
						w.expect("it was minted once", w.show(w.get("c", "strict", "k")), "new")
					}
					w.run(2 * finishFor)
					if c := behind.core; len(c.stalled) != 0 || len(c.ops) != 0 {
						t.Errorf("%d wait, %d ops are open", len(c.stalled), len(c.ops))
					}
				})
			}
		}
	}
}

// The write-back of a strict read meets a newer stage: the read begins anew.
func TestAWriteBackIsPlannedAnew(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k", "v", wOf(3))
	w.fate = cut(drop, "a", "b", MsgWrite)
	w.put("a", "strict", "k", "v2")
	newer := w.nextRing(true)
	told := false
	w.fate = func(_, to *wnode, m *Message) fate {
		if m.Kind == MsgWrite && !told {
			told, w.ring = true, newer
			for _, n := range []*wnode{w.node("b"), w.node("c")} {
				w.at(w.now, func() { w.step(n, Event{Ring: newer}) })
			}
		}
		return deliver
	}
	w.expect("get", w.show(w.get("a", "strict", "k")), "v2")
	if !told || w.node("a").core.Stats().Replans != 1 {
		t.Errorf("told %v, %d plans made anew", told, w.node("a").core.Stats().Replans)
	}
	w.expect("b has it", w.has("b", "strict", "k"), "v2")
}

// A forward that an owner may have taken stays one when it is planned anew: nobody may say
// not_applied of it any more (E16).
func TestAForwardPlannedAnewMayHaveBeenTaken(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.fate = cut(hold, "d", "a", MsgForward)
	w.startPut("d", "strict", "k", "v")
	c := w.node("d").core
	forwards := func() (out []*forwardOp) {
		for _, op := range c.ops {
			if o, ok := op.(*forwardOp); ok {
				out = append(out, o)
			}
		}
		return out
	}
	before := forwards()
	if len(before) != 1 {
		t.Fatalf("%d forwards", len(before))
	}
	before[0].maybe = true
	before[0].replan(c)
	if after := forwards(); len(after) != 1 || after[0] == before[0] || !after[0].maybe {
		t.Errorf("it has forgotten: %+v", after)
	}
}
