package core

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// Whatever is put, replaced and forgotten: the cache stays within its bytes, counts
// them rightly, and never shows anything but the newest object of a key.
func TestCacheIsBoundedAndNeverOld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCache(rapid.IntRange(-1, 3000).Draw(t, "limit"))
		newest := map[cacheKey]*version.Object{}
		count := uint64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := cacheKey{hashring.BucketID(rapid.IntRange(1, 2).Draw(t, "bucket")), fmt.Sprint("k", rapid.IntRange(0, 9).Draw(t, "key"))}
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				c.put(k.bucket, k.key, nil)
				delete(newest, k)
			case 1, 2, 3:
				count++ // tells the objects apart: what is kept is a copy
				size := rapid.SampledFrom([]int{0, 50, 900, maxCached}).Draw(t, "size")
				newest[k] = &version.Object{Siblings: []version.Sibling{{Dot: version.Dot{Actor: 1, Counter: count}, Value: make([]byte, size)}}}
				c.put(k.bucket, k.key, newest[k])
			default:
				if o, ok := c.get(k.bucket, []byte(k.key)); ok && !version.Same(o, newest[k]) {
					t.Fatalf("%v is old", k)
				}
			}
			size := 0
			for k, e := range c.rows {
				if !version.Same(e.object, newest[k]) || cap(e.object.Siblings[0].Value) != len(e.object.Siblings[0].Value) {
					t.Fatalf("%v is old", k)
				}
				size += e.object.Size() + len(k.key) + entryBytes
			}
			if size != c.bytes || c.bytes > max(c.limit, 0) {
				t.Fatalf("%d bytes counted, %d held, limit %d", c.bytes, size, c.limit)
			}
		}
	})
}

// A key that is read in between outlives those that are not.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	c := newCache(10 * (entryBytes + 100))
	for i := range 100 {
		c.put(1, fmt.Sprint("k", i), &version.Object{})
		if _, ok := c.get(1, []byte("k0")); !ok {
			t.Fatalf("k0 was forgotten after %d others", i)
		}
	}
	if len(c.queue) > 100 || len(c.rows) > 20 {
		t.Errorf("%d queued, %d rows", len(c.queue), len(c.rows))
	}
}
