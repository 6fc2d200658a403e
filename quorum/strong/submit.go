package strong

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/quoratedb/quorate/internal/plant"
)

// pending is an operation that waits for its entry to be applied.
type pending struct {
	index    uint64
	reply    Reply
	deadline time.Duration
}

// Submit takes a write. Its Reply comes from this or a later Finish.
func (r *Replica) Submit(op *Op) {
	reply := Reply{Waiter: op.Waiter, Outcome: No}
	l := r.lead
	switch {
	case l == nil || l.phase != leading:
		reply.Code, reply.Primary = NotPrimary, r.cfg.Primary
		r.reply(reply)
		return
	case op.Deadline <= r.now.Mono:
		reply.Code = Timeout
		r.reply(reply)
		return
	}
	r.log.find(r.hard.Applied)
	// Repeats come first: whoever asks again must not hear "no" of what was done.
	if !op.ID.IsZero() && r.repeat(op, reply) {
		return
	}
	if reply.Code = r.admit(op); reply.Code != Done {
		r.reply(reply)
		return
	}
	r.evaluate(op, reply)
}

// repeat answers an operation whose id is known, or too old to be known (3.5), or too far
// ahead of all clocks that are known here. A former primary may have known others: what it
// carried out is looked for first.
func (r *Replica) repeat(op *Op, reply Reply) (done bool) {
	stamp := op.ID.StampMS
	if stamp < r.logTime()-r.opts.Window.Milliseconds() && !plant.Is(plant.StrongExpiredRuns) {
		reply.Outcome, reply.Code = Unknown, IDExpired
		r.reply(reply)
		return true
	}
	index, waits := r.log.ids[op.ID]
	var c *Completion
	var err error
	if waits {
		c = r.log.cached(index).Done
	} else if c, err = r.store.Completion(r.hard.Generation, op.ID); err != nil {
		r.damaged(err)
		reply.Code = Corrupt
		r.reply(reply)
		return true
	}
	if c == nil && stamp > r.latest()+stampAhead.Milliseconds() {
		reply.Code = IDStamp
		r.reply(reply)
		return true
	}
	if c == nil || plant.Is(plant.StrongNoDedupe) || plant.Is(plant.StrongDedupeApplied) && waits {
		return false
	}
	if c.Digest != op.digest() {
		reply.Code = IDMismatch
	} else {
		reply.completed(c)
		reply.Again = true
	}
	if !waits {
		// Its entry is applied: whoever has all that is applied has synced it, which is
		// known of a majority once the barrier is committed.
		index = max(r.hard.Applied, r.lead.barrier)
	}
	r.await(index, reply, op.Deadline)
	return true
}

// completed fills in an outcome.
func (reply *Reply) completed(c *Completion) {
	reply.Code, reply.Version, reply.Count, reply.Outcome = c.Code, c.Version, c.Count, No
	if c.Code == Done {
		reply.Outcome = OK
	}
}

// admit holds the bounds.
func (r *Replica) admit(op *Op) Code {
	l, open := r.lead, r.log.open+len(op.Data)
	if len(l.pend)+len(l.waits) >= r.opts.Pending || open > r.opts.PendingBytes || open > r.opts.AloneBytes && !r.hears(r.now.Mono-r.opts.Silence) {
		return Overloaded
	}
	if k, _ := r.log.of(op.Bucket, op.Key); k.count >= r.opts.KeyInFlight {
		return Contention
	}
	return Done
}

// evaluate decides an operation against the newest value there is, in flight or not,
// and puts the effect into the log. A refusal shows something: without an id it waits
// until what it saw is committed, and for a confirmation, as a read does; with an id it
// goes into the log, so that a copy of the request that is still on its way cannot be
// carried out later.
func (r *Replica) evaluate(op *Op, reply Reply) {
	old, index, err := r.current(op.Bucket, op.Key)
	if err != nil {
		r.damaged(err)
		reply.Code = Corrupt
		r.reply(reply)
		return
	}
	value, count, code := op.effect(old)
	e := &Entry{Kind: Effect, Bucket: op.Bucket, Key: op.Key, Value: value, Old: SumOf(op.Bucket, op.Key, old)}
	if code != Done {
		reply.Code, reply.Value = code, old
		if old.Live() { // a tombstone's version is nothing to compare with
			reply.Version = old.Version
		}
		if op.ID.IsZero() || plant.Is(plant.StrongRefusalUnlogged) {
			r.refuse(op, reply, index)
			return
		}
		e = &Entry{Kind: Refusal}
	}
	if !op.ID.IsZero() {
		e.Done = &Completion{ID: op.ID, Digest: op.digest(), Code: code, Version: reply.Version, Count: count}
	}
	r.sequence(e)
	if code == Done {
		reply.Outcome, reply.Version, reply.Count = OK, e.Value.Version, count
	}
	r.await(e.Index, reply, op.Deadline)
}

// effect is what the operation makes of a value, or why not.
func (o *Op) effect(old *Value) (v *Value, count int64, code Code) {
	if !o.If.Holds(old) && !plant.Is(plant.StrongNoCondition) {
		return nil, 0, PreconditionFailed
	}
	switch o.Kind {
	case OpDelete:
		return &Value{Tombstone: true}, 0, Done
	case OpIncrement:
		return o.increment(old)
	}
	return &Value{Data: o.Data, ContentType: o.ContentType, Sum: o.Sum}, 0, Done
}

// increment adds to a counter; an absent one is 0. The primary adds, followers only
// take the sum, so nothing is added twice.
func (o *Op) increment(old *Value) (*Value, int64, Code) {
	var n int64
	if old.Live() {
		var err error
		if n, err = strconv.ParseInt(string(old.Data), 10, 64); err != nil || !old.Counter {
			return nil, 0, NotCounter
		}
	}
	if o.Delta > 0 && n > math.MaxInt64-o.Delta || o.Delta < 0 && n < math.MinInt64-o.Delta {
		return nil, 0, CounterRange
	}
	n += o.Delta
	return &Value{Counter: true, Data: strconv.AppendInt(nil, n, 10)}, n, Done
}

// await keeps a reply until its entry is applied.
func (r *Replica) await(index uint64, reply Reply, deadline time.Duration) {
	l := r.lead
	i := len(l.pend)
	for i > 0 && l.pend[i-1].index > index {
		i--
	}
	l.pend = slices.Insert(l.pend, i, pending{index, reply, deadline})
	if plant.Is(plant.StrongReplyEarly) {
		l.pend = slices.Delete(l.pend, i, i+1)
		r.reply(reply)
	}
}

func (r *Replica) reply(reply Reply) {
	reply.Epoch = r.cfg.Epoch
	r.out.Replies = append(r.out.Replies, reply)
}

// settle answers what can be answered, and what cannot wait any longer.
func (r *Replica) settle() {
	if l := r.lead; l != nil {
		n := 0
		for n < len(l.pend) && l.pend[n].index <= r.hard.Applied {
			reply := l.pend[n].reply
			reply.Members, reply.Acks = len(r.members), r.acks(l.pend[n].index)
			r.reply(reply)
			n++
		}
		l.pend = slices.Delete(l.pend, 0, n)
		l.pend = slices.DeleteFunc(l.pend, func(p pending) bool {
			if !r.due(p.deadline, 0) {
				return false
			}
			r.giveUp(p.reply, Timeout, true)
			return true
		})
		r.settleWaits()
	}
	r.lastWords()
	r.settleValidated()
}

// acks counts the members that have synced entry i.
func (r *Replica) acks(i uint64) (n int) {
	match := r.lead.match(r)
	for _, s := range r.members {
		if match(s) >= i {
			n++
		}
	}
	return n
}

// giveUp answers without knowing: a sequenced operation may still be carried out.
func (r *Replica) giveUp(reply Reply, code Code, sequenced bool) {
	out := Reply{Waiter: reply.Waiter, Outcome: No, Code: code, Primary: r.cfg.Primary}
	if sequenced && !plant.Is(plant.StrongUnknownIsNo) {
		out.Outcome = Unknown
	}
	r.reply(out)
}

// stepDown gives the role up. What was sequenced may be carried out by others, or not, and
// nothing is known of what is still in pend.
func (r *Replica) stepDown() {
	l := r.lead
	r.release()
	r.lead = nil
	r.log.forget()
	for _, p := range l.pend {
		r.giveUp(p.reply, PrimaryChanged, true)
	}
	for _, w := range l.waits {
		r.giveUpWait(w, PrimaryChanged)
	}
	r.serving = nil
}
