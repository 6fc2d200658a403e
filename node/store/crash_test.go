package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/leveldisk"
	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/version"
)

// memDisk is a data directory on a machine that can lose power.
type memDisk struct{ fs *crashfs.FS }

func (m memDisk) root() *crashfs.Dir { return m.fs.Dir("") }
func (m memDisk) db() *crashfs.Dir   { return m.fs.Dir(databaseName) }

func (m memDisk) Path() string { return "mem" }
func (m memDisk) Empty() (bool, string, error) {
	for _, n := range append(m.root().Names(), m.db().Names()...) {
		return false, n, nil
	}
	return true, "", nil
}
func (m memDisk) ReadFile(name string) ([]byte, error)    { return m.root().ReadFile(name) }
func (m memDisk) ReplaceFile(name string, b []byte) error { return m.root().ReplaceFile(name, b) }
func (m memDisk) SyncDir() error                          { return m.root().SyncDir() }
func (m memDisk) Database(bool) (leveldisk.Base, error)   { return m.db(), nil }
func (m memDisk) DropDatabase() error                     { m.db().Clear(); return nil }
func (m memDisk) FreeBytes() (uint64, error)              { return 1 << 40, nil }
func (m memDisk) Close() error                            { return nil }

const crashShards = 2

// shardModel is what one shard has asked for. Batches are numbered from 1; each one
// writes its number into the counters of the shard's first partition.
type shardModel struct {
	id    int
	rng   *rand.Rand
	all   []*core.Batch
	acked int // Commit returned
	sent  int // handed to Commit

	strong map[uint32]*strongModel // by partition
}

func (m *shardModel) partition(i int) uint32 { return uint32(m.id*2 + i) }

func (m *shardModel) next() *core.Batch {
	b := &core.Batch{Seq: uint64(len(m.all) + 1)}
	for range 1 + m.rng.IntN(4) {
		key := fmt.Appendf(nil, "key-%d", m.rng.IntN(12))
		p, bucket := m.partition(m.rng.IntN(2)), hashring.BucketID(1+m.rng.IntN(2))
		w := core.RecordWrite{Partition: p, Bucket: bucket, Key: key, Leaf: core.LeafOf(hashring.Hash("b", key))}
		if m.rng.IntN(6) > 0 {
			w.Object = m.object(b.Seq)
		}
		b.Records = append(b.Records, w)
	}
	if m.rng.IntN(3) == 0 {
		h := core.HintWrite{Partition: m.partition(0), Bucket: 1, Key: fmt.Appendf(nil, "key-%d", m.rng.IntN(5)),
			Target: hashring.SID{byte(1 + m.rng.IntN(3))}, Gen: b.Seq}
		if m.rng.IntN(3) > 0 {
			h.Object = m.object(b.Seq)
		}
		b.Hints = append(b.Hints, h)
	}
	b.Counters = []core.CountersWrite{{Partition: m.partition(0), Counters: core.Counters{Keys: b.Seq, Bytes: m.rng.Uint64N(1000),
		Hints: []antientropy.HintLine{{Target: hashring.SID{1}, Hints: b.Seq, Bytes: 7}}}}}
	if m.rng.IntN(4) == 0 {
		b.HLCBound = version.HLC(b.Seq << 20)
	}
	if m.rng.IntN(2) == 0 {
		m.nextStrong(b)
	}
	m.all = append(m.all, b)
	return b
}

func (m *shardModel) object(seq uint64) *version.Object {
	size := m.rng.IntN(300)
	if m.rng.IntN(40) == 0 {
		size = 30_000 + m.rng.IntN(60_000) // a journal record over several blocks
	}
	v := make([]byte, size)
	for i := range v {
		v[i] = byte(m.rng.Uint32())
	}
	return version.Write(nil, nil, version.Sibling{Dot: version.Dot{Actor: version.Actor(m.id + 1), Counter: seq}, HLC: version.HLC(seq),
		Tombstone: m.rng.IntN(8) == 0, ContentType: "text/plain", Value: v})
}

// rows is what the database must hold of the shard after its first k batches.
func (m *shardModel) rows(k int) map[string]string {
	out := map[string]string{}
	for _, b := range m.all[:k] {
		for _, w := range b.Records {
			rec := string(appendRecordKey(nil, w.Partition, w.Bucket, w.Key))
			leaf := string(appendLeafKey(nil, w.Partition, w.Leaf, w.Bucket, w.Key))
			if w.Object == nil {
				delete(out, rec)
				delete(out, leaf)
				continue
			}
			out[rec] = string(wire.AppendRecord(nil, w.Object))
			out[leaf] = string(binary.BigEndian.AppendUint64(nil, w.Object.Hash()))
		}
		for _, h := range b.Hints {
			key := string(appendHintKey(nil, h.Partition, h.Target, h.Bucket, h.Key))
			if h.Object == nil {
				delete(out, key)
				continue
			}
			out[key] = string(appendHint(nil, h.Gen, h.Object))
		}
		for _, c := range b.Counters {
			out[string(appendCountersKey(nil, c.Partition))] = string(appendCounters(nil, &c.Counters))
		}
		if b.HLCBound != 0 {
			out[string(appendHLCKey(nil, m.id))] = string(appendBound(nil, b.HLCBound))
		}
		for i := range b.Strong {
			strongRows(out, &b.Strong[i])
		}
	}
	return out
}

// world is one machine over many power cuts.
type world struct {
	fs     *crashfs.FS
	shards [crashShards]*shardModel
	rng    *rand.Rand
	boot   uint64 // last one seen
	ring   struct{ acked, sent uint64 }
	cuts   int
	skip   crashfs.Sync // left out; rare windows in which it alone would help are aimed at
}

func newWorld(seed uint64, skip crashfs.Sync) *world {
	w := &world{fs: crashfs.New(seed), rng: rand.New(rand.NewPCG(seed, 1)), skip: skip}
	w.fs.Skip(skip)
	for i := range w.shards {
		w.shards[i] = &shardModel{id: i, rng: rand.New(rand.NewPCG(seed, uint64(10+i)))}
	}
	return w
}

// life opens the store, works, and loses power; the property is what check says.
func (w *world) life() error {
	switch mode := w.rng.IntN(5); {
	case w.skip == crashfs.DirAfterManifest && mode < 3: // between CURRENT and the sync behind it
		w.fs.CutAfter(crashfs.OpRename, 1+w.rng.IntN(2))
		w.fs.CutAt(2000)
	case w.skip == crashfs.DirAfterMeta && mode < 3: // behind the removal of the old manifest
		w.fs.CutAfter(crashfs.OpRemove, 1+w.rng.IntN(3))
		w.fs.CutAt(2000)
	case mode < 2: // during open and recovery
		w.fs.CutAt(1 + w.rng.IntN(40))
	case mode == 2: // right behind an operation of one kind
		w.fs.CutAfter(crashfs.Op(w.rng.IntN(int(crashfs.Ops))), 1+w.rng.IntN(4))
		w.fs.CutAt(2000)
	case mode == 3:
		w.fs.CutAt(1 + w.rng.IntN(2500))
	default:
		w.fs.CutAt(1 + w.rng.IntN(400))
	}
	s, err := OpenOn(memDisk{w.fs}, crashOptions)
	if err == nil {
		s.logs.slack = 2000 // packs are moved all the time
		err = w.check(s)
		if err == nil {
			w.work(s)
		}
		_ = s.Close() // without power it cannot end well
	}
	if !w.fs.Cut() {
		return fmt.Errorf("after %d cuts: %w", w.cuts, err)
	}
	var wrong *wrongError
	if errors.As(err, &wrong) {
		return fmt.Errorf("after %d cuts: %w", w.cuts, err)
	}
	w.cuts++
	w.fs = w.fs.Reboot()
	return nil
}

// work commits from all shards at once until the power goes.
func (w *world) work(s *Store) {
	var wg sync.WaitGroup
	for _, m := range w.shards {
		wg.Go(func() {
			for {
				var group []*core.Batch
				for range 1 + m.rng.IntN(4) {
					group = append(group, m.next())
				}
				m.sent = len(m.all)
				if s.Commit(m.id, group) != nil {
					return
				}
				m.acked = m.sent
			}
		})
	}
	wg.Go(func() {
		for v := w.ring.sent + 1; ; v++ {
			w.ring.sent = v
			if s.SaveRingState(ringState(v)) != nil {
				return
			}
			w.ring.acked = v
		}
	})
	wg.Wait()
}

func ringState(v uint64) *hashring.State {
	return &hashring.State{Version: v, Cluster: hashring.ClusterID{1}, Feature: 1, Replicas: 3, Buckets: map[string]hashring.Bucket{}}
}

// wrongError is a broken promise, as opposed to a failed read.
type wrongError struct{ what string }

func (e *wrongError) Error() string { return e.what }

func wrong(format string, args ...any) error { return &wrongError{fmt.Sprintf(format, args...)} }

// check: nothing acknowledged is lost, no half batch is visible, leaf rows fit the
// records, the boot count has grown.
func (w *world) check(s *Store) error {
	if b := s.Identity().Boot; b <= w.boot {
		return wrong("boot %d after %d", b, w.boot)
	}
	w.boot = s.Identity().Boot
	all, err := allRows(s)
	if err != nil {
		return err
	}
	if err := checkLeaves(all); err != nil {
		return err
	}
	for _, m := range w.shards {
		if err := m.check(s, all); err != nil {
			return err
		}
	}
	st, err := s.RingState()
	if err != nil {
		return err
	}
	var v uint64
	if st != nil {
		v = st.Version
	}
	if v < w.ring.acked || v > w.ring.sent {
		return wrong("ring version %d, acked %d, sent %d", v, w.ring.acked, w.ring.sent)
	}
	w.ring.acked, w.ring.sent = v, v
	return nil
}

func (m *shardModel) check(s *Store, all map[string]string) error {
	c, err := s.Counters(m.partition(0))
	if err != nil {
		return err
	}
	k := int(c.Keys)
	if k < m.acked || k > m.sent {
		return wrong("shard %d: batch %d is the last, acked %d, sent %d", m.id, k, m.acked, m.sent)
	}
	got := map[string]string{}
	for key, v := range all {
		d, err := DecodeKey([]byte(key))
		if err != nil {
			return wrong("key %x: %v", key, err)
		}
		if d.Kind != KindMeta && int(d.Partition/2) == m.id || key == string(appendHLCKey(nil, m.id)) {
			got[key] = v
		}
	}
	if err := m.checkStrong(s, k); err != nil {
		return err
	}
	want := m.rows(k)
	m.dropRubbish(got)
	m.dropRubbish(want)
	if !maps.Equal(got, want) {
		return wrong("shard %d after batch %d: %d rows, want %d", m.id, k, len(got), len(want))
	}
	m.all, m.acked, m.sent = m.all[:k], k, k
	return nil
}

func allRows(s *Store) (map[string]string, error) {
	it := s.db.NewIterator(nil, nil)
	defer it.Release()
	out := map[string]string{}
	for it.Next() {
		out[string(it.Key())] = string(it.Value())
	}
	return out, it.Error()
}

// checkLeaves recomputes the leaf rows from the records (D5).
func checkLeaves(all map[string]string) error {
	got, want := map[string]string{}, map[string]string{}
	for key, v := range all {
		k, err := DecodeKey([]byte(key))
		switch {
		case err != nil:
			return wrong("key %x: %v", key, err)
		case k.Kind == KindLeaf:
			got[key] = v
		case k.Kind == KindRecord:
			o, err := wire.DecodeRecord([]byte(v))
			if err != nil {
				return wrong("record %x: %v", key, err)
			}
			leaf := appendLeafKey(nil, k.Partition, core.LeafOf(hashring.Hash("b", k.Key)), k.Bucket, k.Key)
			want[string(leaf)] = string(binary.BigEndian.AppendUint64(nil, o.Hash()))
		}
	}
	if !maps.Equal(got, want) {
		return wrong("leaf rows: %d, from the records %d", len(got), len(want))
	}
	return nil
}

// run is the property over a number of cuts, and a last start with power.
func (w *world) run(cuts int) error {
	for w.cuts < cuts {
		if err := w.life(); err != nil {
			return err
		}
	}
	s, err := OpenOn(memDisk{w.fs}, crashOptions)
	if err != nil {
		return err
	}
	return errors.Join(w.check(s), w.checkSwept(s), s.Close())
}

var powerCuts = flag.Int("power-cuts", powerCutsDefault, "number of simulated power cuts")

// TestPowerCuts is 500 power cuts at random operations: while writing, rotating,
// compacting, opening and recovering.
func TestPowerCuts(t *testing.T) {
	const cuts = 10
	seeds := *powerCuts / cuts
	var total struct {
		sync.Mutex
		acked, boots int
	}
	t.Run("seeds", func(t *testing.T) {
		for seed := range uint64(seeds) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(seed, crashfs.NoSync)
				if err := w.run(cuts); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				total.Lock()
				defer total.Unlock()
				total.boots += int(w.boot)
				for _, m := range w.shards {
					total.acked += m.acked
				}
			})
		}
	})
	if total.acked < seeds*cuts || total.boots < seeds {
		t.Fatalf("the test did next to nothing: %d batches acknowledged over %d starts", total.acked, total.boots)
	}
	t.Logf("%d power cuts, %d batches acknowledged, %d starts", seeds*cuts, total.acked, total.boots)
}

func TestMemDiskIsADisk(t *testing.T) {
	var _ Disk = memDisk{}
	m := memDisk{crashfs.New(1)}
	if err := m.ReplaceFile("a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := m.ReadFile("a"); err != nil || !bytes.Equal(b, []byte("x")) {
		t.Fatal(b, err)
	}
}
