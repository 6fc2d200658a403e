package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongly gives a script's world a strong bucket.
func strongly(d *Draw) { d.Strong.On = true }

// lead is the node that leads the one partition by the ring state.
func (s *script) lead() *node { return s.w.bySID[s.w.auth.state.Partitions[0].Primary] }

// follow are the other members.
func (s *script) follow() (out []*node) {
	for _, sid := range s.w.auth.state.Partitions[0].Strong.Members() {
		if n := s.w.bySID[sid]; n != s.lead() {
			out = append(out, n)
		}
	}
	return out
}

// away is a node that is no member.
func (s *script) away() *node {
	for _, n := range s.w.nodes {
		if !s.w.auth.state.Partitions[0].Strong.IsMember(n.sid) {
			return n
		}
	}
	return nil
}

func at(l core.Level) func(*core.Request) { return func(r *core.Request) { r.Level = l } }
func ifMatch(v strong.Version) func(*core.Request) {
	return func(r *core.Request) { r.If.IfMatch = v }
}
func ifNone(r *core.Request) { r.If.IfNoneMatch = true }
func keyed(id strong.RequestID) func(*core.Request) {
	return func(r *core.Request) { r.StrongID = id }
}

// key is a new Idempotency-Key.
func (s *script) key() strong.RequestID { return s.w.load.newID(s.w, s.a) }

// sput, sget and sdel work on the strong bucket.
func (s *script) sput(n *node, value string, opts ...func(*core.Request)) *core.Reply {
	return s.wait(s.ask(n, core.OpPut, strongBucket, value, opts...))
}

func (s *script) sget(n *node, opts ...func(*core.Request)) *core.Reply {
	return s.wait(s.ask(n, core.OpGet, strongBucket, "", opts...))
}

// made is a write that must be acked; it returns its version.
func (s *script) made(n *node, value string, opts ...func(*core.Request)) strong.Version {
	r := s.sput(n, value, opts...)
	if r == nil || r.Outcome != core.Applied {
		s.fail("%s at %s: %s", value, n.name, show(r))
		return strong.Version{}
	}
	return r.Strong.Version
}

// name makes another store the primary (T1); moved waits until it serves.
func (s *script) name(n *node) {
	s.w.auth.change([]hashring.StrongChange{{Partition: 0, Epoch: s.epoch(), Kind: hashring.StrongPrimary, Primary: n.sid}})
	if s.lead() != n {
		s.fail("%s is not made the primary", n.name)
	}
}

func (s *script) moved(n *node) {
	s.name(n)
	s.served()
}

func (s *script) epoch() uint64 { return s.w.auth.state.Partitions[0].Strong.Epoch }

// served waits until the partition has an active primary.
func (s *script) served() {
	s.w.runUntil(s.w.now+30*time.Second, func() bool { return s.w.auth.state.Partitions[0].Strong.Activated })
	if !s.w.auth.state.Partitions[0].Strong.Activated {
		s.fail("no active primary after 30 s: %s", s.w.auth.drawConfig(0))
	}
	s.run(100 * time.Millisecond)
}

// failsOver waits until somebody else leads.
func (s *script) failsOver(from *node, within time.Duration) {
	since := s.w.now
	s.w.runUntil(s.w.now+within, func() bool { return s.lead() != from && s.w.auth.state.Partitions[0].Strong.Activated })
	if s.lead() == from || !s.w.auth.state.Partitions[0].Strong.Activated {
		s.fail("no other primary serves %v later: %s", s.w.now-since, s.w.auth.drawConfig(0))
	}
}

// joins commits T2 to other stores.
func (s *script) joins(to ...*node) {
	var sids []hashring.SID
	for _, n := range to {
		sids = append(sids, n.sid)
	}
	s.w.auth.change([]hashring.StrongChange{{Partition: 0, Epoch: s.epoch(), Kind: hashring.StrongJoint, Primary: sids[0], Stores: sids}})
}

// leaves commits T3, or T4, under the given primary.
func (s *script) leaves(kind hashring.StrongKind, primary *node) {
	s.w.auth.change([]hashring.StrongChange{{Partition: 0, Epoch: s.epoch(), Kind: kind, Primary: primary.sid}})
}

// tame keeps the judges from naming primaries and sets: the story does that itself.
func (s *script) tame() { s.w.auth.tame = true }

// cutOff severs nodes from all others, both ways, and mended joins them again.
func (s *script) cutOff(nodes ...*node) { s.apart(1, nodes) }
func (s *script) mended(nodes ...*node) { s.apart(-1, nodes) }

func (s *script) apart(by int, nodes []*node) {
	for _, n := range nodes {
		for _, o := range s.w.nodes {
			if !slices.Contains(nodes, o) {
				s.w.cutLink(n, o, by)
				s.w.cutLink(o, n, by)
			}
		}
	}
}

// strongLost has all strong messages of some kinds from one node to others lost.
func (s *script) strongLost(from *node, kinds ...strong.MessageKind) {
	s.w.onSend = func(a, _ *node, m *core.Message) verdict {
		if a == from && holdsKind(m, kinds) {
			return drop
		}
		return deliver
	}
}

// strongEdited has what f returns sent in place of each strong message; nil is lost.
func (s *script) strongEdited(f func(a, b *node, m *strong.Message) *strong.Message) {
	s.w.onSend = func(a, b *node, m *core.Message) verdict {
		if len(m.Strong) == 0 {
			return deliver
		}
		var out []*strong.Message
		for _, sm := range m.Strong {
			if sm = f(a, b, sm); sm != nil {
				out = append(out, sm)
			}
		}
		if m.Strong = out; len(out) == 0 && m.Kind == core.MsgStrong {
			return drop
		}
		return deliver
	}
}

// untold keeps a primary from hearing that it is none any more: it gets acks and nothing else.
func (s *script) untold(old *node) {
	old.deaf++
	s.strongEdited(func(_, b *node, m *strong.Message) *strong.Message {
		if b == old && m.Kind != strong.MsgConfirmAck && m.Kind != strong.MsgAppendAck {
			return nil
		}
		return m
	})
	edited := s.w.onSend
	s.w.onSend = func(a, b *node, m *core.Message) verdict {
		if b == old {
			m.RingVersion = 0 // nor asks others for their ring
			if m.Kind != core.MsgStrong {
				return drop
			}
		}
		return edited(a, b, m)
	}
}

// strongCopied keeps a copy of every message with entries from one node to another, and
// lets it pass; letGo sends the copies.
func (s *script) strongCopied(from, to *node) {
	s.strongKept(from, to, strong.MsgAppend)
	held := s.w.onSend
	s.w.onSend = func(a, b *node, m *core.Message) verdict {
		held(a, b, m)
		return deliver
	}
}

// strongKept holds them back until letGo.
func (s *script) strongKept(from, to *node, kinds ...strong.MessageKind) {
	s.w.onSend = func(a, b *node, m *core.Message) verdict {
		if a != from || to != nil && b != to || !holdsKind(m, kinds) {
			return deliver
		}
		c := *m
		c.Strong = slices.Clone(m.Strong)
		s.kept = append(s.kept, kept{a, &c})
		return hold
	}
}

// strongKeptTo holds back what comes to one node.
func (s *script) strongKeptTo(to *node, kinds ...strong.MessageKind) {
	s.w.onSend = func(a, b *node, m *core.Message) verdict {
		if b != to || !holdsKind(m, kinds) {
			return deliver
		}
		c := *m
		c.Strong = slices.Clone(m.Strong)
		s.kept = append(s.kept, kept{a, &c})
		return hold
	}
}

func holdsKind(m *core.Message, kinds []strong.MessageKind) bool {
	return slices.ContainsFunc(m.Strong, func(sm *strong.Message) bool { return slices.Contains(kinds, sm.Kind) })
}

// shows reads at every level through some node, and expects one value.
func (s *script) shows(n *node, want string) {
	for _, l := range []core.Level{core.LevelLeader, core.LevelQuorum, core.LevelReplica} {
		if got := show(s.sget(n, at(l))); got != want {
			s.fail("a read of level %d at %s shows %q, not %q", l, n.name, got, want)
		}
	}
}

// met fails a story that did not come to what it is about.
func (s *script) met(p probe) {
	if s.w.probe.n[p] == 0 {
		s.fail("%s was not met", probeNames[p])
	}
}

func values(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("w%d", i))
	}
	return out
}

// value is a new one; last is what it was.
func (s *script) value() string {
	s.seq++
	s.last = fmt.Sprintf("x%d", s.seq)
	return s.last
}

// strongLostAfter lets a store get one more append with entries from another, and then
// nothing.
func (s *script) strongLostAfter(from, to *node) {
	passed := false
	s.w.onSend = func(a, b *node, m *core.Message) verdict {
		if a != from || b != to || !holdsKind(m, []strong.MessageKind{strong.MsgAppend}) {
			return deliver
		}
		if passed {
			return drop
		}
		passed = slices.ContainsFunc(m.Strong, func(sm *strong.Message) bool { return len(sm.Entries) > 0 })
		return deliver
	}
}
