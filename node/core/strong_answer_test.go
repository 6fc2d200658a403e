package core

import (
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// Every code of the machine, for every kind of outcome that it comes with: what a client
// is told of a write, and of a read.
func TestStrongVerdicts(t *testing.T) {
	w := newStrongWorld(t, "abc", 1)
	w.active()
	c := w.node("a").core
	held := &strong.Value{Version: strong.Version{Incarnation: 1, Epoch: 6, Index: 9}, Data: []byte("v")}
	for _, k := range []struct {
		code    strong.Code
		outcome strong.Outcome
		write   string
		read    string // "": never an answer to a read
	}{
		{strong.Done, strong.OK, "applied", "v"},
		{strong.PreconditionFailed, strong.No, "precondition_failed not_applied", ""},
		{strong.NotCounter, strong.No, "conflict not_applied", ""},
		{strong.CounterRange, strong.No, "conflict not_applied", ""},
		{strong.IDMismatch, strong.No, "idempotency_mismatch not_applied", ""},
		{strong.IDStamp, strong.No, "invalid_argument not_applied", ""},
		{strong.IDExpired, strong.Unknown, "idempotency_expired unknown", ""},
		{strong.Contention, strong.No, "hot_key_throttled not_applied", ""},
		{strong.Overloaded, strong.No, "overloaded not_applied", "overloaded"},
		{strong.Timeout, strong.Unknown, "write_quorum_timeout unknown", ""},
		{strong.Timeout, strong.No, "primary_unavailable not_applied", "read_quorum_timeout"},
		{strong.PrimaryChanged, strong.Unknown, "primary_changed unknown", ""},
		{strong.PrimaryChanged, strong.No, "primary_unavailable not_applied", "primary_changed"},
		{strong.NotPrimary, strong.No, "primary_unavailable not_applied", "primary_unavailable"},
		{strong.Corrupt, strong.No, "primary_unavailable not_applied", "primary_unavailable"},
		{strong.Redirect, strong.No, "primary_unavailable not_applied", "primary_unavailable"},
	} {
		reply := &strong.Reply{Code: k.code, Outcome: k.outcome, Epoch: 6, Members: 3, Acks: 2, Value: held, Version: held.Version}
		write := &strongOp{req: &Request{Op: OpPut}, sp: c.strong.parts[0], level: LevelLeader}
		r := write.outcome(reply)
		w.expect("a write of "+k.code.String(), strongShow(r), k.write)
		if tells := r.Strong != nil; tells != (k.code == strong.Done || k.code == strong.PreconditionFailed) || tells && r.Strong.Version != held.Version {
			t.Errorf("%v: %+v", k.code, r.Strong)
		}
		if retry := r.RetryAfter != 0; retry != (r.Code == Overloaded || r.Code == Contention || r.Code == PrimaryUnavailable) {
			t.Errorf("%v: retry after %v", k.code, r.RetryAfter)
		}
		if k.read != "" {
			read := &strongOp{req: &Request{Op: OpGet}, sp: c.strong.parts[0], level: LevelLeader}
			w.expect("a read of "+k.code.String(), strongShow(read.outcome(reply)), k.read)
		}
	}
	for code := range strong.CodeCount {
		if code != strong.Done && verdicts[code].detail == "" {
			t.Errorf("%v has no words", code)
		}
	}
}

// "No" of one copy is not reported while another may be carried out, unless the log
// itself refuses all copies.
func TestStrongNoOfOneCopy(t *testing.T) {
	for code, want := range map[Code]string{Overloaded: "primary_changed unknown", Contention: "primary_changed unknown", PrimaryUnavailable: "primary_changed unknown",
		InsufficientStorage: "primary_changed unknown", PreconditionFailed: "precondition_failed not_applied", Conflict: "conflict not_applied", IdempotencyMismatch: "idempotency_mismatch not_applied"} {
		for _, maybe := range []bool{true, false} {
			w := newStrongWorld(t, "abcd", 1)
			w.active()
			d := w.node("d")
			w.fate = cut(hold, "d", "a", MsgForward)
			call := w.startPut("d", "s", "k", "v", w.key(1))
			o := d.core.strong.parts[0].ops[0]
			o.maybe = maybe
			id := o.copies[0].id
			w.step(d, Event{Message: &Message{Kind: MsgForwarded, From: sidOf("a"), RingVersion: w.ring.Version, ID: id, Reply: &Reply{Code: code, Outcome: NotApplied}}})
			if maybe {
				w.expect("told after an earlier copy", strongShow(call.reply), want)
			} else {
				w.expect("told", strongShow(call.reply), code.String()+" not_applied")
			}
			w.step(d, Event{Message: &Message{Kind: MsgForwarded, From: sidOf("a"), RingVersion: w.ring.Version, ID: id, Reply: &Reply{Outcome: Applied}}}) // nobody waits for it
			w.fate = nil
			w.run(3e9)
			w.atRest()
		}
	}
}

// A write that is sent again to a store which then becomes the primary itself, and whose
// first copy is answered meanwhile, is answered once.
func TestStrongAnsweredOnce(t *testing.T) {
	w := newStrongWorld(t, "abc", 1)
	w.active()
	w.fate = cut(hold, "a", "b", MsgForwarded)
	call := w.startPut("b", "s", "k", "v", w.key(1), in(10e9))
	w.until("a has answered", func() bool { return len(w.held) == 1 })
	b := w.node("b")
	w.move(0, sidOf("b"))
	w.until("b has it itself", func() bool { return b.core.strong.running == 1 })
	w.letGo()
	w.expect("answered", strongShow(w.wait(call)), "applied")
	w.run(3e9)
	w.expect("once", strongShow(w.get("c", "s", "k")), "v")
	w.atRest()
}

// The same ring state in new memory moves nothing.
func TestStrongSameRingAgain(t *testing.T) {
	w := newStrongWorld(t, "abc", 50)
	w.active()
	w.run(1e9)
	a := w.node("a")
	s := *w.ring.State
	s.Version++
	s.Partitions = append([]hashring.Partition(nil), s.Partitions...)
	for i := range s.Partitions {
		conf := *s.Partitions[i].Strong
		s.Partitions[i].Strong = &conf
	}
	a.core.now = Now{Mono: w.now, WallMS: w.wall()}
	a.core.onRing(hashring.NewRing(&s))
	if n := len(a.core.strong.touched); n != 0 {
		t.Errorf("%d partitions were touched", n)
	}
}
