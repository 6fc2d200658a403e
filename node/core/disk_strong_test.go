package core

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongDisk is what a disk in memory holds of one strong partition: what was synced.
type strongDisk struct {
	hard    strong.Hard
	entries map[uint64]*strong.Entry
	gens    map[uint64]*generation
	corrupt string // a key that cannot be trusted
}

type generation struct {
	values map[string]strong.Row
	done   map[strong.RequestID]*strong.Completion
}

func (d *disk) strongPart(p uint32) *strongDisk {
	if d.strong[p] == nil {
		d.strong[p] = &strongDisk{entries: map[uint64]*strong.Entry{}, gens: map[uint64]*generation{}}
	}
	return d.strong[p]
}

func (d *strongDisk) gen(g uint64) *generation {
	if d.gens[g] == nil {
		d.gens[g] = &generation{map[string]strong.Row{}, map[strong.RequestID]*strong.Completion{}}
	}
	return d.gens[g]
}

func strongKey(b hashring.BucketID, key []byte) string {
	return string(append(binary.BigEndian.AppendUint64(nil, uint64(b)), key...))
}

func (d *strongDisk) apply(w *strong.Write) {
	switch w.Kind {
	case strong.PutHard:
		d.hard = w.Hard
	case strong.PutEntry:
		d.entries[w.Entry.Index] = w.Entry
	case strong.CutTail:
		maps.DeleteFunc(d.entries, func(i uint64, _ *strong.Entry) bool { return i >= w.Index })
	case strong.CutHead:
		maps.DeleteFunc(d.entries, func(i uint64, _ *strong.Entry) bool { return i <= w.Index })
	case strong.PutValue:
		d.gen(w.Generation).values[strongKey(w.Row.Bucket, w.Row.Key)] = w.Row
	case strong.DropValue:
		delete(d.gen(w.Generation).values, strongKey(w.Row.Bucket, w.Row.Key))
	case strong.PutCompletion:
		d.gen(w.Generation).done[w.Row.Done.ID] = w.Row.Done
	case strong.Expire:
		maps.DeleteFunc(d.gen(w.Generation).done, func(id strong.RequestID, _ *strong.Completion) bool { return id.StampMS < w.StampMS })
	case strong.DropGeneration:
		delete(d.gens, w.Generation)
	}
}

func (d *disk) StrongSaved(p uint32) (strong.Saved, error) {
	s := d.strongPart(p)
	maps.DeleteFunc(s.gens, func(g uint64, _ *generation) bool { return g != s.hard.Generation })
	out := strong.Saved{Hard: s.hard}
	for i := s.hard.Base.Index + 1; s.entries[i] != nil; i++ {
		e := s.entries[i]
		out.Log = append(out.Log, strong.Header{Epoch: e.Epoch, Size: uint32(e.Size()), Tombstone: e.Kind == strong.Effect && e.Value.Tombstone})
	}
	return out, nil
}

func (d *disk) StrongEntry(p uint32, i uint64) (*strong.Entry, error) {
	return d.strongPart(p).entries[i], nil
}

func (d *disk) StrongValue(p uint32, g uint64, b hashring.BucketID, key []byte) (*strong.Value, error) {
	s := d.strongPart(p)
	if s.corrupt != "" && s.corrupt == string(key) {
		return nil, ErrCorrupt
	}
	return s.gen(g).values[strongKey(b, key)].Value, nil
}

func (d *disk) StrongCompletion(p uint32, g uint64, id strong.RequestID) (*strong.Completion, error) {
	return d.strongPart(p).gen(g).done[id], nil
}

// loadStrong reads a slice of a generation in the order of its keys.
func (d *disk) loadStrong(l Load) Loaded {
	type place struct {
		at  []byte
		row strong.Row
	}
	var all []place
	g := d.strongPart(l.Partition).gen(l.Generation)
	if l.Part == strong.PartValues {
		for k, row := range g.values {
			all = append(all, place{[]byte(k), row})
		}
	} else {
		for id, done := range g.done {
			at := append(binary.BigEndian.AppendUint64(nil, uint64(id.StampMS)), id.Nonce[:]...)
			all = append(all, place{at, strong.Row{Done: done}})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return bytes.Compare(a.at, b.at) })
	out := Loaded{Token: l.Token}
	for _, p := range all {
		switch {
		case l.After != nil && bytes.Compare(p.at, l.After) <= 0:
		case len(out.Strong) == l.MaxRows:
			out.More = true
			return out
		default:
			out.Strong, out.Next = append(out.Strong, p.row), p.at
		}
	}
	return out
}

// loadStrongLive lists live values of a bucket.
func (d *disk) loadStrongLive(l Load) Loaded {
	out := Loaded{Token: l.Token}
	for _, row := range d.strongPart(l.Partition).gen(l.Generation).values {
		k := string(row.Key)
		if row.Bucket == l.Bucket && row.Value.Live() && strings.HasPrefix(k, string(l.Prefix)) && k >= string(l.Start) && (l.After == nil || k > string(l.After)) {
			out.Rows = append(out.Rows, Row{Bucket: row.Bucket, Key: row.Key, Strong: row.Value})
		}
	}
	slices.SortFunc(out.Rows, func(a, b Row) int { return bytes.Compare(a.Key, b.Key) })
	if len(out.Rows) > l.MaxRows {
		out.Rows, out.More = out.Rows[:l.MaxRows], true
	}
	return out
}
