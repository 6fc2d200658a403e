package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// recheck is the pause before a key that is not as it must be is read again.
const recheck = 250 * time.Millisecond

// rereadPatience bounds one final read, so that a key whose owners are away does not
// keep the others from being read.
const rereadPatience = 5 * time.Second

type bucketInfo struct {
	Mode     string `json:"mode"`
	Conflict string `json:"conflict"`
	N        int    `json:"n"`
	R        int    `json:"r"`
	W        int    `json:"w"`
	Sloppy   bool   `json:"sloppy"`
}

// promise asks what the bucket promises: nothing that verify could hold it to when the
// last write wins, and reads that are never behind when R+W>N without fallbacks, or in a
// strong bucket.
func (b *Run) promise(ctx context.Context) (strict bool, err error) {
	var info bucketInfo
	var ring struct {
		Nodes []json.RawMessage `json:"nodes"`
	}
	ctx, cancel := context.WithTimeout(ctx, b.o.OpTimeout)
	defer cancel()
	if err := b.fetch(ctx, "/v1/buckets/"+b.o.Bucket, &info); err != nil {
		return false, fmt.Errorf("bucket %s: %w", b.o.Bucket, err)
	}
	if err := b.fetch(ctx, "/v1/cluster/ring", &ring); err != nil {
		return false, fmt.Errorf("ring: %w", err)
	}
	if info.Conflict == "lww" {
		return false, errors.New("with conflict lww an acknowledged write may lose against a repeated older one: verify needs a bucket with conflict siblings")
	}
	if info.Mode == "strong" {
		b.nodes.versions = true
		if b.o.R != 0 || b.o.W != 0 || b.o.Sloppy != "" {
			return false, fmt.Errorf("bucket %s is strong: it has no r, w and sloppy", b.o.Bucket)
		}
		return true, nil
	}
	n := info.N
	if len(ring.Nodes) > 0 {
		n = min(n, len(ring.Nodes))
	}
	sloppy := info.Sloppy
	if b.o.Sloppy != "" {
		sloppy = b.o.Sloppy == "true"
	}
	r, w := effective(b.o.R, info.R, n), effective(b.o.W, info.W, n)
	return !sloppy && r+w > n, nil
}

// effective is the R or W that counts: asked for, else the bucket's, else a majority.
func effective(asked, bucket, n int) int {
	switch {
	case asked > 0:
		return asked
	case bucket > 0:
		return min(bucket, n)
	}
	return n/2 + 1
}

func (b *Run) fetch(ctx context.Context, path string, into any) error {
	rng := rand.New(rand.NewPCG(b.o.Seed, 0))
	a, f := b.nodes.do(ctx, rng, &call{method: http.MethodGet, path: path})
	if f != nil {
		return f
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("%s answered %d", path, a.status)
	}
	return json.Unmarshal(a.body, into)
}

// check reads the numbers of an answer; the error says why a value cannot be right.
func (b *Run) check(c *cell, a *answer) ([]uint64, error) {
	read, err := numbers(b.id, c.name, b.o.ValueSize, a)
	if err != nil {
		return read, err
	}
	return read, c.phantom(read)
}

// verify reads every key from all its owners and compares it with what was
// acknowledged. A key that is not right yet is read again until the settle time ends:
// a write that stand-ins took may still be on its way to the owners.
func (b *Run) verify(ctx context.Context) *Verify {
	ctx, cancel := context.WithTimeout(ctx, b.o.SettleTimeout)
	defer cancel()
	if b.o.Progress != nil {
		from := "all replicas"
		if b.nodes.versions {
			from = "a majority of their replicas"
		}
		fmt.Fprintf(b.o.Progress, "reading %d keys from %s\n", b.o.Keys, from)
	}
	parts := make([]Verify, len(b.workers))
	var wg sync.WaitGroup
	for i, w := range b.workers {
		wg.Go(func() { w.verifyAll(ctx, &parts[i]) })
	}
	wg.Wait()
	v := &Verify{Run: b.id, Strict: b.strict, Faults: []Fault{}}
	for i := range parts {
		v.add(&parts[i])
	}
	v.Faults = sortFaults(v.Faults)
	return v
}

func (v *Verify) add(p *Verify) {
	v.KeysWritten += p.KeysWritten
	v.Acked += p.Acked
	v.Unknown += p.Unknown
	v.Siblings += p.Siblings
	v.SettledLate += p.SettledLate
	v.Lost += p.Lost
	v.Wrong += p.Wrong
	v.Stale += p.Stale
	v.Unread += p.Unread
	v.Faults = append(v.Faults, p.Faults...)
}

func (w *worker) verifyAll(ctx context.Context, v *Verify) {
	v.Acked, v.Unknown, v.Stale = w.acked, w.unknown, w.stale
	for _, f := range w.faults {
		if f.Kind == "wrong" {
			v.Wrong++
		}
	}
	v.Faults = append(v.Faults, w.faults...)
	pending := make([]*finding, 0, len(w.cells))
	for i := range w.cells {
		if c := &w.cells[i]; c.attempt > 0 {
			v.KeysWritten++
			pending = append(pending, &finding{cell: c, fault: Fault{Key: c.name, Kind: "unread", Expected: c.acked}})
		}
	}
	for round := 0; len(pending) > 0; round++ {
		pending = slices.DeleteFunc(pending, func(f *finding) bool {
			siblings, ok := w.reread(ctx, f)
			if ok {
				v.right(round > 0, siblings)
			}
			return ok
		})
		if len(pending) > 0 && !sleep(ctx, recheck) {
			break
		}
	}
	for _, f := range pending {
		v.wrong(f.fault)
	}
}

// finding is a key of the final read that is not right yet; the last full answer says
// what it counts as.
type finding struct {
	cell  *cell
	fault Fault
}

// reread reads a key from all its owners once (with retries, for a bounded time); ok
// when it is as acknowledged.
func (w *worker) reread(ctx context.Context, f *finding) (siblings int, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, rereadPatience)
	defer cancel()
	k := w.b.get(f.cell.name)
	k.query = "consistency=all&sloppy=false"
	if w.b.nodes.versions {
		k.query = "consistency=quorum"
	}
	a, failed := w.b.nodes.do(ctx, w.rng, k)
	if failed != nil {
		if f.fault.Kind == "unread" {
			f.fault.Detail = failed.Error()
		}
		return 0, false
	}
	read, err := w.b.check(f.cell, a)
	if err == nil && f.cell.settled(f.cell.acked, read) {
		return len(read), true
	}
	f.fault.Kind, f.fault.Got, f.fault.Detail = "lost", read, ""
	if err != nil {
		f.fault.Kind, f.fault.Detail = "wrong", err.Error()
	}
	return 0, false
}

func (v *Verify) right(late bool, siblings int) {
	if late {
		v.SettledLate++
	}
	if siblings > 1 {
		v.Siblings++
	}
}

func (v *Verify) wrong(f Fault) {
	v.Faults = append(v.Faults, f)
	switch f.Kind {
	case "lost":
		v.Lost++
	case "wrong":
		v.Wrong++
	default:
		v.Unread++
	}
}
