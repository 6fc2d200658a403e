package antientropy

import (
	"cmp"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
)

// HintLine is what a store knows of its hints of one partition for one target. It is
// the durable form too: the core keeps a partition's lines in its counters row.
type HintLine struct {
	Target hashring.SID
	Hints  uint64
	Bytes  uint64
	// OldestMS is the wall clock at which the oldest hint was kept, or earlier: it is
	// made exact when the line is swept. Age is a matter of space, not of safety.
	OldestMS int64
	// Dirty, when not 0, is the generation of a mark: something for the target was not
	// kept or was dropped. Until the target has had a complete, thorough exchange with
	// every other owner, begun after the mark, no purge round of the partition may pass.
	Dirty uint64
}

// HintBudget bounds what a store keeps for others.
type HintBudget struct {
	Bytes uint64
	Age   Duration // 0: no bound
}

// slack is how far over its bytes a book goes while the oldest hints are being found
// and dropped: an eighth, so that a hint never waits for that.
func (b HintBudget) slack() uint64 { return b.Bytes / 8 }

// HintBook keeps the lines of all partitions of a shard (E3): never a hint is
// forgotten silently. It keeps no hint itself.
//
// Generations are the caller's: numbers that this store never used before, such as its
// durable clock gives. A mark from before a restart cannot be taken for a later one.
type HintBook struct {
	budget HintBudget
	lines  map[Place]*bookLine
	bytes  uint64
}

// Place names a line.
type Place struct {
	Partition uint32
	Target    hashring.SID
}

func (k Place) compare(o Place) int {
	return cmp.Or(cmp.Compare(k.Partition, o.Partition), slices.Compare(k.Target[:], o.Target[:]))
}

type bookLine struct {
	HintLine
	sweeping bool
}

// NewHintBook is an empty book; Restore gives it the lines of the last run.
func NewHintBook(b HintBudget) *HintBook {
	return &HintBook{budget: b, lines: make(map[Place]*bookLine)}
}

// Restore takes a line as it was durable.
func (h *HintBook) Restore(p uint32, l HintLine) {
	h.lines[Place{p, l.Target}] = &bookLine{HintLine: l}
	h.bytes += l.Bytes
}

// Lines are a partition's, sorted by target, for the counters row and for /v1/hints.
func (h *HintBook) Lines(p uint32) (out []HintLine) {
	for _, k := range h.keys() {
		if k.Partition == p {
			out = append(out, h.lines[k].HintLine)
		}
	}
	return out
}

// Bytes is the sum over all lines.
func (h *HintBook) Bytes() uint64 { return h.bytes }

func (h *HintBook) keys() []Place {
	out := make([]Place, 0, len(h.lines))
	for k := range h.lines { // order-free: sorted below
		out = append(out, k)
	}
	slices.SortFunc(out, Place.compare)
	return out
}

func (h *HintBook) line(p uint32, target hashring.SID) *bookLine {
	k := Place{p, target}
	l := h.lines[k]
	if l == nil {
		l = &bookLine{HintLine: HintLine{Target: target}}
		h.lines[k] = l
	}
	return l
}

// Admission is the answer to a hint that wants to be kept.
type Admission uint8

const (
	// Keep it; there is room.
	Keep Admission = iota
	// KeepAndSweep keeps it and asks for Sweep: the book is over its budget.
	KeepAndSweep
	// Refuse it: not even the slack has room. It must be Missed, and not acked.
	Refuse
)

func (a Admission) String() string { return [...]string{"keep", "keep and sweep", "refuse"}[a] }

// Admit asks for room for size more bytes. It changes nothing: Kept does, or Missed.
func (h *HintBook) Admit(size uint64) Admission {
	switch after := h.bytes + size; {
	case after <= h.budget.Bytes:
		return Keep
	case after <= h.budget.Bytes+h.budget.slack():
		return KeepAndSweep
	}
	return Refuse
}

// Kept: a hint of size bytes was staged for the target; was is the size of the one of
// the same key that it replaces, 0: none.
func (h *HintBook) Kept(p uint32, target hashring.SID, size, was uint64, nowMS int64) {
	l := h.line(p, target)
	if l.Hints == 0 {
		l.OldestMS = nowMS
	}
	if was == 0 {
		l.Hints++
	} else {
		h.take(l, was)
	}
	l.Bytes += size
	h.bytes += size
}

func (h *HintBook) take(l *bookLine, size uint64) {
	assert.That(l.Bytes >= size && h.bytes >= size, "E3", "a line of %d bytes, %d in all, cannot lose %d", l.Bytes, h.bytes, size)
	l.Bytes -= size
	h.bytes -= size
}

// Delivered: the target's synced ack has come, the hint goes.
func (h *HintBook) Delivered(p uint32, target hashring.SID, size uint64) {
	h.remove(p, target, size)
	h.tidy(p, target)
}

func (h *HintBook) remove(p uint32, target hashring.SID, size uint64) {
	l := h.line(p, target)
	assert.That(l.Hints > 0, "E3", "a line without hints cannot lose one")
	l.Hints--
	h.take(l, size)
}

// Dropped: a hint goes that nobody has acked. Its loss is marked in the same batch.
func (h *HintBook) Dropped(p uint32, target hashring.SID, size, gen uint64) {
	h.remove(p, target, size)
	h.Missed(p, target, gen)
}

// Missed: a hint was not kept, because of Refuse or because no store outside the
// owners exists. The mark is all there is, and counts for nothing in a quorum.
func (h *HintBook) Missed(p uint32, target hashring.SID, gen uint64) {
	assert.That(gen != 0, "E3", "a mark needs a generation")
	l := h.line(p, target)
	l.Dirty = max(l.Dirty, gen)
}

// Dirty is the generation of the mark, 0: none.
func (h *HintBook) Dirty(p uint32, target hashring.SID) uint64 {
	if l := h.lines[Place{p, target}]; l != nil {
		return l.Dirty
	}
	return 0
}

// Clear removes a mark: the target, told of generation gen, then began exchanges with
// all other owners, and each was Complete and thorough. A mark that was renewed since
// stays.
func (h *HintBook) Clear(p uint32, target hashring.SID, gen uint64) bool {
	l := h.lines[Place{p, target}]
	if l == nil || gen == 0 || l.Dirty != gen {
		return false
	}
	l.Dirty = 0
	h.tidy(p, target)
	return true
}

func (h *HintBook) tidy(p uint32, target hashring.SID) {
	k := Place{p, target}
	if l := h.lines[k]; l != nil && l.Hints == 0 && l.Dirty == 0 {
		delete(h.lines, k)
	}
}

// Pending is what a purge round must wait for: hints not delivered, and marks.
func (h *HintBook) Pending(p uint32) (hints, marks uint64) {
	for k, l := range h.lines { // order-free: sums
		if k.Partition == p {
			hints += l.Hints
			if l.Dirty != 0 {
				marks++
			}
		}
	}
	return hints, marks
}

// Sweep is a walk over one line's hints that drops some: those kept before BeforeMS,
// or, if that is 0, the oldest until Bytes are free. The walk finds them (Picker).
type Sweep struct {
	Partition uint32
	Target    hashring.SID
	BeforeMS  int64
	Bytes     uint64
}

// Sweep is the next walk that the budget asks for, if any: the line with the oldest
// hint first. One walk at a time for each line; Swept ends it.
func (h *HintBook) Sweep(nowMS int64) (Sweep, bool) {
	var best Place
	var l *bookLine
	for _, k := range h.keys() {
		if c := h.lines[k]; c.Hints > 0 && !c.sweeping && (l == nil || c.OldestMS < l.OldestMS) {
			best, l = k, c
		}
	}
	if l == nil {
		return Sweep{}, false
	}
	s := Sweep{Partition: best.Partition, Target: best.Target}
	before := nowMS - int64(h.budget.Age/time.Millisecond)
	switch {
	case h.budget.Age > 0 && l.OldestMS < before:
		s.BeforeMS = before
	case h.bytes > h.budget.Bytes:
		s.Bytes = h.bytes - h.budget.Bytes
	default:
		return Sweep{}, false
	}
	l.sweeping = true
	return s, true
}

// Swept: the walk is over, the oldest hint left is from oldestMS.
func (h *HintBook) Swept(p uint32, target hashring.SID, oldestMS int64) {
	if l := h.lines[Place{p, target}]; l != nil {
		l.sweeping = false
		if l.Hints > 0 {
			l.OldestMS = oldestMS
		}
	}
}

// Orphans are the lines whose target owns the partition no more. Their hints go to an
// owner of now, one by one: merged there as any write is, and Delivered here on its
// synced ack; their mark goes with Inherit.
func (h *HintBook) Orphans(owns func(p uint32, target hashring.SID) bool) (out []Place) {
	for _, k := range h.keys() {
		if !owns(k.Partition, k.Target) {
			out = append(out, k)
		}
	}
	return out
}

// Inherit moves a mark to the owners of now: any of them may lack what was dropped.
// gen is a new generation.
func (h *HintBook) Inherit(p uint32, target hashring.SID, owners []hashring.SID, gen uint64) {
	l := h.lines[Place{p, target}]
	if l == nil || l.Dirty == 0 || len(owners) == 0 {
		return
	}
	for _, o := range owners {
		h.Missed(p, o, gen)
	}
	if !slices.Contains(owners, target) {
		l.Dirty = 0
	}
	h.tidy(p, target)
}
