package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Conditions, deletes, reads of every kind and counters at real nodes.
func TestStrong(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{Mode: "strong"})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	first, err := b.PutIf(ctx, "k", []byte("one"), "", ContentType("text/plain"))
	if err != nil || !first.Created || first.Receipt.Need != 2 || first.Receipt.Synced < 2 {
		t.Fatalf("%+v %v", first, err)
	}
	if v, ok := first.ETag.Version(); !ok || v.Index == 0 {
		t.Errorf("ETag %s", first.ETag)
	}
	_, err = b.PutIf(ctx, "k", []byte("two"), "")
	if e := fault(t, err); !errors.Is(err, ErrPreconditionFailed) || e.ETag != first.ETag || e.Outcome != NotApplied {
		t.Errorf("%+v", e)
	}
	second := must(b.PutIf(ctx, "k", []byte("two"), first.ETag))
	for _, l := range []ReadLevel{Leader, Quorum, Replica} {
		v, err := b.Get(ctx, "k", Consistency(l))
		if err != nil || string(v.Data) != "two" || v.ETag != second.ETag || v.Stale {
			t.Errorf("%d: %+v %v", l, v, err)
		}
	}
	until(t, "a stale read shows it", func() error {
		v, err := b.Get(ctx, "k", Consistency(Stale))
		if err == nil && (!v.Stale || v.Applied == 0 || string(v.Data) != "two") {
			err = fmt.Errorf("%+v", v)
		}
		return err
	})
	if _, err := b.Get(ctx, "k", IfNoneMatch(second.ETag)); !errors.Is(err, ErrNotModified) {
		t.Error(err)
	}
	if _, err := b.DeleteIf(ctx, "k", first.ETag); !errors.Is(err, ErrPreconditionFailed) {
		t.Error(err)
	}
	if _, err := b.DeleteIf(ctx, "k", second.ETag); err != nil {
		t.Error(err)
	}
	if _, err := b.Get(ctx, "k"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := b.Put(ctx, "k", nil, W(2)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if !b.known.strong.Load() {
		t.Error("the client does not know that the bucket is strong")
	}
}

// A write that is sent again under its key acts once.
func TestStrongRepeats(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{Mode: "strong"})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	key := newIdempotencyKey()
	a := must(b.PutIf(ctx, "k", []byte("v"), "", IdempotencyKey(key)))
	again := must(b.PutIf(ctx, "k", []byte("v"), "", IdempotencyKey(key)))
	if a.ETag != again.ETag {
		t.Errorf("%s, then %s", a.ETag, again.ETag)
	}
	if _, err := b.PutIf(ctx, "k", []byte("w"), "", IdempotencyKey(key)); !errors.Is(err, ErrInvalid) {
		t.Errorf("another write under the same key: %v", err)
	}
	old := fmt.Sprintf("%d-old", time.Now().Add(-time.Hour).UnixMilli())
	if _, err := b.Put(ctx, "k", nil, IdempotencyKey(old)); !errors.Is(err, ErrIdempotencyExpired) || !errors.Is(err, ErrOutcomeUnknown) {
		t.Error(err)
	}
	key = newIdempotencyKey()
	for range 3 {
		n, err := b.Increment(ctx, "n", 5, IdempotencyKey(key))
		if err != nil || n.Value != 5 {
			t.Fatalf("%+v %v", n, err)
		}
	}
	n := must(b.Increment(ctx, "n", -7))
	if got := must(b.Counter(ctx, "n", Consistency(Quorum))); n.Value != -2 || got.Value != -2 || got.ETag != n.ETag {
		t.Errorf("%+v %+v", n, got)
	}
	if _, err := b.Increment(ctx, "k", 1); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if _, err := b.Counter(ctx, "k"); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if _, err := b.Counter(ctx, "never"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	done := must(b.Batch(ctx, []Operation{{Key: "x", Data: []byte("1"), IfAbsent: true}, {Key: "x", Data: []byte("2"), IfMatch: `"1.1.1"`}, {Key: "y", Delete: true}}))
	if done[0].Err != nil || !errors.Is(done[1].Err, ErrPreconditionFailed) || done[2].Err != nil {
		t.Errorf("%+v", done)
	}
	for _, g := range must(b.GetMany(ctx, []string{"x", "y"})) {
		if g.Key == "x" && (g.Err != nil || string(g.Value.Data) != "1") || g.Key == "y" && !errors.Is(g.Err, ErrNotFound) {
			t.Errorf("%+v", g)
		}
	}
}

// Many at once: of those that compare with one version one wins, and nothing that was
// swapped or added is lost.
func TestStrongRaces(t *testing.T) {
	c := realClient(t, func(c *Config) { c.Timeout = 30 * time.Second })
	b := bucketOf(t, c, BucketConfig{Mode: "strong"})
	ctx := context.Background()
	const many = 16
	var won atomic.Int64
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			switch _, err := b.PutIf(ctx, "race", fmt.Append(nil, i), ""); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrPreconditionFailed):
				t.Error(err)
			}
			if _, err := b.Swap(ctx, "list", func(v *Value) ([]byte, error) { return append(v.Data, 'x'), nil }); err != nil {
				t.Error(err)
			}
			if _, err := b.Increment(ctx, "n", 1); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have won", won.Load())
	}
	if v := must(b.Get(ctx, "list")); string(v.Data) != strings.Repeat("x", many) {
		t.Errorf("%q", v.Data)
	}
	if n := must(b.Counter(ctx, "n")); n.Value != many {
		t.Errorf("%+v", n)
	}
}

// Both transports give the same response in strong buckets too.
func TestTransportsAgreeOnStrongBuckets(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{Mode: "strong"})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	one := must(b.Put(ctx, "one", []byte("value"), ContentType("text/plain")))
	must(b.Put(ctx, "gone", nil))
	must(b.Delete(ctx, "gone"))
	key := newIdempotencyKey()
	must(b.Increment(ctx, "n", 3, IdempotencyKey(key)))
	named := newIdempotencyKey()
	must(b.Put(ctx, "named", []byte("v"), IdempotencyKey(named)))
	to := c.ring.Load().nodes[0].target
	byFrames, err := newFramesTransport(&c.cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer byFrames.close()
	for _, q := range []request{
		{op: opGet, key: "one"}, {op: opHead, key: "one"}, {op: opGet, key: "one", level: levelQuorum}, {op: opGet, key: "one", level: levelReplica},
		{op: opGet, key: "one", noneMatch: one.ETag}, {op: opGet, key: "gone"}, {op: opGet, key: "never"}, {op: opGet, key: "one", level: levelOne}, {op: opGet, key: "one", r: 2},
		{op: opPut, key: "one", noneMatch: "*"}, {op: opPut, key: "one", match: `"1.1.1"`}, {op: opPut, key: "one", match: one.ETag, noneMatch: "*"}, {op: opPut, key: "never", match: "*"},
		{op: opDelete, key: "one", match: `"1.1.1"`}, {op: opPut, key: "one", w: 2}, {op: opPut, key: "one", ttl: time.Second},
		{op: opPut, key: "named", value: []byte("v"), idempotency: named}, {op: opPut, key: "named", value: []byte("w"), idempotency: named}, {op: opPut, key: "one", idempotency: "1-old"},
		{op: opIncrement, key: "n", delta: 3, idempotency: key}, {op: opIncrement, key: "one", delta: 1}, {op: opGet, key: "n"},
	} {
		q.bucket, q.timeout = b.Name(), 10*time.Second
		var h, f response
		if err := errors.Join(c.link.roundTrip(ctx, &to, &q, &h), byFrames.roundTrip(ctx, &to, &q, &f)); err != nil {
			t.Fatalf("%s %s: %v", q.op, q.key, err)
		}
		for _, p := range []*response{&h, &f} {
			if p.status >= 400 || q.op == opIncrement { // a type of its own
				p.contentType, p.size = "", 0
			}
			if p.fault != nil {
				p.requestID, p.fault.RequestID = "", ""
			}
			// How far the write had got by then, and what a repeat knows of that.
			p.receipt.Acks, p.receipt.Owners, p.receipt.Synced = 0, 0, 0
			if p.fault != nil && p.fault.Quorum != nil {
				p.fault.Quorum.Acks, p.fault.Quorum.Owners = 0, 0
			}
		}
		if !reflect.DeepEqual(h, f) {
			t.Errorf("%s %.10s %+v:\n  HTTP   %+v %+v\n  frames %+v %+v", q.op, q.key, q, h, h.fault, f, f.fault)
		}
	}
}
