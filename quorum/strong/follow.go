package strong

import (
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
)

// onSeal promises an epoch and attests what this store holds. Attesting "full" is to
// say: whatever I ever acked, and nobody has cut off since, is in this log.
func (r *Replica) onSeal(from hashring.SID, m *Message) {
	if !r.admits(from, m) {
		return
	}
	r.sendAfter(from, &Message{Kind: MsgSealAck, Epoch: m.Epoch, Full: !r.suspect || plant.Is(plant.StrongSuspectAttests), Last: r.log.last(), Commit: r.hard.Commit})
}

// onPull gives a sealed primary the entries it lacks. This log is final below the
// primary's epoch.
func (r *Replica) onPull(from hashring.SID, m *Message) {
	if m.Epoch != r.hard.Promised {
		if m.Epoch < r.hard.Promised {
			r.nak(from, m)
		}
		return
	}
	out := &Message{Kind: MsgPullReply, Epoch: m.Epoch, Prev: Position{r.log.epochAt(m.Prev.Index), m.Prev.Index}, Last: r.log.last()}
	if m.Prev.Index < r.log.base.Index {
		out.Gone = true
	} else {
		out.Entries = r.slice(m.Prev.Index+1, r.log.lastIndex())
	}
	r.sendAfter(from, out)
}

// onAppend is rule 4 of 3.3.
func (r *Replica) onAppend(from hashring.SID, m *Message) {
	if !r.admits(from, m) {
		return
	}
	if base := r.log.base; m.Prev.Index == base.Index && m.Prev.Epoch != base.Epoch {
		assert.Fail("S4", "%d is of epoch %d at %s, and %v is committed", base.Index, m.Prev.Epoch, from.Short(), base)
	}
	r.takeSum(m)
	ack := &Message{Kind: MsgAppendAck, Epoch: m.Epoch, Full: !r.suspect, Round: m.Round}
	r.tellOff(ack)
	r.lend(m, ack)
	if at := r.log.epochAt(m.Prev.Index); m.Prev.Index > r.log.base.Index && at != m.Prev.Epoch && !(plant.Is(plant.StrongNoPrevCheck) && at != 0) {
		ack.Prev, ack.Reject, ack.Match = m.Prev, true, r.hint(m.Prev.Index)
		r.sendAfter(from, ack)
		return
	}
	r.accept(m.Prev, m.Entries)
	known := m.Prev.Index + uint64(len(m.Entries))
	r.raiseCommit(min(m.Commit, known))
	if plant.Is(plant.StrongCommitUnmatched) {
		r.raiseCommit(min(m.Commit, r.log.lastIndex()))
	}
	r.safe = max(r.safe, m.Safe)
	ack.Match, ack.Applied, ack.WallMS = known, r.kept(), r.now.WallMS
	r.sendAfter(from, ack)
}

// hint is where the primary should try next: behind it nothing may fit, up to it
// something may. All that is committed fits.
func (r *Replica) hint(prev uint64) uint64 {
	if prev > r.log.lastIndex() {
		return r.log.lastIndex()
	}
	return max(r.hard.Commit, r.log.runStart(prev)-1)
}

// accept takes entries that follow prev, which is known to fit. What is there already
// is kept: a late short Append never truncates. A conflict cuts the tail off, which
// cannot be committed (S8).
func (r *Replica) accept(prev Position, entries []*Entry) {
	if plant.Is(plant.StrongShortTruncates) && prev.Index+uint64(len(entries)) < r.log.lastIndex() && prev.Index+uint64(len(entries)) >= r.hard.Commit {
		r.cutTail(prev.Index + uint64(len(entries)) + 1)
	}
	for i, e := range entries {
		at := prev.Index + 1 + uint64(i)
		if e.Index != at {
			assert.Fail("S4", "entry %v at %d", e.At(), at)
		}
		if at <= r.log.base.Index {
			continue // applied long ago
		}
		if at <= r.log.lastIndex() {
			if r.log.epochAt(at) == e.Epoch {
				continue
			}
			r.cutTail(at)
		}
		r.append(e)
	}
}

// cutTail drops the entries at i and behind.
func (r *Replica) cutTail(i uint64) {
	assert.That(i > r.hard.Commit, "S8", "cut at %d, commit %d", i, r.hard.Commit)
	r.log.cutTail(i, r.hard.Applied)
	for n := range r.marks {
		r.marks[n].last = min(r.marks[n].last, i-1)
	}
	r.durable = min(r.durable, i-1)
	r.logSeq = r.seq
	r.write(Write{Kind: CutTail, Index: i})
}

// append stages one entry.
func (r *Replica) append(e *Entry) {
	r.log.append(e)
	r.logSeq = r.seq
	r.write(Write{Kind: PutEntry, Entry: e})
}

// onConfirm agrees that nothing above the primary's epoch is promised here. That needs
// no sync: what is not promised yet has told nobody anything.
func (r *Replica) onConfirm(from hashring.SID, m *Message) {
	if m.Epoch < r.hard.Promised && !plant.Is(plant.StrongConfirmAny) {
		r.nak(from, m)
		return
	}
	r.heardAt = r.now.Mono
	r.send(from, &Message{Kind: MsgConfirmAck, Epoch: m.Epoch, Round: m.Round, Full: !r.suspect})
}

// onPeek answers a quorum read: the newest that this log has of the key, committed or
// not, and what the coordinator needs to judge it. No sync is waited for: what the
// answer rests on is either committed, or makes the coordinator look again. A question
// under no epoch is no read: it is for what is applied here.
func (r *Replica) onPeek(from hashring.SID, m *Message) {
	out := &Message{Kind: MsgPeekReply, Epoch: m.Epoch, ID: m.ID, Promised: r.hard.Promised, Full: r.trusted(), Last: r.log.last(), Commit: r.hard.Commit}
	v, index, err := r.current(m.Bucket, m.Key)
	if err != nil {
		r.damaged(err)
		return
	}
	if out.Value, out.Open = v, index > r.hard.Commit; out.Open && m.Epoch == 0 {
		out.Open = false
		if out.Value, err = r.store.Value(r.hard.Generation, m.Bucket, m.Key); err != nil {
			r.damaged(err)
			return
		}
	}
	r.send(from, out)
}

// current is the newest value of a key in this log, and its index.
func (r *Replica) current(b hashring.BucketID, key []byte) (v *Value, index uint64, err error) {
	r.log.find(r.hard.Applied)
	if n, ok := r.log.of(b, key); ok && !plant.Is(plant.StrongNoOverlay) {
		return r.log.cached(n.index).Value, n.index, nil
	}
	v, err = r.store.Value(r.hard.Generation, b, key)
	if v != nil {
		index = v.Version.Index
	}
	return v, index, err
}
