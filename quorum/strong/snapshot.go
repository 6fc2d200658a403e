package strong

import (
	"bytes"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
)

// A snapshot is pulled slice by slice by a store that lacks more than the primary's log
// still has. Values and completion records are read while new entries are applied, so
// the slices are not of one moment; the entries applied meanwhile come last, and since
// each carries its key's whole value, carrying them out again gives the state at the
// last of them. All of it is written beside the old state, as another generation, and
// takes its place by one number in one batch: until then this store holds, and attests,
// what it held before. Meanwhile the primary adds up its own values, and sends
// what comes behind them only when they are what they should be.

// serving is a slice that is being read for a receiver.
type serving struct {
	token uint64
	to    hashring.SID
	ask   *Message
	start Position
}

// onSnapAsk reads a slice for a receiver.
func (r *Replica) onSnapAsk(from hashring.SID, m *Message) {
	l := r.lead
	if l == nil || m.Epoch != l.epoch || l.phase != leading {
		if m.Epoch < r.hard.Promised {
			r.nak(from, m)
		}
		return
	}
	p, start := l.peer(from), m.Prev
	if start == (Position{}) {
		start = Position{r.log.epochAt(r.kept()), r.kept()}
	}
	behind := start.Index
	if m.Part == PartLog {
		behind = m.Match
	}
	switch {
	case p == nil, r.kept() < r.log.base.Index, len(r.serving) >= servingMax:
		return // it asks again
	case behind < r.log.base.Index && !plant.Is(plant.StrongSnapshotGap):
		r.send(from, &Message{Kind: MsgSnapReply, Epoch: l.epoch, Part: m.Part, Prev: start, After: m.After, Match: m.Match, Gone: true})
		return
	}
	p.pin, p.pinAt = behind, r.now.Mono
	if m.Part == PartValues && m.After == nil && !plant.Is(plant.StrongSnapshotUnproven) {
		r.prove(p)
	}
	if m.Part != PartValues && (r.scrub.rounds < p.proof || r.strays()) {
		return // it asks again
	}
	if m.Part == PartLog {
		out := r.snapReply(serving{to: from, ask: m, start: start})
		out.Entries = r.slice(behind+1, r.hard.Applied)
		r.send(from, out)
		return
	}
	s := serving{r.newID(), from, m, start}
	r.serving = append(r.serving, s)
	r.out.Loads = append(r.out.Loads, Load{Token: s.token, Part: m.Part, Generation: r.hard.Generation, After: m.After, Rows: r.opts.SliceRows, Bytes: r.opts.SliceBytes})
}

// prove has the values here added up beside a snapshot of them. If they are not what they
// should be, this store gives its role up before the snapshot ends: else two stores would
// have them, and the third one would be taken for the one that is wrong (D5).
func (r *Replica) prove(p *peer) {
	if p.proof = r.scrub.rounds + 1; !r.scrub.hurry {
		r.hurryScrub()
	}
}

func (r *Replica) snapReply(s serving) *Message {
	return &Message{Kind: MsgSnapReply, Epoch: r.lead.epoch, Part: s.ask.Part, Prev: s.start, After: s.ask.After, Match: s.ask.Match,
		Commit: r.hard.Applied, LogTimeMS: r.hard.LogTimeMS}
}

// Loaded brings what a Load asked for: rows in the storage's order, where to go on, and
// whether there is more.
func (r *Replica) Loaded(token uint64, rows []Row, next []byte, more bool, err error) {
	if token == r.scrub.token {
		r.scrubbed(rows, next, more, err)
		return
	}
	for i, s := range r.serving {
		if s.token != token {
			continue
		}
		r.serving = append(r.serving[:i:i], r.serving[i+1:]...)
		if err != nil {
			r.damaged(err)
			return
		}
		out := r.snapReply(s)
		out.Rows, out.Next, out.More = rows, next, more
		r.send(s.to, out)
		return
	}
}

// install is a snapshot that is being pulled.
type install struct {
	epoch      uint64
	source     hashring.SID
	generation uint64
	start      Position // the source had applied it before the first slice was read
	part       Part
	cursor     []byte
	at         Position // applied to the new generation
	sum        uint64   // of the values written
	until      uint64   // the slices may hold what entries up to it have done
	logTimeMS  int64
	askNow     bool
	askedAt    time.Duration
	tries      int
}

// installTries without an answer, and the snapshot is given up: an offer begins another.
const installTries = 8

// onSnapOffer: the primary's log begins behind what this store has.
func (r *Replica) onSnapOffer(from hashring.SID, m *Message) {
	if !r.admits(from, m) {
		return
	}
	if m.Round > 0 {
		r.send(from, &Message{Kind: MsgConfirmAck, Epoch: m.Epoch, Round: m.Round, Full: !r.suspect})
	}
	if base := m.Prev; base.Index <= r.hard.Commit || r.log.epochAt(base.Index) == base.Epoch {
		// What this store has does reach the primary's log: all that is committed fits.
		r.dropInstall()
		r.sendAfter(from, &Message{Kind: MsgAppendAck, Epoch: m.Epoch, Match: max(base.Index, r.hard.Commit), Full: !r.suspect, Applied: r.kept()})
		return
	}
	if r.install == nil {
		r.install = &install{epoch: m.Epoch, source: from, generation: r.newID(), askNow: true}
	}
}

// dropInstall gives up a snapshot; its rows are rubbish.
func (r *Replica) dropInstall() {
	if r.install != nil {
		r.write(Write{Kind: DropGeneration, Generation: r.install.generation})
		r.install = nil
	}
}

// pullSnapshot asks for the next slice, again if need be.
func (r *Replica) pullSnapshot() {
	in := r.install
	if in == nil || !in.askNow && !r.due(in.askedAt, r.opts.Retry) {
		return
	}
	if in.tries++; in.tries > installTries {
		r.dropInstall()
		return
	}
	in.askNow, in.askedAt = false, r.now.Mono
	r.wake(in.askedAt + r.opts.Retry)
	r.send(in.source, &Message{Kind: MsgSnapAsk, Epoch: in.epoch, Part: in.part, Prev: in.start, After: in.cursor, Match: in.at.Index})
}

// onSnapReply takes the slice that was asked for; any other is late.
func (r *Replica) onSnapReply(from hashring.SID, m *Message) {
	in := r.install
	if in == nil || m.Epoch != in.epoch || from != in.source || m.Part != in.part || !bytes.Equal(m.After, in.cursor) || m.Match != in.at.Index ||
		in.start != (Position{}) && m.Prev != in.start {
		return
	}
	if m.Gone {
		r.dropInstall()
		return
	}
	in.start, in.tries, in.askNow = m.Prev, 0, true
	if in.part == PartLog {
		r.installLog(m)
		return
	}
	for _, row := range m.Rows {
		kind := PutValue
		if row.Done != nil {
			if kind = PutCompletion; plant.Is(plant.StrongSnapshotForgets) {
				continue
			}
		} else if row.Value.Tombstone {
			continue // see effectIn
		}
		r.write(Write{Kind: kind, Generation: in.generation, Row: row})
		in.sum += SumOf(row.Bucket, row.Key, row.Value)
	}
	in.until, in.logTimeMS = max(in.until, m.Commit), max(in.logTimeMS, m.LogTimeMS)
	if in.cursor = m.Next; !m.More {
		in.cursor = nil
		if in.part++; in.part == PartLog {
			in.at = in.start
			r.installLog(&Message{})
		}
	}
}

// installLog carries entries out in the new generation, and switches over when they
// have come to where the last slice was read.
func (r *Replica) installLog(m *Message) {
	in := r.install
	for _, e := range m.Entries {
		assert.That(e.Index == in.at.Index+1, "S9", "entry %v of a snapshot at %v", e.At(), in.at)
		if e.Kind == Effect {
			old, err := r.store.Value(in.generation, e.Bucket, e.Key)
			if err != nil {
				r.dropInstall()
				return
			}
			in.sum += SumOf(e.Bucket, e.Key, e.Value) - SumOf(e.Bucket, e.Key, old)
		}
		r.effectIn(in.generation, e)
		in.at, in.logTimeMS = e.At(), max(in.logTimeMS, e.TimeMS)
	}
	if in.at.Index < in.until && !plant.Is(plant.StrongSnapshotFuzzy) {
		return
	}
	switch {
	case !r.hard.Diverged && in.at.Index <= r.hard.Applied:
		r.dropInstall() // the log has come here by another way
		return
	case in.at.Index < r.hard.Applied: // applied meanwhile: so has the source
		in.askNow = len(m.Entries) > 0 || m.Kind == 0
		return
	}
	r.switchOver()
}

// switchOver makes the new generation the state of this store. A log that fits goes on
// behind it; one that does not holds nothing that could be committed.
func (r *Replica) switchOver() {
	in := r.install
	r.install = nil
	r.write(Write{Kind: DropGeneration, Generation: r.hard.Generation})
	if r.log.epochAt(in.at.Index) == in.at.Epoch {
		for i := r.hard.Applied + 1; i <= in.at.Index; i++ {
			r.log.applied(r.log.cached(i))
		}
		if !r.hard.Diverged { // else the log is as good as before, for others too
			r.log.cutHead(in.at.Index)
			r.write(Write{Kind: CutHead, Index: in.at.Index})
		}
	} else {
		assert.That(in.at.Index > r.hard.Commit, "S8", "a snapshot at %v does not fit, commit %d", in.at, r.hard.Commit)
		r.log, r.durable = newLog(in.at), 0
		for i := range r.marks {
			r.marks[i].last = 0
		}
		r.write(Write{Kind: CutTail, Index: 0})
	}
	r.logSeq = r.seq
	r.pulledAnew(in)
	r.hard.Sum = in.sum
	r.hard.Base, r.hard.Applied, r.hard.Generation, r.hardDirty = r.log.base, in.at.Index, in.generation, true
	r.hard.Commit, r.hard.LogTimeMS = max(r.hard.Commit, in.at.Index), max(r.hard.LogTimeMS, in.logTimeMS)
	r.sendAfter(in.source, &Message{Kind: MsgAppendAck, Epoch: in.epoch, Match: in.at.Index, Full: !r.suspect, Applied: r.kept()})
}
