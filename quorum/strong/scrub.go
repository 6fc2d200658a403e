package strong

import (
	"bytes"

	"github.com/quoratedb/quorate/internal/plant"
)

// scrub is a walk over the values that adds them up, slice by slice, and compares with
// Hard.Sum at its end (D5). sum is over the keys up to cursor as this store has staged
// them now: what is applied behind the cursor's back is added as it comes.
type scrub struct {
	token      uint64 // of the slice that is being read, 0: none
	from       uint64 // all that was applied up to here is in the slice
	generation uint64
	after      []byte // the storage's cursor
	cursor     []byte // bucket and key of the last value in sum
	sum        uint64
	hurry      bool   // to the end without a pause
	rounds     uint64 // complete ones
}

// Scrub goes on checking the values: one slice, unless one is on its way already. The
// caller sets the pace; a walk in a hurry keeps its own. False: there is nothing to check
// now.
func (r *Replica) Scrub() bool {
	s := &r.scrub
	if r.hard.Diverged || r.install != nil || !r.cfg.Holds(r.self) {
		return false
	}
	if s.token != 0 {
		return true
	}
	if s.generation != r.hard.Generation {
		r.restartScrub()
	}
	s.token, s.from = r.newID(), r.kept()
	r.out.Loads = append(r.out.Loads, Load{Token: s.token, Part: PartValues, Generation: s.generation, After: s.after, Rows: r.opts.SliceRows, Bytes: r.opts.SliceBytes})
	return true
}

func (r *Replica) restartScrub() {
	r.scrub = scrub{generation: r.hard.Generation, hurry: r.scrub.hurry, rounds: r.scrub.rounds}
}

// hurryScrub begins a walk that goes to its end without a pause.
func (r *Replica) hurryScrub() {
	r.restartScrub()
	r.scrub.hurry = true
}

// scrubApplied keeps the sum when an effect is applied to a key behind the cursor.
func (r *Replica) scrubApplied(e *Entry) {
	var room [keyRoom]byte
	if s := &r.scrub; s.cursor != nil && bytes.Compare(appendKey(room[:0], e.Bucket, e.Key), s.cursor) <= 0 {
		s.sum += SumOf(e.Bucket, e.Key, e.Value) - e.Old
	}
}

// scrubbed takes a slice. It is of some moment since it was asked for; keys that have
// changed meanwhile are looked up.
func (r *Replica) scrubbed(rows []Row, next []byte, more bool, err error) {
	s := &r.scrub
	s.token = 0
	switch {
	case err != nil:
		r.damaged(err)
		return
	case s.generation != r.hard.Generation || more && len(rows) == 0:
		r.restartScrub()
		return
	case s.from < r.log.base.Index || r.hard.Applied-s.from > uint64(r.opts.Apply):
		return // the same slice once more
	}
	upto := s.cursor
	if more {
		last := rows[len(rows)-1]
		upto = appendKey(nil, last.Bucket, last.Key)
	}
	changed, ok := r.changed(upto, more)
	if !ok {
		return
	}
	for _, row := range rows {
		if !changed[string(appendKey(nil, row.Bucket, row.Key))] {
			s.sum += SumOf(row.Bucket, row.Key, row.Value)
		}
	}
	s.after, s.cursor = next, upto
	if !more {
		r.judgeScrub()
	}
}

// changed adds to the sum what has been applied since the slice was asked for to keys
// in its range: behind the cursor, up to upto or, in the last slice, whatever.
func (r *Replica) changed(upto []byte, more bool) (map[string]bool, bool) {
	s := &r.scrub
	var out map[string]bool
	for i := s.from + 1; i <= r.hard.Applied; i++ {
		e := r.entry(i)
		if e == nil {
			return nil, false
		}
		if e.Kind != Effect {
			continue
		}
		key := appendKey(nil, e.Bucket, e.Key)
		if out[string(key)] || bytes.Compare(key, s.cursor) <= 0 || more && bytes.Compare(key, upto) > 0 {
			continue
		}
		v, err := r.store.Value(s.generation, e.Bucket, e.Key)
		if err != nil {
			r.damaged(err)
			return nil, false
		}
		if out == nil {
			out = make(map[string]bool)
		}
		out[string(key)] = true
		s.sum += SumOf(e.Bucket, e.Key, v)
	}
	return out, true
}

// judgeScrub ends a walk.
func (r *Replica) judgeScrub() {
	s := &r.scrub
	if off := s.sum - r.hard.Sum; !plant.Is(plant.StrongScrubBlind) {
		r.scrubEnds(off)
	}
	s.rounds++
	s.hurry = false
	r.restartScrub()
}
