package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// engine is one store: the rows that a crash leaves. What is not synced yet waits in
// the shards' commits, and is lost or not when the process dies.
type engine struct {
	parts []rows
	bound version.HLC // greatest durable clock bound of all shards (E9)
	boots uint64      // durable boot count (D6)
	ring  uint64      // version of the last ring state it kept
}

// rows are one partition's.
type rows struct {
	records  map[recordKey]*version.Object
	hints    map[hintKey]storedHint
	counters core.Counters
	corrupt  map[recordKey]bool
}

type recordKey struct {
	bucket hashring.BucketID
	key    string
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
		e.parts[i] = rows{records: map[recordKey]*version.Object{}, hints: map[hintKey]storedHint{}}
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
		delete(r.corrupt, k)
		if w.Object == nil {
			delete(r.records, k)
		} else {
			r.records[k] = w.Object
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
	e.bound = max(e.bound, b.HLCBound)
}

// load walks a slice of durable rows, as node/store does. A hint's cursor is its
// bucket, then its key.
func (e *engine) load(l *core.Load) core.Loaded {
	var found []core.Row
	r := &e.parts[l.Partition]
	if l.Kind == core.LoadRecords {
		for k, o := range r.records {
			if k.bucket != l.Bucket || !strings.HasPrefix(k.key, string(l.Prefix)) || k.key < string(l.Start) || l.After != nil && k.key <= string(l.After) {
				continue
			}
			if r.corrupt[k] {
				return core.Loaded{Token: l.Token, Err: core.ErrCorrupt}
			}
			found = append(found, core.Row{Bucket: k.bucket, Key: []byte(k.key), Object: o})
		}
		slices.SortFunc(found, func(a, b core.Row) int { return bytes.Compare(a.Key, b.Key) })
	} else {
		for k, h := range r.hints {
			if k.target != l.Target {
				continue
			}
			cursor := append(binary.BigEndian.AppendUint64(nil, uint64(k.bucket)), k.key...)
			if bytes.Compare(cursor, l.After) > 0 {
				found = append(found, core.Row{Bucket: k.bucket, Key: cursor[8:], Object: h.object, Target: k.target, Gen: h.gen, Cursor: cursor})
			}
		}
		slices.SortFunc(found, func(a, b core.Row) int { return bytes.Compare(a.Cursor, b.Cursor) })
	}
	n, size := 0, 0
	for n < len(found) && n < l.MaxRows && (n == 0 || size < l.MaxBytes) {
		size += len(found[n].Key) + found[n].Object.Size()
		n++
	}
	return core.Loaded{Token: l.Token, Rows: found[:n], More: n < len(found)}
}

// clone is an image of the store, for rollback.
func (e *engine) clone() *engine {
	out := *e
	out.parts = make([]rows, len(e.parts))
	for i := range e.parts {
		r := &e.parts[i]
		to := rows{records: map[recordKey]*version.Object{}, hints: map[hintKey]storedHint{}, counters: r.counters}
		for k, v := range r.records { // order-free: a copy
			to.records[k] = v
		}
		for k, v := range r.hints { // order-free: a copy
			to.hints[k] = v
		}
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
			if isTombstone(o) {
				want.Tombstones++
			} else {
				want.Keys++
			}
		}
		hints := map[hashring.SID]core.HintCount{}
		for k, h := range r.hints { // order-free: sums
			c := hints[k.target]
			c.Target, c.Hints, c.Bytes = k.target, c.Hints+1, c.Bytes+uint64(h.object.Size())
			hints[k.target] = c
		}
		got := r.counters
		same := got.Keys == want.Keys && got.Tombstones == want.Tombstones && got.Bytes == want.Bytes && len(got.Hints) == len(hints)
		for _, h := range got.Hints {
			same = same && hints[h.Target] == h
		}
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
