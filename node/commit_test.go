package node

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/store"
)

// slowDisk is a store whose writes end when they are told to.
type slowDisk struct {
	backing
	turns  chan []store.Staged // each write as it begins
	result chan error          // what it ends with
}

func (d *slowDisk) CommitAll(turn []store.Staged) error {
	var own []store.Staged
	for _, t := range turn {
		own = append(own, store.Staged{Shard: t.Shard, Batches: slices.Clone(t.Batches)})
	}
	d.turns <- own
	return <-d.result
}

// heard collects what a committer lets go.
type heard struct {
	mu      sync.Mutex
	replies []int
}

func (h *heard) message(*core.Message) {}
func (h *heard) reply(waiter any, _ *core.Reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.replies = append(h.replies, waiter.(int))
}

func (h *heard) list() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.replies)
}

type committing struct {
	*committer
	disk  *slowDisk
	out   *heard
	boxes []*queue[core.Event]
	fatal chan error
	stop  chan struct{}
	ended chan struct{}
}

func startCommitter(t *testing.T, shards int) *committing {
	c := &committing{disk: &slowDisk{turns: make(chan []store.Staged, 1), result: make(chan error)}, out: &heard{},
		fatal: make(chan error, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	c.committer = newCommitter(shards, c.disk, c.out, func(err error) { c.fatal <- err })
	for i := range shards {
		c.boxes = append(c.boxes, newQueue[core.Event]())
		c.serve(i, c.boxes[i])
	}
	go func() { c.run(c.stop); close(c.ended) }()
	return c
}

// await gives what comes within the patience of a test.
func await[T any](t *testing.T, from <-chan T) (x T) {
	t.Helper()
	select {
	case x = <-from:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	return x
}

func waitFor(seq uint64, waiter int) []core.Gated {
	return []core.Gated{{Seq: seq, Out: core.Out{Reply: &core.Reply{}, Waiter: waiter}}}
}

func seqs(turn []store.Staged) (out []uint64) {
	for _, t := range turn {
		for _, b := range t.Batches {
			out = append(out, uint64(t.Shard)*100+b.Seq)
		}
	}
	return out
}

// One write takes what all shards have staged while the last one synced, and only
// when it has ended does anything leave that waits for it (D1).
func TestCommitterJoinsShards(t *testing.T) {
	c := startCommitter(t, 2)
	c.add(0, &core.Batch{Seq: 1}, waitFor(1, 1))
	if got := seqs(await(t, c.disk.turns)); !slices.Equal(got, []uint64{1}) {
		t.Fatalf("an idle disk was given %v", got)
	}
	c.add(1, &core.Batch{Seq: 1}, waitFor(1, 101))
	c.add(0, &core.Batch{Seq: 2}, waitFor(1, 11)) // it waits for the one that is under way
	c.add(0, nil, waitFor(2, 2))
	c.add(1, &core.Batch{Seq: 2}, nil)
	if got := c.out.list(); len(got) != 0 {
		t.Fatalf("%v left before anything was durable", got)
	}
	c.disk.result <- nil
	if got := seqs(await(t, c.disk.turns)); !slices.Equal(got, []uint64{2, 101, 102}) {
		t.Fatalf("the next write holds %v", got)
	}
	if got := c.out.list(); !slices.Equal(got, []int{1, 11}) {
		t.Fatalf("%v left after the first write", got)
	}
	c.disk.result <- nil
	close(c.stop)
	await(t, c.ended)
	if got := c.out.list(); !slices.Equal(got, []int{1, 11, 2, 101}) {
		t.Fatalf("%v left after the second write", got)
	}
	var synced []uint64
	for i, box := range c.boxes {
		for _, e := range box.take(nil) {
			synced = append(synced, uint64(i)*100+e.Synced)
		}
	}
	if !slices.Equal(synced, []uint64{1, 2, 102}) {
		t.Fatalf("the shards heard of %v", synced)
	}
	c.add(0, nil, waitFor(2, 3)) // durable long ago
	if got := c.out.list(); got[len(got)-1] != 3 {
		t.Fatalf("%v: what waits for nothing must leave at once", got)
	}
}

// After a failed write nothing that waits for it, or for a later one, ever leaves (D2).
func TestCommitterStopsAtTheFirstError(t *testing.T) {
	c := startCommitter(t, 2)
	c.add(0, &core.Batch{Seq: 1}, waitFor(1, 1))
	await(t, c.disk.turns)
	c.add(1, &core.Batch{Seq: 1}, waitFor(1, 101))
	broken := errors.New("broken")
	c.disk.result <- broken
	if err := await(t, c.fatal); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	await(t, c.ended)
	c.add(0, &core.Batch{Seq: 2}, waitFor(2, 2))
	if got := c.out.list(); len(got) != 0 {
		t.Fatalf("%v left", got)
	}
	for _, box := range c.boxes {
		if e := box.take(nil); len(e) != 0 {
			t.Fatalf("a shard was told %+v", e)
		}
	}
}

// What is handed over before the end is written before the end.
func TestCommitterDrains(t *testing.T) {
	c := startCommitter(t, 1)
	c.add(0, &core.Batch{Seq: 1}, nil)
	await(t, c.disk.turns)
	c.add(0, &core.Batch{Seq: 2}, waitFor(2, 2))
	close(c.stop)
	c.disk.result <- nil
	await(t, c.disk.turns)
	c.disk.result <- nil
	await(t, c.ended)
	if got := c.out.list(); !slices.Equal(got, []int{2}) {
		t.Fatalf("%v left", got)
	}
}
