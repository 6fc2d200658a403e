package core

import (
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongReplies hands out what replicas answer.
func (c *Core) strongReplies(replies []strong.Reply) {
	for i := range replies {
		o, ok := replies[i].Waiter.(*strongOp)
		if !ok {
			continue
		}
		c.strong.running--
		if o.here = false; !o.ended { // a copy of it may have been answered elsewhere
			o.replied(c, &replies[i])
		}
	}
}

// replied takes the word of the replica here. What it did not take goes on elsewhere.
func (o *strongOp) replied(c *Core, r *strong.Reply) {
	again := false
	switch r.Code {
	case strong.NotPrimary, strong.Corrupt:
		again = true // damaged: it leads no longer
	case strong.Redirect:
		if again = true; !o.origin.from.IsZero() && o.level == LevelReplica {
			o.drop(c)
			c.decline(o.origin, o.sp.id, quorum.ReasonStarting)
			return
		}
		o.level = LevelLeader
	case strong.PrimaryChanged:
		if again = r.Outcome == strong.No || o.repeatable(); r.Outcome == strong.Unknown {
			o.maybe = true
		}
	}
	switch {
	case again && c.now.Mono >= o.deadline:
		o.end(c, o.late())
	case again && (r.Code == strong.Corrupt || o.level == LevelStale):
		o.wait(c)
	case again && o.maybe && !o.origin.from.IsZero():
		o.end(c, o.outcome(r)) // who has sent it here sends it on
	case again:
		o.try(c)
	default:
		o.end(c, o.outcome(r))
	}
}

// answered takes the answer to a forward.
func (o *strongOp) answered(c *Core, r *Reply) {
	if r.Code == PrimaryChanged && r.Outcome == Unknown && o.repeatable() && c.now.Mono < o.deadline {
		o.maybe = true
		if o.waits() {
			o.wait(c)
		}
		return
	}
	o.end(c, r)
}

// late is the answer when the time is up.
func (o *strongOp) late() *Reply {
	switch {
	case !o.req.isWrite() && o.waits():
		return &Reply{Code: PrimaryUnavailable, Detail: "the partition had no primary that could be reached by the deadline", RetryAfter: retryAfter}
	case !o.req.isWrite():
		return &Reply{Code: ReadTimeout, Detail: "not enough replicas had answered by the deadline"}
	case o.maybe, !o.waits():
		return &Reply{Code: WriteTimeout, Outcome: Unknown, Detail: "the primary had not answered by the deadline"}
	}
	return &Reply{Code: PrimaryUnavailable, Outcome: NotApplied, Detail: "the partition had no primary that could be reached by the deadline", RetryAfter: retryAfter}
}

// end answers the request. "No" speaks of one copy alone, unless the primary has
// written it into the log for all of them.
func (o *strongOp) end(c *Core, r *Reply) {
	if r.Outcome == NotApplied && (o.maybe || len(o.copies) > 0) && !forAll(r.Code) && !plant.Is(plant.StrongCopyIsNo) {
		r = &Reply{Code: PrimaryChanged, Outcome: Unknown, Detail: "an earlier copy of the write may have been carried out: " + r.Detail, ServedBy: r.ServedBy}
	}
	if o.ended {
		return
	}
	o.drop(c)
	if c.outlived(o.origin, o.bucket) {
		if r.Outcome != Applied && r.Outcome != Unknown {
			c.decline(o.origin, o.sp.id, quorum.ReasonStaleEpoch)
			return
		}
		r = &Reply{Code: PrimaryChanged, Outcome: Unknown, Detail: "the bucket was deleted before the write was answered", ServedBy: r.ServedBy}
	}
	r.Partition = o.sp.id
	if r.Code == OK || r.Code == KeyNotFound {
		if o.req.isWrite() {
			c.stats.Writes++
		} else {
			c.stats.Reads++
		}
	}
	c.answer(o.origin, r)
}

// forAll tells that a refusal holds for every copy of its request: the log has it (3.5).
func forAll(code Code) bool {
	return code == PreconditionFailed || code == Conflict || code == IdempotencyMismatch
}

// verdicts are the machine's codes in the words of the API, for what is final.
var verdicts = [strong.CodeCount]struct {
	code   Code
	detail string
}{
	strong.Done:               {OK, ""},
	strong.NotPrimary:         {PrimaryUnavailable, "the store that was asked does not lead the partition"},
	strong.PreconditionFailed: {PreconditionFailed, "the key does not hold what the condition names"},
	strong.NotCounter:         {Conflict, "the key holds a value that is not a counter"},
	strong.CounterRange:       {Conflict, "the counter would leave the range of 64 bits"},
	strong.IDMismatch:         {IdempotencyMismatch, "the request id was used for another request"},
	strong.IDStamp:            {InvalidArgument, "the request id's time is too far in the future"},
	strong.IDExpired:          {IdempotencyExpired, "the request id is older than the window in which it is known"},
	strong.Contention:         {Contention, "too many writes of this key are in flight"},
	strong.Overloaded:         {Overloaded, "too many requests wait for this partition"},
	strong.Timeout:            {WriteTimeout, "no majority had synced the write by the deadline"},
	strong.PrimaryChanged:     {PrimaryChanged, "another store became the primary before the write was committed"},
	strong.Corrupt:            {PrimaryUnavailable, "the primary's copy of the key is damaged"},
	strong.Redirect:           {PrimaryUnavailable, "no replica could answer"},
}

// outcome is the machine's final word in the words of the API. The outcome classes are
// closed (3.5): only what is not known by anybody is unknown.
func (o *strongOp) outcome(r *strong.Reply) *Reply {
	v := verdicts[r.Code]
	out := &Reply{Code: v.code, Detail: v.detail, Epoch: r.Epoch}
	c := o.sp.c
	switch {
	case !o.req.isWrite():
		return o.readOutcome(out, r)
	case r.Outcome == strong.OK:
		out.Outcome = Applied
		c.strongTook(o)
	case r.Outcome == strong.Unknown:
		out.Outcome = Unknown
	default:
		out.Outcome = NotApplied
		if out.Code == WriteTimeout || out.Code == PrimaryChanged {
			out.Code, out.Detail = PrimaryUnavailable, "the write was not begun by the deadline"
		}
	}
	if out.Code == Overloaded || out.Code == Contention || out.Code == PrimaryUnavailable {
		out.RetryAfter = retryAfter
	}
	n := len(c.ring.StrongMembers(o.sp.id))
	if r.Members > 0 {
		n = r.Members
	}
	out.Receipt = quorum.Receipt{N: n, Need: n/2 + 1, Acks: r.Acks, Owners: r.Acks, Synced: r.Acks}
	if r.Outcome == strong.OK || r.Code == strong.PreconditionFailed {
		out.Strong = &StrongReply{Version: r.Version, Value: r.Value, Count: r.Count, Again: r.Again}
	}
	return out
}

// readOutcome completes the answer to a read.
func (o *strongOp) readOutcome(out *Reply, r *strong.Reply) *Reply {
	n := len(o.sp.c.ring.StrongMembers(o.sp.id))
	out.Receipt = quorum.Receipt{N: n, Need: n/2 + 1}
	level := o.level
	switch {
	case level == LevelStale, r.Lease:
		out.Receipt.Need = 1
	case level == LevelLease:
		level = LevelLeader
	}
	if r.Code != strong.Done {
		if out.Code == WriteTimeout {
			out.Code, out.Detail = ReadTimeout, "not enough replicas had answered by the deadline"
		}
		return out
	}
	out.Receipt.Acks, out.Receipt.Owners = out.Receipt.Need, out.Receipt.Need
	out.Strong = &StrongReply{Version: r.Version, Value: r.Value, Level: level, Applied: r.Applied}
	if !r.Value.Live() {
		out.Code, out.Detail = KeyNotFound, "the key has no value"
	}
	return out
}

// strongTook counts a write that was committed here.
func (c *Core) strongTook(o *strongOp) {
	c.strong.stats.Commits++
	c.strong.stats.CommitTime += max(c.now.Mono-o.started, time.Duration(0))
}
