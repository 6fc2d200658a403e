package antientropy

import (
	"maps"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
)

// HintLine is what a store knows of its hints of one partition for one target. It is
// the durable form too: the core keeps a partition's lines in its counters row.
type HintLine struct {
	Target hashring.SID
	Hints  uint64
	Bytes  uint64
	// OldestMS is the wall clock at which the oldest hint was kept, or earlier: it is
	// made exact when the line is swept. Age is a matter of space, not of safety.
	// 0 in an older row: not known.
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
	parts  map[uint32][]bookLine // by partition, each sorted by target
	bytes  uint64
}

// Place names a line.
type Place struct {
	Partition uint32
	Target    hashring.SID
}

type bookLine struct {
	HintLine
	sweeping bool
	told     bool // the target may have been told of the mark
}

// NewHintBook is an empty book; Restore gives it the lines of the last run.
func NewHintBook(b HintBudget) *HintBook {
	return &HintBook{budget: b, parts: make(map[uint32][]bookLine)}
}

// Restore takes a line as it was durable. Its mark may have been told of by the process
// before, so the next miss renews it.
func (h *HintBook) Restore(p uint32, l HintLine) {
	*h.line(p, l.Target) = bookLine{HintLine: l, told: true}
	h.bytes += l.Bytes
}

// Lines are a partition's, sorted by target, for the counters row and for /v1/hints.
func (h *HintBook) Lines(p uint32) []HintLine {
	lines := h.parts[p]
	if len(lines) == 0 {
		return nil
	}
	out := make([]HintLine, len(lines))
	for i := range lines {
		out[i] = lines[i].HintLine
	}
	return out
}

// Line is the one of a partition for a target; the zero value: nothing is kept or owed.
func (h *HintBook) Line(p uint32, target hashring.SID) HintLine {
	if l := h.find(p, target); l != nil {
		return l.HintLine
	}
	return HintLine{}
}

// Bytes is the sum over all lines.
func (h *HintBook) Bytes() uint64 { return h.bytes }

// Partitions are those that have lines, in order.
func (h *HintBook) Partitions() []uint32 {
	if len(h.parts) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(h.parts))
}

func byTarget(l bookLine, target hashring.SID) int { return slices.Compare(l.Target[:], target[:]) }

func (h *HintBook) find(p uint32, target hashring.SID) *bookLine {
	lines := h.parts[p]
	if i, ok := slices.BinarySearchFunc(lines, target, byTarget); ok {
		return &lines[i]
	}
	return nil
}

// line makes one where there is none. It is good until the next is made or goes.
func (h *HintBook) line(p uint32, target hashring.SID) *bookLine {
	lines := h.parts[p]
	i, ok := slices.BinarySearchFunc(lines, target, byTarget)
	if !ok {
		lines = slices.Insert(lines, i, bookLine{HintLine: HintLine{Target: target}})
		h.parts[p] = lines
	}
	return &lines[i]
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
	h.rest(l)
}

// rest: a line without hints has no bytes, whatever damaged ones have left.
func (h *HintBook) rest(l *bookLine) {
	if l.Hints == 0 {
		h.bytes -= l.Bytes
		l.Bytes = 0
	}
}

// Damaged: a hint goes that cannot be read. How many bytes it had nobody knows: until
// the line is empty it counts them still.
func (h *HintBook) Damaged(p uint32, target hashring.SID, gen uint64) {
	l := h.line(p, target)
	assert.That(l.Hints > 0, "E3", "a line without hints cannot lose one")
	l.Hints--
	h.rest(l)
	h.Missed(p, target, gen)
}

// Dropped: a hint goes that nobody has acked. Its loss is marked in the same batch.
func (h *HintBook) Dropped(p uint32, target hashring.SID, size, gen uint64) {
	h.remove(p, target, size)
	if plant.Is(plant.DroppedUnmarked) {
		h.tidy(p, target)
		return
	}
	h.Missed(p, target, gen)
}

// Missed: a hint was not kept, because of Refuse or because no store outside the
// owners exists. The mark is all there is, and counts for nothing in a quorum.
func (h *HintBook) Missed(p uint32, target hashring.SID, gen uint64) {
	assert.That(gen != 0, "E3", "a mark needs a generation")
	l := h.line(p, target)
	l.Dirty, l.told = max(l.Dirty, gen), false
}

// Covered tells that the mark which stands covers what is missed now too: its target
// has not been told of it, so the exchanges that may clear it have not begun. What is
// missed after the telling must be Missed under a new generation, since an exchange
// may have passed its key already. So a mark is written once each time that the target
// is told of it, not for each write.
func (h *HintBook) Covered(p uint32, target hashring.SID) bool {
	l := h.find(p, target)
	return l != nil && l.Dirty != 0 && !l.told
}

// Told: the target is being told of the mark, with its generation.
func (h *HintBook) Told(p uint32, target hashring.SID) {
	if l := h.find(p, target); l != nil {
		l.told = true
	}
}

// Dirty is the generation of the mark, 0: none.
func (h *HintBook) Dirty(p uint32, target hashring.SID) uint64 { return h.Line(p, target).Dirty }

// Clear removes a mark: the target, told of generation gen, then began exchanges with
// all other owners, and each was Complete and thorough. A mark that was renewed since
// stays.
func (h *HintBook) Clear(p uint32, target hashring.SID, gen uint64) bool {
	l := h.find(p, target)
	if l == nil || l.Dirty == 0 || l.Dirty != gen && !plant.Is(plant.MarkOldGeneration) {
		return false
	}
	l.Dirty = 0
	h.tidy(p, target)
	return true
}

func (h *HintBook) tidy(p uint32, target hashring.SID) {
	if l := h.find(p, target); l == nil || l.Hints != 0 || l.Dirty != 0 {
		return
	}
	h.parts[p] = slices.DeleteFunc(h.parts[p], func(l bookLine) bool { return l.Target == target })
	if len(h.parts[p]) == 0 {
		delete(h.parts, p)
	}
}

// Pending is what a purge round must wait for: hints not delivered, and marks.
func (h *HintBook) Pending(p uint32) (hints, marks uint64) {
	for _, l := range h.parts[p] {
		hints += l.Hints
		if l.Dirty != 0 {
			marks++
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

// Sweep is the next walk that the budget asks for, if any: of the lines that may be
// swept, the one with the oldest hint first. One walk at a time for each line; Swept
// ends it.
func (h *HintBook) Sweep(nowMS int64, may func(p uint32, target hashring.SID) bool) (Sweep, bool) {
	before := nowMS - int64(h.budget.Age/time.Millisecond)
	aged := func(l *bookLine) bool { return h.budget.Age > 0 && l.OldestMS < before }
	var best *bookLine
	var at uint32
	for _, p := range h.Partitions() {
		for i := range h.parts[p] {
			l := &h.parts[p][i]
			if l.Hints > 0 && !l.sweeping && (best == nil || l.OldestMS < best.OldestMS) && (aged(l) || h.bytes > h.budget.Bytes) && may(p, l.Target) {
				best, at = l, p
			}
		}
	}
	if best == nil {
		return Sweep{}, false
	}
	s := Sweep{Partition: at, Target: best.Target}
	if aged(best) {
		s.BeforeMS = before
	} else {
		s.Bytes = h.bytes - h.budget.Bytes
	}
	best.sweeping = true
	return s, true
}

// Swept: the walk is over, the oldest hint left is from oldestMS; 0: the walk did not
// come to its end, the line stays as it is.
func (h *HintBook) Swept(p uint32, target hashring.SID, oldestMS int64) {
	if l := h.find(p, target); l != nil {
		l.sweeping = false
		if l.Hints > 0 && oldestMS != 0 {
			l.OldestMS = oldestMS
		}
	}
}

// Orphans are the lines whose target owns the partition no more. Their hints go to the
// owners of now, one by one: merged there as any write is, and Delivered here on their
// synced acks; their mark goes with Inherit.
func (h *HintBook) Orphans(owns func(p uint32, target hashring.SID) bool) (out []Place) {
	for _, p := range h.Partitions() {
		for i := range h.parts[p] {
			if t := h.parts[p][i].Target; !owns(p, t) {
				out = append(out, Place{p, t})
			}
		}
	}
	return out
}

// Inherit moves a mark to the owners of now: any of them may lack what was dropped.
// gen is a new generation.
func (h *HintBook) Inherit(p uint32, target hashring.SID, owners []hashring.SID, gen uint64) {
	if h.Dirty(p, target) == 0 || len(owners) == 0 {
		return
	}
	for _, o := range owners {
		h.Missed(p, o, gen)
	}
	if !slices.Contains(owners, target) {
		h.find(p, target).Dirty = 0
	}
	h.tidy(p, target)
}
