package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongRows are the durable rows of one strong partition (PROTOCOLS.md, 3).
type strongRows struct {
	hard    strong.Hard
	entries map[uint64]*strong.Entry
	gens    map[uint64]*strongState
	damaged map[uint64]bool // entries that fail their checksums, by index
	torn    bool            // the hard row fails its own
}

// strongState is one generation of applied state.
type strongState struct {
	values map[recordKey]*strong.Value
	done   map[strong.RequestID]*strong.Completion
	rotten map[recordKey]bool // values that fail their checksums
}

func newStrongRows() *strongRows {
	return &strongRows{entries: map[uint64]*strong.Entry{}, gens: map[uint64]*strongState{}}
}

func (r *strongRows) gen(g uint64) *strongState {
	if r.gens[g] == nil {
		r.gens[g] = &strongState{map[recordKey]*strong.Value{}, map[strong.RequestID]*strong.Completion{}, map[recordKey]bool{}}
	}
	return r.gens[g]
}

// rotten counts the values that fail their checksums.
func (r *strongRows) rotten() int {
	if r.gens[r.hard.Generation] == nil {
		return 0
	}
	return len(r.gens[r.hard.Generation].rotten)
}

// values of the generation that counts.
func (r *strongRows) values() map[recordKey]*strong.Value {
	if r == nil || r.gens[r.hard.Generation] == nil {
		return nil
	}
	return r.gens[r.hard.Generation].values
}

func (r *strongRows) apply(w *strong.Write) {
	switch w.Kind {
	case strong.PutHard:
		r.hard, r.torn = w.Hard, false
	case strong.PutEntry:
		r.entries[w.Entry.Index] = w.Entry
		delete(r.damaged, w.Entry.Index)
	case strong.CutTail:
		r.drop(func(i uint64) bool { return i >= w.Index })
	case strong.CutHead:
		r.drop(func(i uint64) bool { return i <= w.Index })
	case strong.PutValue:
		r.gen(w.Generation).values[recordKey{w.Row.Bucket, string(w.Row.Key)}] = w.Row.Value
		delete(r.gen(w.Generation).rotten, recordKey{w.Row.Bucket, string(w.Row.Key)})
	case strong.DropValue:
		delete(r.gen(w.Generation).values, recordKey{w.Row.Bucket, string(w.Row.Key)})
		delete(r.gen(w.Generation).rotten, recordKey{w.Row.Bucket, string(w.Row.Key)})
	case strong.PutCompletion:
		r.gen(w.Generation).done[w.Row.Done.ID] = w.Row.Done
	case strong.Expire:
		maps.DeleteFunc(r.gen(w.Generation).done, func(id strong.RequestID, _ *strong.Completion) bool { return id.StampMS < w.StampMS }) // order-free: each by itself
	case strong.DropGeneration:
		delete(r.gens, w.Generation)
	}
}

func (r *strongRows) drop(gone func(i uint64) bool) {
	maps.DeleteFunc(r.entries, func(i uint64, _ *strong.Entry) bool { return gone(i) }) // order-free: each by itself
	maps.DeleteFunc(r.damaged, func(i uint64, _ bool) bool { return gone(i) })          // order-free: each by itself
}

func (r *strongRows) clone() *strongRows {
	if r == nil {
		return nil
	}
	out := &strongRows{hard: r.hard, entries: maps.Clone(r.entries), gens: map[uint64]*strongState{}, damaged: maps.Clone(r.damaged), torn: r.torn}
	for g, s := range r.gens { // order-free: they are copied
		out.gens[g] = &strongState{maps.Clone(s.values), maps.Clone(s.done), maps.Clone(s.rotten)}
	}
	return out
}

// errDamaged is a hard row or an entry of a log that fails its checksum.
var errDamaged = errors.New("the row fails its checksum")

// StrongSaved and the next three are core.StrongEngine. Generations that do not count
// are dropped at a start.
func (e *engine) StrongSaved(p uint32) (strong.Saved, error) {
	r := e.parts[p].strong
	if r == nil {
		return strong.Saved{}, nil
	}
	maps.DeleteFunc(r.gens, func(g uint64, _ *strongState) bool { return g != r.hard.Generation }) // order-free: each by itself
	if r.torn || e.logsDamaged() {
		return strong.Saved{}, errDamaged
	}
	out := strong.Saved{Hard: r.hard}
	for i := r.hard.Base.Index + 1; r.entries[i] != nil; i++ {
		at := r.entries[i]
		out.Log = append(out.Log, strong.Header{Epoch: at.Epoch, Size: uint32(at.Size()), Tombstone: at.Kind == strong.Effect && at.Value.Tombstone})
	}
	return out, nil
}

// logsDamaged: entries of all partitions share their rows, so where one of them cannot be
// read at a start nobody can tell whose it was.
func (e *engine) logsDamaged() bool {
	return slices.ContainsFunc(e.parts, func(p rows) bool { return p.strong != nil && len(p.strong.damaged) > 0 })
}

func (e *engine) StrongEntry(p uint32, index uint64) (*strong.Entry, error) {
	r := e.parts[p].strong
	switch {
	case r == nil:
		return nil, nil
	case r.damaged[index]:
		return nil, errDamaged
	}
	return r.entries[index], nil
}

func (e *engine) StrongValue(p uint32, generation uint64, b hashring.BucketID, key []byte) (*strong.Value, error) {
	if r := e.parts[p].strong; r != nil && r.gens[generation] != nil {
		if r.gens[generation].rotten[recordKey{b, string(key)}] {
			return nil, core.ErrCorrupt
		}
		return r.gens[generation].values[recordKey{b, string(key)}], nil
	}
	return nil, nil
}

func (e *engine) StrongCompletion(p uint32, generation uint64, id strong.RequestID) (*strong.Completion, error) {
	if r := e.parts[p].strong; r != nil && r.gens[generation] != nil {
		return r.gens[generation].done[id], nil
	}
	return nil, nil
}

// loadStrong is a slice of a snapshot: values by bucket and key, completions by stamp.
func (r *rows) loadStrong(l *core.Load) core.Loaded {
	type place struct {
		at  []byte
		row strong.Row
	}
	out := core.Loaded{Token: l.Token}
	if r.strong == nil || r.strong.gens[l.Generation] == nil {
		return out
	}
	s := r.strong.gens[l.Generation]
	var all []place
	if l.Part == strong.PartValues {
		for k, v := range s.values { // order-free: they are sorted
			at := append(binary.BigEndian.AppendUint64(nil, uint64(k.bucket)), k.key...)
			all = append(all, place{at, strong.Row{Bucket: k.bucket, Key: at[8:], Value: v}})
		}
	} else {
		for id, c := range s.done { // order-free: they are sorted
			all = append(all, place{append(binary.BigEndian.AppendUint64(nil, uint64(id.StampMS)), id.Nonce[:]...), strong.Row{Done: c}})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return bytes.Compare(a.at, b.at) })
	size := 0
	for i := range all {
		if l.After != nil && bytes.Compare(all[i].at, l.After) <= 0 {
			continue
		}
		if len(out.Strong) > 0 && (l.MaxRows > 0 && len(out.Strong) >= l.MaxRows || l.MaxBytes > 0 && size >= l.MaxBytes) {
			out.More = true
			break
		}
		if v := all[i].row.Value; v != nil {
			size += len(v.Data)
			if s.rotten[recordKey{all[i].row.Bucket, string(all[i].row.Key)}] {
				return core.Loaded{Token: l.Token, Err: core.ErrCorrupt}
			}
		}
		size += len(all[i].at)
		out.Strong, out.Next = append(out.Strong, all[i].row), all[i].at
	}
	return out
}

// loadStrongLive lists what is live of a bucket.
func (r *rows) loadStrongLive(l *core.Load) core.Loaded {
	out := core.Loaded{Token: l.Token}
	if r.strong == nil || r.strong.gens[l.Generation] == nil {
		return out
	}
	var found []core.Row
	for k, v := range r.strong.gens[l.Generation].values { // order-free: they are sorted
		if r.strong.gens[l.Generation].rotten[k] {
			return core.Loaded{Token: l.Token, Err: core.ErrCorrupt}
		}
		if k.bucket != l.Bucket || !v.Live() || !strings.HasPrefix(k.key, string(l.Prefix)) || k.key < string(l.Start) || l.After != nil && k.key <= string(l.After) {
			continue
		}
		if l.Brief {
			short := *v
			short.Data = nil
			v = &short
		}
		found = append(found, core.Row{Bucket: k.bucket, Key: []byte(k.key), Strong: v})
	}
	slices.SortFunc(found, func(a, b core.Row) int { return bytes.Compare(a.Key, b.Key) })
	n, size := 0, 0
	for n < len(found) && (n == 0 || (l.MaxRows <= 0 || n < l.MaxRows) && (l.MaxBytes <= 0 || size < l.MaxBytes)) {
		size += len(found[n].Key) + len(found[n].Strong.Data)
		n++
	}
	out.Rows, out.More = found[:n], n < len(found)
	return out
}
