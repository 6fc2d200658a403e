package store

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongModel is what a strong partition's batches have made of it: what the machine
// would know. Strong partitions of shards are numbered behind their eventual ones'
// ids, two apart, so that the check finds whose they are.
type strongModel struct {
	hard    strong.Hard
	log     []*strong.Entry // behind hard.Base
	install uint64          // generation that is being pulled, 0: none
	stamp   int64           // of the newest completion record
	expired map[uint64]int64
}

func (m *shardModel) strongPart(p uint32) *strongModel {
	if m.strong == nil {
		m.strong = map[uint32]*strongModel{}
	}
	if m.strong[p] == nil {
		m.strong[p] = &strongModel{expired: map[uint64]int64{}}
	}
	return m.strong[p]
}

// nextStrong adds a step of one strong partition to a batch.
func (m *shardModel) nextStrong(b *core.Batch) {
	p := m.partition(m.rng.IntN(2))
	sp := m.strongPart(p)
	h, last := sp.hard, sp.hard.Base.Index+uint64(len(sp.log))
	stage := func(w strong.Write) { b.Strong = append(b.Strong, core.StrongWrite{Partition: p, Write: w}) }
	h.Promised = max(h.Promised, 1)
	if h.Generation == 0 {
		h.Generation = b.Seq<<8 | 1
	}
	switch n := m.rng.IntN(20); {
	case n == 0 && last > h.Applied: // a conflict
		last = h.Applied + uint64(m.rng.IntN(int(last-h.Applied)))
		stage(strong.Write{Kind: strong.CutTail, Index: last + 1})
	case n == 1 && h.Applied > h.Base.Index: // the log is cut
		h.Base = strong.Position{Epoch: 1, Index: h.Base.Index + 1 + m.rng.Uint64N(h.Applied-h.Base.Index)}
		stage(strong.Write{Kind: strong.CutHead, Index: h.Base.Index})
	case n == 2 && sp.install == 0: // a snapshot begins
		sp.install = b.Seq<<8 | 2
	case n == 3 && sp.install != 0: // and takes over
		stage(strong.Write{Kind: strong.DropGeneration, Generation: h.Generation})
		stage(strong.Write{Kind: strong.CutTail})
		last += 10
		h.Base, h.Applied, h.Commit, h.Generation = strong.Position{Epoch: 1, Index: last}, last, last, sp.install
		sp.install = 0
	case n == 4 && sp.install != 0: // or is given up
		stage(strong.Write{Kind: strong.DropGeneration, Generation: sp.install})
		sp.install = 0
	case n == 6 && sp.install == 0: // the store leaves, and may come back to a log from its beginning
		stage(strong.Write{Kind: strong.CutTail})
		stage(strong.Write{Kind: strong.DropGeneration, Generation: h.Generation})
		last, h = 0, strong.Hard{Promised: h.Promised, Generation: b.Seq<<8 | 3}
	case n == 5:
		stage(strong.Write{Kind: strong.Expire, Generation: h.Generation, StampMS: sp.stamp - int64(m.rng.IntN(5))})
	}
	for range m.rng.IntN(4) {
		last++
		stage(strong.Write{Kind: strong.PutEntry, Entry: m.entry(last)})
	}
	for n := m.rng.IntN(4); n > 0 && h.Applied < last; n-- {
		h.Applied++
		h.Commit = h.Applied
		m.applyTo(sp, h.Generation, h.Applied, stage)
	}
	if sp.install != 0 {
		m.applyTo(sp, sp.install, b.Seq, stage)
	}
	stage(strong.Write{Kind: strong.PutHard, Hard: h})
	for i := range b.Strong {
		sp.apply(&b.Strong[i].Write)
	}
}

func (m *shardModel) applyTo(sp *strongModel, g, index uint64, stage func(strong.Write)) {
	key := fmt.Appendf(nil, "key-%d", m.rng.IntN(8))
	if m.rng.IntN(6) == 0 {
		stage(strong.Write{Kind: strong.DropValue, Generation: g, Row: strong.Row{Bucket: 2, Key: key}})
		return
	}
	stage(strong.Write{Kind: strong.PutValue, Generation: g, Row: strong.Row{Bucket: 2, Key: key, Value: m.entry(index).Value}})
	if m.rng.IntN(2) == 0 {
		sp.stamp++
		stage(putDone(g, completion(sp.stamp)))
	}
}

func (m *shardModel) entry(index uint64) *strong.Entry {
	data := make([]byte, m.rng.IntN(200))
	if m.rng.IntN(40) == 0 {
		data = make([]byte, 40_000)
	}
	e := strongEntry(1, index, fmt.Sprint("key-", m.rng.IntN(8)), string(data))
	if m.rng.IntN(6) == 0 {
		e.Value = &strong.Value{Version: e.Value.Version, Tombstone: true}
	}
	return e
}

// apply follows a write, in the order in which the store gets them.
func (sp *strongModel) apply(w *strong.Write) {
	switch w.Kind {
	case strong.PutEntry:
		sp.log = append(sp.log, w.Entry)
	case strong.CutTail:
		sp.log = slices.DeleteFunc(sp.log, func(e *strong.Entry) bool { return e.Index >= w.Index })
	case strong.CutHead:
		sp.log = slices.DeleteFunc(sp.log, func(e *strong.Entry) bool { return e.Index <= w.Index })
	case strong.PutHard:
		sp.hard = w.Hard
	case strong.PutCompletion:
		sp.stamp = max(sp.stamp, w.Row.Done.ID.StampMS)
	case strong.Expire:
		sp.expired[w.Generation] = max(sp.expired[w.Generation], w.StampMS)
	}
}

// strongRows carries a write out in what the database must hold.
func strongRows(rows map[string]string, w *core.StrongWrite) {
	p := w.Partition
	cut := func(kind Kind, g uint64, is func(Key) bool) {
		for key := range rows {
			if k, err := DecodeKey([]byte(key)); err == nil && k.Partition == p && k.Kind == kind && k.Generation == g && is(k) {
				delete(rows, key)
			}
		}
	}
	all := func(Key) bool { return true }
	switch w.Kind {
	case strong.PutHard:
		rows[string(appendHardKey(nil, p))] = string(wire.AppendHard(nil, &w.Hard))
	case strong.PutEntry:
		if w.Entry.Size() > packedMost {
			rows[string(appendEntryKey(nil, p, w.Entry.Index))] = string(wire.AppendStrongEntry(nil, w.Entry))
		}
	case strong.CutTail:
		cut(KindEntry, 0, func(k Key) bool { return k.Index >= w.Index })
	case strong.CutHead:
		cut(KindEntry, 0, func(k Key) bool { return k.Index <= w.Index })
	case strong.PutValue:
		rows[string(appendValueKey(nil, p, w.Generation, w.Row.Bucket, w.Row.Key))] = string(wire.AppendStrongValue(nil, w.Row.Value))
	case strong.DropValue:
		delete(rows, string(appendValueKey(nil, p, w.Generation, w.Row.Bucket, w.Row.Key)))
	case strong.PutCompletion:
		rows[string(appendDoneKey(nil, p, w.Generation, w.Row.Done.ID))] = string(wire.AppendCompletion(nil, w.Row.Done))
	case strong.DropGeneration:
		cut(KindValue, w.Generation, all)
		cut(KindDone, w.Generation, all)
	}
}

// checkStrong asks the store for what it has of the shard's strong partitions after
// batch k, as a machine that starts would. What was not durable is forgotten.
func (m *shardModel) checkStrong(s *Store, k int) error {
	m.strong = nil
	for _, b := range m.all[:k] {
		for i := range b.Strong {
			m.strongPart(b.Strong[i].Partition).apply(&b.Strong[i].Write)
		}
	}
	for i := range 2 {
		p := m.partition(i)
		saved, err := s.StrongSaved(p)
		if err != nil {
			return err
		}
		want := m.strongPart(p)
		headers := make([]strong.Header, 0, len(want.log))
		for _, e := range want.log {
			headers = append(headers, strong.HeaderOf(e))
		}
		if saved.Hard != want.hard || !slices.Equal(saved.Log, headers) {
			return wrong("strong partition %d after batch %d: %+v with %d entries, want %+v with %d", p, k, saved.Hard, len(saved.Log), want.hard, len(headers))
		}
		for _, e := range want.log {
			got, err := s.StrongEntry(p, e.Index)
			if err != nil {
				return err
			}
			if got == nil || !bytes.Equal(wire.AppendStrongEntry(nil, got), wire.AppendStrongEntry(nil, e)) {
				return wrong("entry %v is %v", e, got)
			}
		}
	}
	return nil
}

// dropRubbish leaves out what may be there or be gone: generations that do not count,
// and what has expired.
func (m *shardModel) dropRubbish(rows map[string]string) {
	for key := range rows {
		k, err := DecodeKey([]byte(key))
		if err != nil || k.Kind != KindValue && k.Kind != KindDone {
			continue
		}
		sp := m.strongPart(k.Partition)
		if k.Generation != sp.hard.Generation || k.Kind == KindDone && k.ID.StampMS < sp.expired[k.Generation] {
			delete(rows, key)
		}
	}
}

// checkSwept: of generations that do not count nothing is left in the end.
func (w *world) checkSwept(s *Store) error {
	s.sweeper.done.Wait()
	all, err := allRows(s)
	if err != nil {
		return err
	}
	for key := range all {
		k, err := DecodeKey([]byte(key))
		if err != nil || k.Kind != KindValue && k.Kind != KindDone {
			continue
		}
		if g := w.shards[k.Partition/2].strongPart(k.Partition).hard.Generation; k.Generation != g {
			return wrong("a row of generation %d of strong partition %d is left, generation %d counts", k.Generation, k.Partition, g)
		}
	}
	return nil
}
