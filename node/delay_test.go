package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// A queue is late when for a whole interval nothing waited less than the target,
// and no longer once something does, or when nothing is left to measure.
func TestStandingQueueIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue[int]()
		var spare []int
		round := func(wait time.Duration) {
			q.put(1, 0)
			time.Sleep(wait)
			spare = q.take(spare)
		}
		round(10 * delayTarget) // one burst
		if q.late() {
			t.Fatal("late after one long wait")
		}
		round(time.Millisecond)
		for range 3 { // every wait is long: 3 * 60 ms
			round(delayTarget + 10*time.Millisecond)
		}
		if !q.late() {
			t.Fatal("not late though everything waits")
		}
		round(time.Millisecond)
		if q.late() {
			t.Fatal("late though the queue was worked off")
		}
		for range 4 {
			round(delayTarget + 10*time.Millisecond)
		}
		if !q.late() {
			t.Fatal("not late though everything waits again")
		}
		time.Sleep(delayInterval)
		if q.late() {
			t.Fatal("late for ever with nothing to measure")
		}
	})
}

// A late shard takes no more requests: they are refused before they did anything.
func TestLateShardRefuses(t *testing.T) {
	late, fine := &shard{mailbox: newQueue[core.Event]()}, &shard{mailbox: newQueue[core.Event]()}
	late.mailbox.until.Store(int64(time.Hour))
	r := &router{shards: []*shard{late}}
	req := &core.Request{Op: core.OpPut, Bucket: hashring.DefaultBucket, Key: []byte("k")}
	if r.admit(nil, req) {
		t.Error("admitted")
	}
	rep := r.do(t.Context(), nil, req)
	if rep.Code != core.Overloaded || rep.Outcome != core.NotApplied || rep.RetryAfter <= 0 {
		t.Errorf("%+v", rep)
	}
	if len(late.mailbox.items) != 0 {
		t.Error("it went into the queue")
	}
	r.shards[0] = fine
	if !r.admit(nil, req) {
		t.Error("refused by a shard that keeps up")
	}
}
