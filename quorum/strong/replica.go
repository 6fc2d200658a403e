package strong

import (
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
)

// Replica is one store's part of one strong partition. A step of the shard is Begin,
// any number of inputs (Configure, Receive, Submit, Read, Loaded, Synced), Finish.
type Replica struct {
	self    hashring.SID
	opts    Options
	store   Storage
	suspect bool

	cfg     Config
	members []hashring.SID
	hard    Hard // as staged
	log     log

	now        Now
	before     Now    // of the step before
	seq        uint64 // of the batch that this step writes to
	synced     uint64
	promiseSeq uint64 // batch of the newest promise
	logSeq     uint64 // batch of the newest change of the log
	marks      []mark
	durable    uint64 // log entries up to it are synced

	lead      *lead    // nil: not primary
	orphans   []orphan // writes of ended roles whose fate is not known yet
	rounds    uint64   // confirmed, in all roles of this life
	forfeit   bool     // primary by the configuration, and not in this life (S3)
	handing   bool     // it leads on until another primary is named, and asks for one: handTo, if set
	handTo    hashring.SID
	heardAt   time.Duration
	saidAt    time.Duration // last Silent or AskOut
	stalledAt time.Duration // last Stalled
	wakeAt    time.Duration // when this store wanted its next step; 0: at no time
	expireMS  int64         // completion records stamped before may go already
	safe      uint64        // every store that holds the log has applied this much

	lentUntil time.Duration // in Now.Mono; until then the promise does not rise (S11)
	lendSeq   uint64        // batch of the bound on what is lent
	held      heldSeal
	newest    uint64 // epoch that anybody spoke of

	reads   validated
	install *install
	trust   trust
	scrub   scrub
	serving []serving
	id      uint64

	out       Out
	spare     Out  // slices to be used again
	hardDirty bool // to be staged in this step
	hardMoved bool // by applying only: lazy
}

// mark remembers what a batch makes durable.
type mark struct {
	seq  uint64
	last uint64
	at   time.Duration
}

// New makes the replica of a store that has just started. firstID is above all that
// former lives of the store have used: its boot count in the high bits (D6). Answers to
// questions of a former life are told apart by it.
func New(self hashring.SID, opts Options, store Storage, saved Saved, firstID uint64, now Now) (*Replica, error) {
	if plant.Is(plant.StrongIDsRepeat) {
		firstID = 0
	}
	r := &Replica{self: self, opts: opts.filled(), store: store, suspect: saved.Suspect, hard: saved.Hard, log: newLog(saved.Hard.Base), id: firstID, now: now, heardAt: now.Mono}
	if err := r.restore(saved); err != nil {
		return nil, err
	}
	return r, nil
}

// restore rebuilds what is kept in memory of the log.
func (r *Replica) restore(saved Saved) error {
	h := &r.hard
	last := h.Base.Index + uint64(len(saved.Log))
	if h.Applied < h.Base.Index || h.Commit < h.Applied || last < h.Commit {
		return fmt.Errorf("strong partition: base %v, applied %d, commit %d, log to %d do not fit", h.Base, h.Applied, h.Commit, last)
	}
	if plant.Is(plant.StrongRestartTruncates) {
		last = h.Commit
	}
	split := int(h.Applied - h.Base.Index)
	r.log.head = append(r.log.head, saved.Log[:split]...)
	for _, head := range r.log.head {
		r.log.bytes += int(head.Size)
	}
	for i := h.Applied + 1; i <= last; i++ {
		e, err := r.store.Entry(i)
		if err != nil {
			return fmt.Errorf("strong partition: entry %d: %w", i, err)
		}
		if e == nil || e.Index != i || e.Epoch != saved.Log[i-h.Base.Index-1].Epoch {
			return fmt.Errorf("strong partition: entry %d is not what the log lists", i)
		}
		r.log.append(e)
	}
	assert.That(r.log.last().Epoch <= h.Promised, "S2", "log to %v, promised %d", r.log.last(), h.Promised)
	r.durable = last
	if !plant.Is(plant.StrongLeaseForgotten) {
		r.lentUntil = r.now.Mono + h.Lease
	}
	return nil
}

// Begin opens a step. seq is the batch that its writes, if any, will go into.
func (r *Replica) Begin(now Now, seq uint64) {
	if seq <= r.synced || seq < r.seq {
		assert.Fail("D1", "batch %d after %d, synced %d", seq, r.seq, r.synced)
	}
	r.before, r.now, r.seq = r.now, now, seq
	r.out, r.spare = Out{Sends: r.spare.Sends, Replies: r.spare.Replies}, Out{}
	if r.wakeAt != 0 && now.Mono >= r.wakeAt+r.opts.Silence/2 && !plant.Is(plant.StrongSleeperSpeaks) {
		r.overslept()
	}
}

// overslept: this store was not scheduled for a good while, so it is not the one to say
// that others were silent, or that nobody hears it. Its patience begins again.
func (r *Replica) overslept() {
	r.heardAt = r.now.Mono
	if r.lead != nil {
		r.lead.began = r.now.Mono
	}
}

// Synced tells that the batches up to seq are durable.
func (r *Replica) Synced(seq uint64) {
	r.synced = max(r.synced, seq)
	n := 0
	for ; n < len(r.marks) && r.marks[n].seq <= seq; n++ {
		r.durable = r.marks[n].last
	}
	r.marks = append(r.marks[:0], r.marks[n:]...)
}

// Receive takes a message from another replica of the partition, or from a quorum read.
func (r *Replica) Receive(from hashring.SID, m *Message) {
	if m.Epoch > r.cfg.Epoch {
		r.wantRing(m.Epoch)
	}
	r.newest = max(r.newest, m.Epoch)
	if r.lead != nil && m.Epoch == r.lead.epoch {
		r.lead.hear(from, r.now.Mono)
	}
	switch m.Kind {
	case MsgSeal:
		r.onSeal(from, m)
	case MsgSealAck:
		r.onSealAck(from, m)
	case MsgNak:
		r.onNak(m)
	case MsgPull:
		r.onPull(from, m)
	case MsgPullReply:
		r.onPullReply(from, m)
	case MsgAppend:
		r.onAppend(from, m)
	case MsgAppendAck:
		r.onAppendAck(from, m)
	case MsgConfirm:
		r.onConfirm(from, m)
	case MsgConfirmAck:
		r.onConfirmAck(from, m)
	case MsgReadIndex:
		r.onReadIndex(from, m)
	case MsgReadIndexReply:
		r.onReadIndexReply(m)
	case MsgPeek:
		r.onPeek(from, m)
	case MsgSnapOffer:
		r.onSnapOffer(from, m)
	case MsgSnapAsk:
		r.onSnapAsk(from, m)
	case MsgSnapReply:
		r.onSnapReply(from, m)
	case MsgRelease:
		r.onRelease(m)
	}
}

// Finish ends the step: it draws the conclusions from all inputs and gives what is to
// be done.
func (r *Replica) Finish() Out {
	r.unhold()
	r.progress()
	r.advance()
	r.apply()
	r.diverge()
	r.confirm()
	r.settle()
	r.watch()
	r.diverge() // by what the answers have read
	if r.scrub.hurry {
		r.Scrub()
	}
	r.compact()
	r.pull()
	r.pullSnapshot()
	r.askReadIndex()
	r.flush()
	r.stage()
	r.wakeAt = r.out.Wake
	return r.out
}

// spareMost is the largest slice of an Out that is kept: there are many partitions.
const spareMost = 32

// Recycle takes back what Finish gave, if the caller has kept nothing of its slices.
func (r *Replica) Recycle(out Out) {
	r.spare = Out{}
	if cap(out.Sends) <= spareMost {
		clear(out.Sends)
		r.spare.Sends = out.Sends[:0]
	}
	if cap(out.Replies) <= spareMost {
		clear(out.Replies)
		r.spare.Replies = out.Replies[:0]
	}
}

// stage closes the step's writes.
func (r *Replica) stage() {
	if r.hardDirty || r.hardMoved {
		r.write(Write{Kind: PutHard, Hard: r.hard, Lazy: !r.hardDirty})
		r.hardDirty, r.hardMoved = false, false
	}
	if r.hard.Applied > r.hard.Commit || r.hard.Commit > r.log.lastIndex() {
		assert.Fail("S9", "applied %d, commit %d, log to %d", r.hard.Applied, r.hard.Commit, r.log.lastIndex())
	}
	if !r.out.Staged {
		return
	}
	m := mark{r.seq, r.log.lastIndex(), r.now.Mono}
	if n := len(r.marks); n > 0 && r.marks[n-1].seq == r.seq {
		m.at = r.marks[n-1].at
		r.marks[n-1] = m
	} else {
		r.marks = append(r.marks, m)
	}
}

// kept is how much will be applied here after whatever start: what is applied now and
// in the durable log, from which a start carries out again what was lazy.
func (r *Replica) kept() uint64 { return min(r.hard.Applied, r.durable) }

func (r *Replica) write(w Write) {
	if !w.Lazy {
		r.out.Staged = true
		if w.Kind != PutEntry && !plant.Is(plant.StrongCarriesHalf) {
			r.hardDirty = true // it takes along what is lazy: with how much is applied (S12)
		}
	}
	r.store.Stage(w)
}

// send lets a message go at once: it depends on nothing that is not durable.
func (r *Replica) send(to hashring.SID, m *Message) {
	r.out.Sends = append(r.out.Sends, Send{To: to, Msg: m})
}

// sendAfter lets a message go when all that it tells of is durable (D1).
func (r *Replica) sendAfter(to hashring.SID, m *Message) {
	gate := max(r.promiseSeq, r.logSeq)
	if gate <= r.synced || plant.Is(plant.StrongAckUnsynced) && m.Kind == MsgAppendAck || plant.Is(plant.StrongSealUnsynced) && m.Kind == MsgSealAck {
		gate = 0
	}
	r.out.Sends = append(r.out.Sends, Send{To: to, Gate: gate, Msg: m})
}

// newID is a number that no life of this store has used before.
func (r *Replica) newID() uint64 {
	r.id++
	return r.id
}

func (r *Replica) wantRing(epoch uint64) { r.out.WantRing = max(r.out.WantRing, epoch) }

// wake asks for a step at t.
func (r *Replica) wake(t time.Duration) {
	if t = max(t, 1); r.out.Wake == 0 || t < r.out.Wake {
		r.out.Wake = t
	}
}

// due tells whether every has passed since at, and asks to be woken when it will.
func (r *Replica) due(at, every time.Duration) bool {
	if r.now.Mono >= at+every {
		return true
	}
	r.wake(at + every)
	return false
}

// beat is the heartbeat after at: a multiple of Options.Heartbeat, one half to one and a
// half of it later. All idle partitions of a store fall into the same step that way, and
// busy ones need none.
func (r *Replica) beat(at time.Duration) time.Duration {
	h := r.opts.Heartbeat
	return ((at+h/2)/h + 1) * h
}

// again tells whether every has passed since the last time, makes this one the last, and
// asks to be woken for the next: nothing else may happen until then.
func (r *Replica) again(last *time.Duration, every time.Duration) bool {
	if !r.due(*last, every) {
		return false
	}
	*last = r.now.Mono
	r.wake(r.now.Mono + every)
	return true
}

// promise raises the promised epoch (S2). Whoever calls it answers by sendAfter.
func (r *Replica) promise(epoch uint64) {
	assert.That(epoch > r.hard.Promised, "S2", "promise %d after %d", epoch, r.hard.Promised)
	r.assertLent(epoch)
	r.hard.Lease = min(r.hard.Lease, r.opts.Lease) // what a former life lent is over
	r.hard.Promised, r.hardDirty, r.promiseSeq = epoch, true, r.seq
	if r.lead != nil && r.lead.epoch < epoch {
		r.depose()
	}
	if r.install != nil && r.install.epoch < epoch {
		r.dropInstall()
	}
}

// nak refuses what comes from an epoch below the promised one.
func (r *Replica) nak(to hashring.SID, m *Message) {
	r.send(to, &Message{Kind: MsgNak, Epoch: m.Epoch, Promised: r.hard.Promised})
}

// admits is the rule of every message of a primary: refuse what is below the promise
// (S2), raise the promise for what is above it.
func (r *Replica) admits(from hashring.SID, m *Message) bool {
	switch {
	case m.Epoch < r.hard.Promised && !(plant.Is(plant.StrongOldEpoch) && m.Kind == MsgAppend):
		r.nak(from, m)
		return false
	case m.Epoch == r.cfg.Epoch && !r.cfg.Holds(r.self):
		// A learner that does not know yet that it is one. What it took now it might
		// drop by the configuration that it knows.
		r.wantRing(m.Epoch)
		return false
	case m.Epoch > r.hard.Promised && r.lends() && !plant.Is(plant.StrongLeaseUnheld):
		r.hold(from, m)
		return false
	case m.Epoch > r.hard.Promised:
		r.promise(m.Epoch)
	}
	if m.Epoch == r.cfg.Epoch && from != r.cfg.Primary {
		assert.Fail("S3", "%v from %s, the primary of epoch %d is %s", m.Kind, from.Short(), m.Epoch, r.cfg.Primary.Short())
	}
	r.heardAt = r.now.Mono
	return true
}

// entry reads an entry of the log.
func (r *Replica) entry(i uint64) *Entry {
	if e := r.log.cached(i); e != nil {
		return e
	}
	e, err := r.store.Entry(i)
	if err == nil && (e == nil || e.Index != i || e.Epoch != r.log.epochAt(i)) {
		err = fmt.Errorf("strong partition: entry %d is not what the log lists", i)
	}
	if err != nil {
		r.out.Err = err
		return nil
	}
	return e
}

// slice reads entries from i on, up to last, about AppendBytes of them.
func (r *Replica) slice(i, last uint64) []*Entry {
	var out []*Entry
	for size := 0; i <= last; i++ {
		e := r.entry(i)
		if e == nil {
			break
		}
		if size += e.Size(); size > r.opts.AppendBytes && len(out) > 0 {
			break
		}
		out = append(out, e)
	}
	return out
}
