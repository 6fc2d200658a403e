package strong

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/quoratedb/quorate/hashring"
)

// disk is the dumb storage of one partition: maps.
type disk struct {
	hard    Hard
	entries map[uint64]*Entry
	gens    map[uint64]*state
}

type state struct {
	values map[string]Row
	done   map[RequestID]*Completion
}

func newDisk() *disk {
	return &disk{entries: map[uint64]*Entry{}, gens: map[uint64]*state{}}
}

func (d *disk) gen(g uint64) *state {
	if d.gens[g] == nil {
		d.gens[g] = &state{map[string]Row{}, map[RequestID]*Completion{}}
	}
	return d.gens[g]
}

func (d *disk) apply(w Write) {
	switch w.Kind {
	case PutHard:
		d.hard = w.Hard
	case PutEntry:
		d.entries[w.Entry.Index] = w.Entry
	case CutTail:
		maps.DeleteFunc(d.entries, func(i uint64, _ *Entry) bool { return i >= w.Index })
	case CutHead:
		maps.DeleteFunc(d.entries, func(i uint64, _ *Entry) bool { return i <= w.Index })
	case PutValue:
		d.gen(w.Generation).values[testKey(w.Row.Bucket, w.Row.Key)] = w.Row
	case DropValue:
		delete(d.gen(w.Generation).values, testKey(w.Row.Bucket, w.Row.Key))
	case PutCompletion:
		d.gen(w.Generation).done[w.Row.Done.ID] = w.Row.Done
	case Expire:
		maps.DeleteFunc(d.gen(w.Generation).done, func(id RequestID, _ *Completion) bool { return id.StampMS < w.StampMS })
	case DropGeneration:
		delete(d.gens, w.Generation)
	}
}

func (d *disk) clone() *disk {
	out := &disk{hard: d.hard, entries: maps.Clone(d.entries), gens: map[uint64]*state{}}
	for g, s := range d.gens {
		out.gens[g] = &state{maps.Clone(s.values), maps.Clone(s.done)}
	}
	return out
}

// saved is what a start reads. Generations that do not count are dropped.
func (d *disk) saved() Saved {
	maps.DeleteFunc(d.gens, func(g uint64, _ *state) bool { return g != d.hard.Generation })
	out := Saved{Hard: d.hard}
	for i := d.hard.Base.Index + 1; d.entries[i] != nil; i++ {
		out.Log = append(out.Log, header(d.entries[i]))
	}
	return out
}

// load reads a slice in key order.
func (d *disk) load(l Load) (rows []Row, next []byte, more bool) {
	s := d.gens[l.Generation]
	if s == nil {
		return nil, nil, false
	}
	type place struct {
		at  []byte
		row Row
	}
	var all []place
	if l.Part == PartValues {
		for k, row := range s.values {
			all = append(all, place{[]byte(k), row})
		}
	} else {
		for id, c := range s.done {
			at := append(binary.BigEndian.AppendUint64(nil, uint64(id.StampMS)), id.Nonce[:]...)
			all = append(all, place{at, Row{Done: c}})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return bytes.Compare(a.at, b.at) })
	for _, p := range all {
		if l.After != nil && bytes.Compare(p.at, l.After) <= 0 {
			continue
		}
		if len(rows) == l.Rows {
			return rows, next, true
		}
		rows, next = append(rows, p.row), p.at
	}
	return rows, next, false
}

// view is the disk with what is staged on it: the Storage of a replica.
type view struct {
	*disk
	staged []Write
	held   []Write // lazy, and not in a batch yet
	cut    func()  // before the log's front goes
}

func (v *view) Stage(w Write) {
	if w.Kind == CutHead {
		v.cut()
	}
	v.apply(w)
	if w.Lazy {
		v.held = append(v.held, w)
		return
	}
	if w.Kind != PutEntry {
		v.carry()
	}
	v.staged = append(v.staged, w)
}

// carry stages what is held.
func (v *view) carry() {
	v.staged, v.held = append(v.staged, v.held...), nil
}

func (v *view) Entry(i uint64) (*Entry, error) { return v.entries[i], nil }

func (v *view) Value(g uint64, b hashring.BucketID, key []byte) (*Value, error) {
	if s := v.gens[g]; s != nil {
		return s.values[testKey(b, key)].Value, nil
	}
	return nil, nil
}

func (v *view) Completion(g uint64, id RequestID) (*Completion, error) {
	if s := v.gens[g]; s != nil {
		return s.done[id], nil
	}
	return nil, nil
}

// sameState compares what two replicas hold; tombstones are nothing.
func sameState(a, b *state) string {
	keys := map[string]bool{}
	for _, s := range []*state{a, b} {
		for k := range s.values {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		x, y := a.values[k].Value, b.values[k].Value
		if x.Live() != y.Live() || x.Live() && (x.Version != y.Version || !bytes.Equal(x.Data, y.Data)) {
			return k[8:] + ": " + drawValue(x) + " and " + drawValue(y)
		}
	}
	return ""
}

func testKey(b hashring.BucketID, key []byte) string { return string(appendKey(nil, b, key)) }
