package strong

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// What is summed up tells keys, buckets, versions and data apart, and knows no tombstones.
func TestSumOf(t *testing.T) {
	v := Value{Version: Version{1, 2, 3}, Data: []byte("data"), Sum: 4}
	seen := map[uint64]string{}
	add := func(name string, b hashring.BucketID, key string, change func(v *Value)) {
		w := v
		change(&w)
		sum := SumOf(b, []byte(key), &w)
		if other, ok := seen[sum]; ok {
			t.Errorf("%s and %s have the same sum", name, other)
		}
		seen[sum] = name
	}
	add("base", 1, "key", func(*Value) {})
	add("bucket", 2, "key", func(*Value) {})
	add("key", 1, "kez", func(*Value) {})
	add("longer key", 1, "key\x00", func(*Value) {})
	add("nine bytes", 1, "key456789", func(*Value) {})
	add("incarnation", 1, "key", func(v *Value) { v.Version.Incarnation++ })
	add("epoch", 1, "key", func(v *Value) { v.Version.Epoch++ })
	add("index", 1, "key", func(v *Value) { v.Version.Index++ })
	add("checksum", 1, "key", func(v *Value) { v.Sum++ })
	add("length", 1, "key", func(v *Value) { v.Data = nil })
	if SumOf(1, []byte("key"), nil) != 0 || SumOf(1, []byte("key"), &Value{Tombstone: true, Version: v.Version}) != 0 {
		t.Error("nothing to read adds something")
	}
}

// An idle follower writes nothing, and all heartbeats fall on multiples of the interval.
func TestIdleFollowersSyncNothing(t *testing.T) {
	trio := newTrio(t)
	trio.step(0, func(r *Replica) {
		r.Submit(&Op{Kind: OpPut, Bucket: 1, Key: []byte("key"), Data: []byte("v"), Deadline: time.Hour})
	})
	beat := trio.r[0].opts.Heartbeat
	for range 3 { // what the write left
		trio.now.Mono += beat
		trio.step(0, func(*Replica) {})
	}
	staged, beats := trio.staged, 0
	for end := trio.now.Mono + 20*beat; trio.now.Mono < end; trio.now.Mono += time.Millisecond {
		before := trio.sends
		trio.step(0, func(*Replica) {})
		if trio.sends > before {
			beats++
			if trio.now.Mono%beat != 0 {
				t.Errorf("a heartbeat at %v", trio.now.Mono)
			}
		}
	}
	if beats < 18 || beats > 20 || trio.staged != staged {
		t.Errorf("%d heartbeats, %d batches", beats, trio.staged-staged)
	}
}
