package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quoratedb/quorate/node/core"
)

// TestRowCacheAgainstMap: whatever the cache still has is what was written last.
func TestRowCacheAgainstMap(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := newRowCache(cacheStripes * cachePage * (1 + int(seed)*2))
		want := map[string][]byte{}
		hits, misses := 0, 0
		for range 60_000 {
			key := fmt.Appendf(nil, "key-%d", int(rng.ExpFloat64()*400))
			switch rng.IntN(10) {
			case 0:
				c.drop(key)
				delete(want, string(key))
			case 1, 2, 3:
				row := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(1<<rng.IntN(14)))
				c.set(key, row)
				want[string(key)] = row
			default:
				row, epoch, ok := c.get(key)
				was, is := want[string(key)]
				if ok && (!is || !bytes.Equal(row, was)) {
					t.Fatalf("seed %d: %s has %d bytes here, %d were written last (%v)", seed, key, len(row), len(was), is)
				}
				if ok {
					hits++
				} else if is {
					misses++
					c.fill(key, was, epoch)
				}
			}
		}
		for i := range c.stripes {
			s := &c.stripes[i]
			if len(s.pages) > s.limit {
				t.Fatalf("stripe %d has %d pages, the limit is %d", i, len(s.pages), s.limit)
			}
		}
		if hits < 10_000 || seed == 0 && misses == 0 {
			t.Fatalf("seed %d: %d hits, %d misses: too easy", seed, hits, misses)
		}
	}
}

// TestRowCacheKeepsTheUsed: rows that are read stay while others go through.
func TestRowCacheKeepsTheUsed(t *testing.T) {
	c := newRowCache(1 << 20)
	row := make([]byte, 200)
	key := func(kind string, i int) []byte { return fmt.Appendf(nil, "%s-%06d", kind, i) }
	const hot = 500
	for i := range hot {
		c.set(key("hot", i), row)
	}
	for i := range 100_000 {
		c.set(key("cold", i), row)
		c.get(key("hot", i%hot))
	}
	kept := 0
	for i := range hot {
		if _, _, ok := c.get(key("hot", i)); ok {
			kept++
		}
	}
	if kept < hot*9/10 {
		t.Fatalf("%d of %d hot rows are left", kept, hot)
	}
	if _, _, ok := c.get(key("cold", 0)); ok {
		t.Fatal("a row nobody read is still here")
	}
}

// TestRowCacheLateFill: a row that was read before a write does not come back after it.
func TestRowCacheLateFill(t *testing.T) {
	c := newRowCache(1 << 20)
	key := []byte("k")
	_, epoch, _ := c.get(key)
	c.set(key, []byte("new"))
	c.fill(key, []byte("old"), epoch)
	if row, _, ok := c.get(key); !ok || string(row) != "new" {
		t.Fatalf("%q %v", row, ok)
	}
	_, epoch, _ = c.get(key)
	c.drop(key)
	c.fill(key, []byte("new"), epoch)
	if row, _, ok := c.get(key); ok {
		t.Fatalf("%q came back", row)
	}
}

// TestRecordThroughTheCache: what Record answers is the last commit's, cached or not.
func TestRecordThroughTheCache(t *testing.T) {
	s, err := Open(t.TempDir(), Options{CacheBytes: 1}) // the least there is
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	want := map[string]string{}
	for i := range 3000 {
		key := fmt.Sprint("key-", i*7919%1000)
		w := record(1, 1, key, object(uint64(i+1), fmt.Sprint("value-", i, string(make([]byte, 1000)))))
		want[key] = string(w.Object.Siblings[0].Value)
		if i%10 == 9 {
			w.Object = nil
			delete(want, key)
		}
		if err := s.Commit(0, []*core.Batch{{Seq: uint64(i + 1), Records: []core.RecordWrite{w}}}); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 2 {
		for i := range 1000 {
			key := fmt.Sprint("key-", i)
			o, err := s.Record(1, 1, []byte(key))
			value, is := want[key]
			if err != nil || (o != nil) != is || is && string(o.Siblings[0].Value) != value {
				t.Fatalf("round %d: %s: %v %v", round, key, o, err)
			}
		}
	}
}
