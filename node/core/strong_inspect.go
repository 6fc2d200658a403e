package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongOwners are the stores that a client may turn to, the primary first.
func (c *Core) strongOwners(p uint32) []hashring.SID {
	primary, members := c.ring.Partitions[p].Primary, c.ring.StrongMembers(p)
	out := make([]hashring.SID, 0, len(members))
	if !primary.IsZero() {
		out = append(out, primary)
	}
	for _, s := range members {
		if s != primary {
			out = append(out, s)
		}
	}
	return out
}

// strongOwner tells whether this store serves the request by itself.
func (c *Core) strongOwner(sp *strongPart, r *Request) bool {
	if r.Op == OpGet && r.Level >= LevelQuorum {
		return isIn(c.ring.StrongMembers(sp.id), c.cfg.Self)
	}
	return c.ring.Partitions[sp.id].Primary == c.cfg.Self
}

// strongInspectAgain is the pause before a member is asked again whose newest entry of
// the key was not known to be committed.
const strongInspectAgain = 20 * time.Millisecond

// strongInspect asks every member what it has of a key. What is not committed is never
// shown (S9): a member that has such an entry is asked again, and in the end, as while
// there is no primary to commit it, what it has applied.
type strongInspect struct {
	id      uint64
	peek    uint64
	epoch   uint64 // of the questions; 0: for what is applied
	again   bool   // a timer will ask once more: one for all, else they double with each answer
	origin  origin
	sp      *strongPart
	bucket  hashring.BucketID
	key     []byte
	members []hashring.SID
	rows    []InspectRow
	answers []*strong.Message
}

func (c *Core) startStrongInspect(to origin, r *Request, sp *strongPart, bucket *hashring.Bucket) {
	o := &strongInspect{origin: to, sp: sp, bucket: bucket.ID, key: r.Key, members: c.ring.StrongMembers(sp.id)}
	o.id = c.addOp(o)
	o.peek = c.newPeek(o)
	o.answers = make([]*strong.Message, len(o.members))
	cfg, _ := strong.ConfigOf(&c.ring.Partitions[sp.id])
	o.epoch = cfg.Epoch
	until := min(c.deadlineOf(r), c.now.Mono+inspectAfter)
	c.timers.add(until-(until-c.now.Mono)/2, o.id, timerLate)
	c.timers.add(until, o.id, timerDeadline)
	o.ask(c)
}

// ask asks those that have not answered.
func (o *strongInspect) ask(c *Core) {
	var sends []strong.Send
	for i, s := range o.members {
		if o.answers[i] == nil && c.reachable(s) {
			sends = append(sends, strong.Send{To: s, Msg: &strong.Message{Kind: strong.MsgPeek, Epoch: o.epoch, ID: o.peek, Bucket: o.bucket, Key: o.key}})
		}
	}
	if len(sends) == 0 {
		o.finish(c)
		return
	}
	c.strongSend(o.sp.id, sends)
}

func (o *strongInspect) peeked(c *Core, from hashring.SID, m *strong.Message) {
	missing := 0
	for i, s := range o.members {
		switch {
		case s == from && m.Open && !o.again:
			o.again = true
			c.timers.add(c.now.Mono+strongInspectAgain, o.id, timerRetry)
		case s == from && m.Open:
		case s == from:
			o.answers[i] = m
		}
		if o.answers[i] == nil && c.reachable(s) {
			missing++
		}
	}
	if missing == 0 {
		o.finish(c)
	}
}

func (o *strongInspect) onTimer(c *Core, k timerKind) {
	switch k {
	case timerLate:
		o.epoch = 0
		o.ask(c)
	case timerRetry:
		o.again = false
		o.ask(c)
	default:
		o.finish(c)
	}
}

func (o *strongInspect) onMessage(*Core, *Message) {}
func (o *strongInspect) onDurable(*Core)           {}

func (o *strongInspect) onDown(c *Core, s hashring.SID) { o.ask(c) }

// finish compares every member with the newest committed value among the answers: that
// of the member whose log goes furthest.
func (o *strongInspect) finish(c *Core) {
	if c.ops[o.id] == nil {
		return
	}
	delete(c.ops, o.id)
	delete(c.strong.peeks, o.peek)
	var best *strong.Message
	for _, m := range o.answers {
		if m != nil && m.Full && (best == nil || m.Last.Compare(best.Last) > 0) {
			best = m
		}
	}
	for i, m := range o.answers {
		o.rows = append(o.rows, strongRow(o.members[i], m, best))
	}
	n := len(o.members)
	c.answer(o.origin, &Reply{Partition: o.sp.id, Inspect: o.rows, Strong: &StrongReply{}, Receipt: quorum.Receipt{N: n, Need: 1}})
}

func strongRow(s hashring.SID, m, best *strong.Message) InspectRow {
	row := InspectRow{Store: s, State: Unreachable}
	switch {
	case m == nil:
		return row
	case !m.Full:
		row.State = Suspect
		return row
	case m.Value == nil:
		row.State = Absent
	case m.Value.Tombstone:
		row.State = TombstoneState
	default:
		row.State = Present
	}
	if m.Value != nil {
		row.Version, row.Size = m.Value.Version, len(m.Value.Data)
	}
	row.InSync = m.Value.Live() == best.Value.Live() && (!m.Value.Live() || m.Value.Version == best.Value.Version)
	return row
}

// StrongCommits tells how much of each strong partition's log is committed, as far as
// this store knows, to those who watch it: its batches say so only later.
func (c *Core) StrongCommits(tell func(p uint32, commit uint64)) {
	for _, id := range sortedKeys(c.strong.parts) {
		if sp := c.strong.parts[id]; sp.r != nil {
			tell(id, sp.r.Commit())
		}
	}
}
