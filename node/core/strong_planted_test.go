//go:build planted

package core

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
)

// Each planted bug of the shard that drives strong partitions shows in a small world;
// without it the world is right.
func TestPlantedStrongBugs(t *testing.T) {
	for bug, wrong := range map[plant.Bug]func(t *testing.T) bool{
		plant.StrongResends:     countsTwice,
		plant.StrongCopyIsNo:    deniesACopy,
		plant.StrongTakesWrites: takesEventual,
		plant.StrongGateIgnored: acksUnsynced,
	} {
		shows(t, bug, wrong)
	}
}

// countsTwice: the answer to an increment without an id is lost.
func countsTwice(t *testing.T) bool {
	w := newStrongWorld(t, "abcd", 1)
	w.active()
	w.fate = cut(drop, "a", "d", MsgForwarded)
	c := w.ask(w.node("d"), w.request(OpIncrement, "s", "n", "", []opt{by(1), in(1500 * time.Millisecond)}))
	w.wait(c)
	w.fate = nil
	w.run(time.Second)
	return strongShow(w.get("b", "s", "n")) != "1"
}

// deniesACopy: one copy of a write is refused, and another one comes later.
func deniesACopy(t *testing.T) bool {
	w := newStrongWorld(t, "abcd", 1)
	w.active()
	w.fate = cut(hold, "d", "a", MsgForward)
	c := w.startPut("d", "s", "k", "v", w.key(1))
	o := w.node("d").core.strong.parts[0].ops[0]
	o.maybe = true
	w.step(w.node("d"), Event{Message: &Message{Kind: MsgForwarded, From: sidOf("a"), RingVersion: w.ring.Version, ID: o.copies[0].id, Reply: &Reply{Code: Overloaded, Outcome: NotApplied}}})
	said := c.reply.Outcome
	w.letGo()
	w.run(time.Second)
	return said == NotApplied && strongShow(w.get("b", "s", "k")) == "v"
}

// takesEventual: an eventual write comes for a key of a strong bucket.
func takesEventual(t *testing.T) bool {
	w := newStrongWorld(t, "abc", 1)
	w.active()
	object := w.put("a", "sloppy", "k", "v").Object
	var why quorum.Reason
	w.fate = func(_, _ *wnode, m *Message) fate {
		if m.Kind == MsgWriteAck && m.ID == 9 {
			why = m.Reason
		}
		return deliver
	}
	w.step(w.node("a"), Event{Message: &Message{Kind: MsgWrite, From: sidOf("b"), ID: 9, RingVersion: w.ring.Version, Epoch: w.ring.Partitions[0].PlanEpoch(),
		Bucket: 5, Key: []byte("k"), Hash: hashring.Hash("s", []byte("k")), Object: object}})
	w.run(time.Second)
	return why != quorum.ReasonNotOwner
}

// acksUnsynced: all followers lose power before what they have acked is on a disk.
func acksUnsynced(t *testing.T) bool {
	w := newStrongWorld(t, "abc", 1)
	w.active()
	w.run(time.Second)
	for _, n := range w.nodes[1:] {
		n.holdSync = true
	}
	c := w.startPut("a", "s", "k", "v", in(300*time.Millisecond))
	w.wait(c)
	return c.reply.Outcome == Applied
}
