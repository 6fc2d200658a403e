package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// engine is one store: the rows that a crash leaves. What is not synced yet waits in
// the shards' commits, and is lost or not when the process dies.
type engine struct {
	parts  []rows
	bound  version.HLC   // greatest durable clock bound of all shards (E9)
	boots  uint64        // durable boot count (D6)
	starts []uint64      // the nonces that its starts have drawn
	ring   uint64        // version of the last ring state it kept
	ill    bool          // damage that only another store mends was met: it will be set aside (D4)
	since  time.Duration // it was formatted, or put back, then
	drift  *drift        // the last value of it that has changed by itself
}

// rows are one partition's.
type rows struct {
	records  map[recordKey]*version.Object
	sorted   []recordKey // of records; nil: not known
	leaves   map[recordKey]leafRow
	hints    map[hintKey]storedHint
	counters core.Counters
	corrupt  map[recordKey]bool
	rotted   map[recordKey]bool // their leaf rows do not fit
	strong   *strongRows        // nil: it has never been in the partition's sets
}

type recordKey struct {
	bucket hashring.BucketID
	key    string
}

// leafRow is what the leaf index has of a record (D5).
type leafRow struct {
	leaf    uint16
	version uint64
}

type hintKey struct {
	bucket hashring.BucketID
	target hashring.SID
	key    string
}

type storedHint struct {
	object *version.Object
	gen    uint64
}

func newEngine(partitions int) *engine {
	e := &engine{parts: make([]rows, partitions)}
	for i := range e.parts {
		e.parts[i] = rows{records: map[recordKey]*version.Object{}, leaves: map[recordKey]leafRow{}, hints: map[hintKey]storedHint{}}
	}
	return e
}

// Record, Hint and Counters are core.Engine: settled data only.
func (e *engine) Record(p uint32, b hashring.BucketID, key []byte) (*version.Object, error) {
	r := &e.parts[p]
	if r.corrupt != nil && r.corrupt[recordKey{b, string(key)}] {
		return nil, core.ErrCorrupt
	}
	return r.records[recordKey{b, string(key)}], nil
}

func (e *engine) Hint(p uint32, b hashring.BucketID, key []byte, target hashring.SID) (*version.Object, uint64, error) {
	h := e.parts[p].hints[hintKey{b, target, string(key)}]
	return h.object, h.gen, nil
}

func (e *engine) Counters(p uint32) (core.Counters, error) { return e.parts[p].counters, nil }

// apply makes one batch durable.
func (e *engine) apply(b *core.Batch) {
	for i := range b.Records {
		w := &b.Records[i]
		r := &e.parts[w.Partition]
		k := recordKey{w.Bucket, string(w.Key)}
		if r.corrupt[k] || r.rotted[k] {
			delete(r.rotted, k)
			delete(r.corrupt, k)
		}
		if w.Object == nil {
			delete(r.records, k)
			delete(r.leaves, k)
			r.sorted = nil
		} else {
			if r.sorted != nil && r.records[k] == nil {
				r.sorted = nil
			}
			r.records[k] = w.Object
			r.leaves[k] = leafRow{w.Leaf, w.Version}
		}
	}
	for i := range b.Hints {
		w := &b.Hints[i]
		k := hintKey{w.Bucket, w.Target, string(w.Key)}
		if w.Object == nil {
			delete(e.parts[w.Partition].hints, k)
		} else {
			e.parts[w.Partition].hints[k] = storedHint{w.Object, w.Gen}
		}
	}
	for i := range b.Counters {
		e.parts[b.Counters[i].Partition].counters = b.Counters[i].Counters
	}
	for i := range b.Strong {
		w := &b.Strong[i]
		r := &e.parts[w.Partition]
		if r.strong == nil {
			r.strong = newStrongRows()
		}
		r.strong.apply(&w.Write)
	}
	e.bound = max(e.bound, b.HLCBound)
}

// clone is an image of the store, for rollback.
func (e *engine) clone() *engine {
	out := *e
	out.starts = slices.Clone(e.starts)
	out.parts = make([]rows, len(e.parts))
	for i := range e.parts {
		r := &e.parts[i]
		to := rows{records: maps.Clone(r.records), leaves: maps.Clone(r.leaves), hints: maps.Clone(r.hints), counters: r.counters, strong: r.strong.clone()}
		out.parts[i] = to
	}
	return &out
}

func (e *engine) hintCount() (n int) {
	for i := range e.parts {
		n += len(e.parts[i].hints)
	}
	return n
}

func (e *engine) hintsFor(target hashring.SID) (n int) {
	for i := range e.parts {
		for _, h := range e.parts[i].counters.Hints {
			if h.Target == target {
				n += int(h.Hints)
			}
		}
	}
	return n
}

// recount holds the counters, which are written with every batch, against the rows.
func (e *engine) recount() error {
	for p := range e.parts {
		r := &e.parts[p]
		want := core.Counters{}
		for _, o := range r.records { // order-free: sums
			want.Bytes += uint64(o.Size())
			if slices.ContainsFunc(o.Siblings, func(s version.Sibling) bool { return !s.Tombstone && s.ExpiryMS != 0 }) {
				want.Expiring++
			}
			if isTombstone(o) {
				want.Tombstones++
			} else {
				want.Keys++
			}
		}
		hints := map[hashring.SID]antientropy.HintLine{}
		for k, h := range r.hints { // order-free: sums
			c := hints[k.target]
			c.Target, c.Hints, c.Bytes = k.target, c.Hints+1, c.Bytes+uint64(h.object.Size())
			hints[k.target] = c
		}
		got := r.counters
		same := got.Keys == want.Keys && got.Tombstones == want.Tombstones && got.Bytes == want.Bytes && got.Expiring == want.Expiring
		for _, h := range got.Hints { // their age is a bound, a mark is nothing that is there
			same = same && hints[h.Target].Hints == h.Hints && hints[h.Target].Bytes == h.Bytes
			delete(hints, h.Target)
		}
		same = same && len(hints) == 0
		if !same {
			return fmt.Errorf("partition %d counts %+v, there are %+v and hints %v", p, got, want, hints)
		}
	}
	return nil
}

func isTombstone(o *version.Object) bool {
	for i := range o.Siblings {
		if !o.Siblings[i].Tombstone {
			return false
		}
	}
	return true
}
