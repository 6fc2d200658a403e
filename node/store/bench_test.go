package store

import (
	"fmt"
	"sync"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// load100 is the batch of one PUT of 100 bytes: record, leaf row, counters.
func load100(i int, value string) *core.Batch {
	key := fmt.Sprintf("key-%016d", i)
	p := hashring.PartitionOf(hashring.Hash("b", []byte(key)), 64)
	return &core.Batch{Records: []core.RecordWrite{record(p, 1, key, object(uint64(i+1), value))},
		Counters: []core.CountersWrite{{Partition: p, Counters: core.Counters{Keys: uint64(i), Bytes: uint64(i) * 100}}}}
}

var value100 = string(make([]byte, 100))

// strongSteps gives the steps of primaries, one PUT of 100 bytes each, of 64 partitions in
// turn: entry, value, hard row, and at every 256th the log is cut. A step is used again
// after reuse others.
func strongSteps(reuse int) func() *core.Batch {
	const partitions, stride = 64, 256
	var ring []*core.Batch
	n := 0
	return func() *core.Batch {
		if len(ring) < reuse {
			key := fmt.Sprintf("key-%016d", n)
			e := strongEntry(3, 0, key, value100)
			ring = append(ring, strongBatch(0, putEntry(e), putValue(1, key, e.Value), putHard(strong.Hard{Promised: 3, Generation: 1}), strong.Write{}))
		}
		b, p, index := ring[n%reuse], uint32(n%partitions), uint64(n/partitions+1)
		for i := range b.Strong {
			b.Strong[i].Partition = p
		}
		n++
		b.Strong = b.Strong[:3]
		b.Strong[0].Entry.Index, b.Strong[2].Hard.Applied = index, index
		if index%stride == uint64(p) {
			b.Strong = b.Strong[:4]
			b.Strong[3].Kind, b.Strong[3].Index, b.Strong[2].Hard.Base.Index = strong.CutHead, index-1, index-1
		}
		return b
	}
}

// BenchmarkCommit is synced commits of one batch each, by writers at once.
func BenchmarkCommit(b *testing.B) {
	benchmarkCommits(b, func(i int) *core.Batch { return load100(i, value100) })
}

// BenchmarkStrongCommit is steps of strong partitions' primaries, so many in each write.
func BenchmarkStrongCommit(b *testing.B) {
	for _, turn := range []int{1, 8, 24} {
		b.Run(fmt.Sprint(turn), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			s.sync = nil // what the writes cost beside the disk
			step, batches := strongSteps(turn), make([]*core.Batch, turn)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				for i := range batches {
					batches[i] = step()
				}
				if err := s.Commit(0, batches); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*turn), "ns/step")
		})
	}
}

func benchmarkCommits(b *testing.B, batch func(i int) *core.Batch) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			const ready = 4096 // batches made beforehand, so that only commits are measured
			batches := make([][]*core.Batch, ready)
			for i := range batches {
				batches[i] = []*core.Batch{batch(i)}
			}
			before := s.Stats()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := w; i < b.N; i += writers {
						if err := s.Commit(w, batches[i%ready]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			b.ReportMetric(float64(s.Stats().Syncs-before.Syncs)/float64(b.N), "syncs/op")
		})
	}
}

func BenchmarkRecordGet(b *testing.B) {
	const n = 100_000
	s, err := Open(b.TempDir(), Options{WriteBuffer: 4 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	group := make([]*core.Batch, 0, 1000)
	type at struct {
		p   uint32
		key []byte
	}
	keys := make([]at, n)
	for i := range n {
		batch := load100(i, value100)
		keys[i] = at{batch.Records[0].Partition, batch.Records[0].Key}
		if group = append(group, batch); len(group) == cap(group) {
			if err := s.Commit(0, group); err != nil {
				b.Fatal(err)
			}
			group = group[:0]
		}
	}
	b.Run("present", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			k := &keys[i*7919%n]
			if o, err := s.Record(k.p, 1, k.key); o == nil || err != nil {
				b.Fatal(o, err)
			}
		}
	})
	b.Run("absent", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			k := &keys[i*7919%n]
			if o, err := s.Record(k.p, 2, k.key); o != nil || err != nil {
				b.Fatal(o, err)
			}
		}
	})
}
