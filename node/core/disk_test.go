package core

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// disk is an engine in memory that holds just what was synced.
type disk struct {
	records  map[rowKey]*version.Object
	leaves   map[rowKey]leafRow
	hints    map[rowKey]storedHint
	counters map[uint32]Counters
	bound    version.HLC
	corrupt  map[rowKey]bool // rows that cannot be trusted
	strong   map[uint32]*strongDisk
}

type storedHint struct {
	object *version.Object
	gen    uint64
}

func newDisk() *disk {
	return &disk{records: map[rowKey]*version.Object{}, leaves: map[rowKey]leafRow{}, hints: map[rowKey]storedHint{}, counters: map[uint32]Counters{}, corrupt: map[rowKey]bool{}, strong: map[uint32]*strongDisk{}}
}

func (d *disk) Record(p uint32, b hashring.BucketID, key []byte) (*version.Object, error) {
	k := rowKey{partition: p, bucket: b, key: string(key)}
	if d.corrupt[k] {
		return nil, ErrCorrupt
	}
	return d.records[k], nil
}

func (d *disk) Hint(p uint32, b hashring.BucketID, key []byte, target hashring.SID) (*version.Object, uint64, error) {
	k := rowKey{p, b, target, string(key)}
	if d.corrupt[k] {
		return nil, 0, ErrCorrupt
	}
	return d.hints[k].object, d.hints[k].gen, nil
}

func (d *disk) Counters(p uint32) (Counters, error) { return d.counters[p], nil }

func (d *disk) apply(batches []*Batch) {
	for _, b := range batches {
		for _, r := range b.Records {
			k := rowKey{partition: r.Partition, bucket: r.Bucket, key: string(r.Key)}
			delete(d.corrupt, k)
			d.records[k], d.leaves[k] = r.Object, leafRow{r.Leaf, r.LeafVersion()}
			if r.Object == nil {
				delete(d.records, k)
				delete(d.leaves, k)
			}
		}
		for _, h := range b.Hints {
			k := rowKey{h.Partition, h.Bucket, h.Target, string(h.Key)}
			delete(d.corrupt, k)
			if d.hints[k] = (storedHint{h.Object, h.Gen}); h.Object == nil {
				delete(d.hints, k)
			}
		}
		for _, c := range b.Counters {
			d.counters[c.Partition] = c.Counters
		}
		for i := range b.Strong {
			d.strongPart(b.Strong[i].Partition).apply(&b.Strong[i].Write)
		}
		d.bound = max(d.bound, b.HLCBound)
	}
}

// load walks a slice. A hint's cursor is its bucket, then its key.
func (d *disk) load(l Load) Loaded {
	var rows []Row
	if l.Kind == LoadPurgeable {
		return d.purgeable(l)
	}
	switch l.Kind {
	case LoadStrong:
		return d.loadStrong(l)
	case LoadStrongLive:
		return d.loadStrongLive(l)
	}
	if l.Kind >= LoadLeafRows {
		return d.loadRepair(l)
	}
	if l.Kind == LoadRecords {
		for k, o := range d.records {
			in := k.partition == l.Partition && k.bucket == l.Bucket && strings.HasPrefix(k.key, string(l.Prefix)) &&
				k.key >= string(l.Start) && (l.After == nil || k.key > string(l.After))
			if !in {
				continue
			}
			if d.corrupt[k] {
				return Loaded{Token: l.Token, Err: ErrCorrupt}
			}
			rows = append(rows, Row{Bucket: k.bucket, Key: []byte(k.key), Object: o})
		}
	} else {
		for k, h := range d.hints {
			cursor := append(binary.BigEndian.AppendUint64(nil, uint64(k.bucket)), k.key...)
			if k.partition == l.Partition && k.target == l.Target && bytes.Compare(cursor, l.After) > 0 {
				r := Row{Bucket: k.bucket, Key: []byte(k.key), Object: h.object, Target: k.target, Gen: h.gen, Cursor: cursor}
				if d.corrupt[k] {
					r.Object, r.Gen, r.Damaged = nil, 0, true
				}
				rows = append(rows, r)
			}
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		if l.Kind == LoadHints {
			return bytes.Compare(a.Cursor, b.Cursor)
		}
		return bytes.Compare(a.Key, b.Key)
	})
	n := 0
	for size := 0; n < len(rows) && n < l.MaxRows && (n == 0 || size < l.MaxBytes); n++ {
		size += rows[n].Object.Size()
	}
	return Loaded{Token: l.Token, Rows: rows[:n], More: n < len(rows)}
}

// purgeable walks a few records at a time, as the store does.
func (d *disk) purgeable(l Load) Loaded {
	var all []Row
	for k, o := range d.records {
		r := Row{Bucket: k.bucket, Key: []byte(k.key), Object: o}
		if k.partition == l.Partition && cmp.Or(cmp.Compare(k.bucket, l.LeafAfter.Bucket), strings.Compare(k.key, string(l.LeafAfter.Key))) > 0 && !d.corrupt[k] {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Row) int { return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), bytes.Compare(a.Key, b.Key)) })
	out := Loaded{Token: l.Token}
	for i, r := range all {
		if i == 3 || len(out.Rows) == l.MaxRows {
			out.More = true
			break
		}
		out.Last = antientropy.Pos{Bucket: r.Bucket, Key: r.Key}
		if onlyTombstones(r.Object) || antientropy.Expire(r.Object, l.AtMS) != r.Object {
			out.Rows = append(out.Rows, r)
		}
	}
	return out
}

// count is what the counters must say.
func (d *disk) count() map[uint32]Counters {
	out := map[uint32]Counters{}
	for k, o := range d.records {
		c := out[k.partition]
		c.Bytes += uint64(o.Size())
		if slices.ContainsFunc(o.Siblings, func(s version.Sibling) bool { return !s.Tombstone && s.ExpiryMS != 0 }) {
			c.Expiring++
		}
		if onlyTombstones(o) {
			c.Tombstones++
		} else {
			c.Keys++
		}
		out[k.partition] = c
	}
	for k, h := range d.hints {
		c := out[k.partition]
		i := slices.IndexFunc(c.Hints, func(h antientropy.HintLine) bool { return h.Target == k.target })
		if i < 0 {
			c.Hints = append(c.Hints, antientropy.HintLine{Target: k.target})
			i = len(c.Hints) - 1
		}
		c.Hints[i].Hints++
		c.Hints[i].Bytes += uint64(h.object.Size())
		out[k.partition] = c
	}
	return out
}

// checkCounters holds the counters, written with every batch, against a recount.
func (d *disk) checkCounters(t testing.TB, name string) {
	t.Helper()
	want := d.count()
	for p, got := range d.counters {
		w := want[p]
		slices.SortFunc(w.Hints, func(a, b antientropy.HintLine) int { return bytes.Compare(a.Target[:], b.Target[:]) })
		var gotHints []antientropy.HintLine // counts and bytes; the age is a bound, a mark is nothing that is there
		for _, l := range got.Hints {
			if l.Hints > 0 {
				if d.oldest(p, l.Target) < l.OldestMS {
					t.Errorf("%s: partition %d: the oldest hint for %s is from %d, it counts from %d", name, p, l.Target.Short(), d.oldest(p, l.Target), l.OldestMS)
				}
				gotHints = append(gotHints, antientropy.HintLine{Target: l.Target, Hints: l.Hints, Bytes: l.Bytes})
			}
		}
		if got.Expiring != w.Expiring || got.Keys != w.Keys || got.Tombstones != w.Tombstones || got.Bytes != w.Bytes || !slices.Equal(gotHints, w.Hints) {
			t.Errorf("%s: partition %d counts %+v, there are %+v", name, p, got, w)
		}
		delete(want, p)
	}
	for p := range want {
		t.Errorf("%s: partition %d has no counters", name, p)
	}
}

// oldest is the wall clock in the least generation of the hints for a target.
func (d *disk) oldest(p uint32, target hashring.SID) int64 {
	least := int64(math.MaxInt64)
	for k, h := range d.hints {
		if k.partition == p && k.target == target {
			least = min(least, version.HLC(h.gen).MS())
		}
	}
	return least
}

// rowKey names a record (target zero) or a hint.
type rowKey struct {
	partition uint32
	bucket    hashring.BucketID
	target    hashring.SID
	key       string
}
