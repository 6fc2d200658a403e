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

// strong100 are steps of a primary with one PUT of 100 bytes each: entry, value, hard row.
var strong100 = func() (all []*core.Batch) {
	for i := range 4096 {
		key := fmt.Sprintf("key-%016d", i)
		e := strongEntry(3, uint64(i+1), key, value100)
		hard := putHard(strong.Hard{Promised: 3, Commit: 9, Applied: 9, Generation: 1})
		all = append(all, strongBatch(uint32(i%64), putEntry(e), putValue(1, key, e.Value), hard, hard))
	}
	return all
}()

// BenchmarkCommit is synced commits of one batch each, by writers at once.
func BenchmarkCommit(b *testing.B) {
	benchmarkCommits(b, func(i int) *core.Batch { return load100(i, value100) })
}

// BenchmarkStrongCommit is the same with the steps of a strong partition's primary.
func BenchmarkStrongCommit(b *testing.B) {
	benchmarkCommits(b, func(i int) *core.Batch { return strong100[i%len(strong100)] })
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
