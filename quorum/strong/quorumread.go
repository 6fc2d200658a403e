package strong

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// QuorumRead reads one key without the primary (3.4). Any store may run one: it asks
// all members, and of a majority of every set follows the one whose LOG goes furthest.
// It never goes by the key's version: the store with the newest log may have dropped a
// tombstone that others still hold a value under.
type QuorumRead struct {
	cfg      Config
	members  []hashring.SID
	read     Read
	id       uint64 // of the present look
	replies  []peeked
	retry    time.Duration
	askedAt  time.Duration
	ask      bool
	look     int
	again    time.Duration // when to look again, 0: not
	newIDs   func() uint64
	finished bool
}

type peeked struct {
	from hashring.SID
	m    *Message
}

// ReadStep is what a QuorumRead wants done.
type ReadStep struct {
	Sends []Send
	Wake  time.Duration
	Reply *Reply // the end. Redirect: ask the primary
	// WantRing: a member has promised a newer epoch. Fetch the ring state and begin a
	// new QuorumRead; this one is over.
	WantRing uint64
}

// NewQuorumRead begins a read under the configuration that the coordinator knows.
// newID gives numbers that this store has never used for a question before.
func NewQuorumRead(cfg Config, q Read, opts Options, newID func() uint64) *QuorumRead {
	return &QuorumRead{cfg: cfg, members: cfg.Members(), read: q, retry: opts.filled().Retry, newIDs: newID, ask: true}
}

// Receive takes an answer of a member.
func (q *QuorumRead) Receive(from hashring.SID, m *Message) {
	if m.Kind != MsgPeekReply || m.ID != q.id || slices.ContainsFunc(q.replies, func(p peeked) bool { return p.from == from }) {
		return
	}
	q.replies = append(q.replies, peeked{from, m})
}

// Step draws the conclusions. Call it after NewQuorumRead, Receive, and at Wake.
func (q *QuorumRead) Step(now time.Duration) (out ReadStep) {
	if q.finished {
		return out
	}
	q.conclude(now, &out)
	if out.Reply != nil || out.WantRing != 0 {
		q.finished = true
		return out
	}
	if q.again != 0 && now >= q.again {
		q.again, q.ask = 0, true
	}
	switch {
	case q.ask: // a new look: nothing of an older one counts
		q.id, q.replies, q.ask, q.askedAt = q.newIDs(), nil, false, now
		q.askMissing(&out)
	case q.again == 0 && now >= q.askedAt+q.retry:
		q.askedAt = now
		q.askMissing(&out)
	}
	out.Wake = min(q.askedAt+q.retry, q.read.Deadline)
	if q.again != 0 {
		out.Wake = min(q.again, q.read.Deadline)
	}
	return out
}

// askMissing asks the members that have not answered this look.
func (q *QuorumRead) askMissing(out *ReadStep) {
	for _, s := range q.members {
		if q.reply(s) == nil {
			out.Sends = append(out.Sends, Send{To: s, Msg: &Message{Kind: MsgPeek, Epoch: q.cfg.Epoch, ID: q.id, Bucket: q.read.Bucket, Key: q.read.Key}})
		}
	}
}

func (q *QuorumRead) reply(s hashring.SID) *Message {
	for _, p := range q.replies {
		if p.from == s {
			return p.m
		}
	}
	return nil
}

// conclude looks at the answers of this look.
func (q *QuorumRead) conclude(now time.Duration, out *ReadStep) {
	end := func(code Code, outcome Outcome) {
		out.Reply = &Reply{Waiter: q.read.Waiter, Outcome: outcome, Code: code, Epoch: q.cfg.Epoch, Primary: q.cfg.Primary}
	}
	var best *Message
	for _, p := range q.replies {
		if p.m.Promised > q.cfg.Epoch && !plant.Is(plant.StrongPeekOldEpoch) {
			out.WantRing = p.m.Promised
			return
		}
		if p.m.Full && (best == nil || q.further(p.m, best)) {
			best = p.m
		}
	}
	full := func(s hashring.SID) bool { m := q.reply(s); return m != nil && m.Full }
	switch {
	case best != nil && q.again == 0 && (q.cfg.majority(full) || plant.Is(plant.StrongPeekOne)):
		if !best.Open || plant.Is(plant.StrongPeekOpen) {
			end(Done, OK)
			out.Reply.Value, out.Reply.Applied = best.Value, best.Commit
			if best.Value != nil {
				out.Reply.Version = best.Value.Version
			}
			return
		}
		// The newest entry of the key may or may not be committed: look again.
		if q.look++; q.look > polls {
			end(Redirect, No)
			return
		}
		q.again = now + min(pollFirst<<(q.look-1), pollMost)
	case now >= q.read.Deadline:
		end(Timeout, No)
	}
}

// further tells whose answer to follow.
func (q *QuorumRead) further(a, b *Message) bool {
	if plant.Is(plant.StrongPeekByVersion) {
		v := func(m *Message) Position {
			if m.Value == nil {
				return Position{}
			}
			return Position{m.Value.Version.Epoch, m.Value.Version.Index}
		}
		return v(a).Compare(v(b)) > 0
	}
	return a.Last.Compare(b.Last) > 0
}
