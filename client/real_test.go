package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var buckets atomic.Int64 // made so far

// bucketOf makes a bucket of the test's own.
func bucketOf(t testing.TB, c *Client, cfg BucketConfig) *Bucket {
	t.Helper()
	cfg.Name = fmt.Sprintf("b%d", buckets.Add(1))
	if _, err := c.Buckets().Create(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	return c.Bucket(cfg.Name)
}

// A value goes in, comes out with what belongs to it, is replaced and deleted.
func TestRoundTrip(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{})
	ctx := context.Background()
	if _, err := b.Get(ctx, "k"); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) || fault(t, err).Context != "" {
		t.Fatalf("a key that never was: %v", err)
	}
	put, err := b.Put(ctx, "k", []byte("one"), ContentType("text/plain"), W(2))
	if err != nil || put.Receipt.Synced < 2 || put.Receipt.Need != 2 || put.Context == "" || put.ETag == "" || put.Attempts != 1 || put.Node == "" {
		t.Fatalf("%+v %v", put, err)
	}
	v, err := b.Get(ctx, "k", R(2), Strict())
	if err != nil || string(v.Data) != "one" || v.ContentType != "text/plain" || v.Count != 1 || v.Conflicting() || v.ETag != put.ETag || v.Size != 3 || v.Receipt.Acks < 2 {
		t.Fatalf("%+v %v", v, err)
	}
	if _, err := b.Get(ctx, "k", IfNoneMatch(v.ETag)); !errors.Is(err, ErrNotModified) {
		t.Errorf("with its ETag: %v", err)
	}
	h, err := b.Head(ctx, "k")
	if err != nil || h.Data != nil || h.Size != 3 || h.ETag != v.ETag || h.Context == "" {
		t.Errorf("%+v %v", h, err)
	}
	if _, err = b.Put(ctx, "k", nil, With(v.Context)); err != nil {
		t.Fatal(err)
	}
	if v, err = b.Get(ctx, "k"); err != nil || v.Data == nil || len(v.Data) != 0 {
		t.Errorf("an empty value: %+v %v", v, err)
	}
	if _, err := b.Delete(ctx, "k", With(v.Context)); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(context.Context, string, ...GetOption) (*Value, error){b.Get, b.Head} {
		if _, err = read(ctx, "k"); !errors.Is(err, ErrNotFound) || fault(t, err).Context == "" || fault(t, err).Outcome != OutcomeNone {
			t.Errorf("after its delete: %v", err)
		}
	}
	if _, err := c.Bucket("no-such").Get(ctx, "k"); !errors.Is(err, ErrBucketNotFound) || errors.Is(err, ErrNotFound) {
		t.Errorf("no bucket: %v", err)
	}
	if _, err := b.Put(ctx, "k", make([]byte, 1<<20+1)); !errors.Is(err, ErrInvalid) || fault(t, err).Code != "value_too_large" || fault(t, err).Outcome != NotApplied {
		t.Errorf("too large: %v", err)
	}
	if _, err := b.Put(ctx, "k", nil, W(9)); fault(t, err).Code != "quorum_impossible" {
		t.Errorf("w=9: %v", err)
	}
	if f := fault(t, second(b.Put(ctx, "other", nil, With(v.Context)))); f.Code != "context_invalid" {
		t.Errorf("the token of another key: %v", f)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 60_000)
	if _, err := b.Put(ctx, "large", large, TTL(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if v, err := b.Get(ctx, "large"); err != nil || !bytes.Equal(v.Data, large) {
		t.Errorf("a large value: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// Any bytes are a key, whatever proxies or URLs make of them.
func TestAnyKey(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{})
	ctx := context.Background()
	keys := []string{".", "..", "/", "a//b", "../x", "a/../b", "%2F", "%", "?r=1", "#", "a b", "a+b", "ü", "\xff\xfe", "\x00", "\r\nX: y", "&k=v",
		strings.Repeat("k", 1024), strings.Repeat("\xff", 1024)}
	for i, key := range keys {
		if _, err := b.Put(ctx, key, fmt.Append(nil, i), All()); err != nil { // a list reads one replica
			t.Fatalf("%q: %v", key, err)
		}
	}
	for i, key := range keys {
		v, err := b.Get(ctx, key)
		if err != nil || string(v.Data) != fmt.Sprint(i) {
			t.Errorf("%q: %+v %v", key, v, err)
		}
	}
	var listed []string
	for item, err := range b.List(ctx, ListOptions{PageSize: 4, Values: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(item.Data) != fmt.Sprint(slices.Index(keys, item.Key)) {
			t.Errorf("%q: %q", item.Key, item.Data)
		}
		listed = append(listed, item.Key)
	}
	want := slices.Sorted(slices.Values(keys))
	if !slices.Equal(listed, want) {
		t.Errorf("listed %q, want %q", listed, want)
	}
	for i, g := range must(b.GetMany(ctx, keys)) {
		if g.Err != nil || string(g.Value.Data) != fmt.Sprint(i) || g.Key != keys[i] {
			t.Errorf("%q: %+v", g.Key, g)
		}
	}
	if _, err := b.Get(ctx, strings.Repeat("k", 1025)); !errors.Is(err, ErrInvalid) {
		t.Errorf("too long: %v", err)
	}
	if _, err := b.Get(ctx, ""); !errors.Is(err, ErrInvalid) {
		t.Errorf("empty: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // unreachable: only a call that was not made fails as a whole
	}
	return v
}

// The client places keys as the nodes do, and asks an owner: no node forwards.
func TestPlacementAgrees(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{})
	ctx := context.Background()
	v := c.ring.Load()
	for i := range 100 {
		key := fmt.Sprintf("key-%d-%x", i, rand.Uint64())
		l, err := b.Locate(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, n := range v.owners[partitionOf(v, b.name, key)] {
			names = append(names, n.name)
		}
		if l.Partition != partitionOf(v, b.name, key) || !slices.Equal(names, l.Replicas) {
			t.Fatalf("%q: partition %d owners %v here, the server says %+v", key, partitionOf(v, b.name, key), names, l)
		}
		put, err := b.Put(ctx, key, nil)
		if err != nil || put.Node != names[0] {
			t.Fatalf("a put without context went to %s, not to the first owner %s: %v", put.Node, names[0], err)
		}
	}
	if s := c.Stats(); s.Retries != 0 || s.NodesDown != 0 || len(s.Nodes) != 3 {
		t.Errorf("%+v", s)
	}
}

// Concurrent writes of one context become siblings, which Update makes one again.
func TestSiblings(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{})
	ctx := context.Background()
	first, err := b.Put(ctx, "k", []byte("0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []string{"a", "b", "c"} {
		if _, err := b.Put(ctx, "k", []byte(x), With(first.Context), ContentType("text/"+x)); err != nil {
			t.Fatal(err)
		}
	}
	v, err := b.Get(ctx, "k", All())
	if err != nil || !v.Conflicting() || v.Count != 3 || v.Data != nil || v.Context == "" {
		t.Fatalf("%+v %v", v, err)
	}
	var seen []string
	for _, s := range v.Siblings {
		if s.ContentType != "text/"+string(s.Data) || s.ETag == "" || time.Since(s.Time()).Abs() > time.Hour {
			t.Errorf("%+v", s)
		}
		seen = append(seen, string(s.Data))
	}
	if newest, err := b.Get(ctx, "k", Newest(), All()); err != nil || string(newest.Data) != seen[0] || newest.Count != 3 {
		t.Errorf("%+v %v, newest is %q", newest, err, seen[0])
	}
	if h, err := b.Head(ctx, "k", All()); err != nil || h.Count != 3 {
		t.Errorf("head: %+v %v", h, err)
	}
	if g := must(b.GetMany(ctx, []string{"k"}, All())); len(g[0].Value.Siblings) != 3 || g[0].Value.Context == "" {
		t.Errorf("many: %+v", g[0])
	}
	_, err = b.Update(ctx, "k", func(v *Value) ([]byte, error) {
		var all []string
		for _, s := range v.Siblings {
			all = append(all, string(s.Data))
		}
		slices.Sort(all)
		return []byte(strings.Join(all, "+")), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, err = b.Get(ctx, "k", All()); err != nil || string(v.Data) != "a+b+c" {
		t.Errorf("%+v %v", v, err)
	}
	stop := errors.New("stop")
	if _, err := b.Update(ctx, "k", func(*Value) ([]byte, error) { return nil, stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if _, err := b.Update(ctx, "new", func(v *Value) ([]byte, error) { return append(v.Data, "!"...), nil }); err != nil {
		t.Error(err)
	}
}

// A session carries its tokens, key by key, and joins them.
func TestSession(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{})
	ctx := context.Background()
	s := c.Session()
	sb := s.Bucket(b.name)
	for i := range 20 {
		if _, err := sb.Put(ctx, "k", fmt.Append(nil, i), W(1)); err != nil {
			t.Fatal(err)
		}
		v, err := sb.Get(ctx, "k", R(1))
		if err != nil || string(v.Data) != fmt.Sprint(i) {
			t.Fatalf("own write %d: %+v %v", i, v, err)
		}
	}
	if got := must(sb.GetMany(ctx, []string{"k", "none"})); got[0].Err != nil || !errors.Is(got[1].Err, ErrNotFound) {
		t.Errorf("%+v", got)
	}
	if token := s.token(b.name, "k"); token == "" || b.In(s).session != s {
		t.Error("no token")
	} else if _, err := b.Get(ctx, "other", ReadAfter(token)); fault(t, err).Code != "context_invalid" {
		t.Errorf("a token of another key: %v", err)
	}
	if _, err := sb.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := sb.Get(ctx, "k", R(1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted key: %v", err)
	}
}

// A batch has a result for each operation, in order.
func TestBatch(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{})
	ctx := context.Background()
	var ops []Operation
	for i := range 300 {
		ops = append(ops, Operation{Key: fmt.Sprintf("k%03d", i), Data: fmt.Append(nil, i), ContentType: "text/plain"})
	}
	ops = append(ops, Operation{Key: "\xff", Data: nil}, Operation{Key: strings.Repeat("k", 2000)}, Operation{Key: "gone", Delete: true})
	done, err := b.Batch(ctx, ops, All()) // a list reads one replica
	if err != nil || len(done) != len(ops) {
		t.Fatal(len(done), err)
	}
	for i, d := range done {
		if bad := i == 301; bad != (d.Err != nil) || !bad && d.Result.Receipt.N != 3 || d.Key != ops[i].Key {
			t.Errorf("%d: %+v %v", i, d.Result, d.Err)
		}
	}
	if !errors.Is(done[301].Err, ErrInvalid) || fault(t, done[301].Err).Outcome != NotApplied {
		t.Error(done[301].Err)
	}
	var keys []string
	for i := range 300 {
		keys = append(keys, ops[i].Key)
	}
	for i, g := range must(b.GetMany(ctx, append(keys, "none"), R(2))) {
		if i == 300 {
			if !errors.Is(g.Err, ErrNotFound) {
				t.Error(g.Err)
			}
		} else if g.Err != nil || string(g.Value.Data) != fmt.Sprint(i) || g.Value.ContentType != "text/plain" {
			t.Errorf("%+v", g)
		}
	}
	n := 0
	for item, err := range b.List(ctx, ListOptions{Prefix: "k", Start: "k010", Limit: 25, PageSize: 10}) {
		if err != nil || item.Key != fmt.Sprintf("k%03d", 10+n) || item.Siblings != 1 {
			t.Fatalf("%d: %+v %v", n, item, err)
		}
		n++
	}
	if n != 25 {
		t.Errorf("%d keys, want 25", n)
	}
	for range b.List(ctx, ListOptions{}) {
		break // the walk may be left
	}
	for _, bad := range [][]WriteOption{{With("x")}, {IdempotencyKey("1-x")}} {
		if _, err := b.Batch(ctx, ops, bad...); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	}
	if _, err := b.GetMany(ctx, keys, ReadAfter("x")); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// Buckets are created, shown, changed and deleted.
func TestControl(t *testing.T) {
	c := realClient(t)
	ctx := context.Background()
	bs := c.Buckets()
	made, err := bs.Create(ctx, BucketConfig{Name: "control", Conflict: "lww", W: 3, Strict: true, TTL: time.Hour})
	if err != nil || made.W != 3 || made.Sloppy || !made.Strict || made.N != 3 || made.TTL != time.Hour || made.Conflict != "lww" || made.Mode != "eventual" {
		t.Fatalf("%+v %v", made, err)
	}
	if _, err := bs.Create(ctx, BucketConfig{Name: "control", Conflict: "lww", W: 3, Strict: true, TTL: time.Hour}); err != nil {
		t.Errorf("again, with the same: %v", err)
	}
	if _, err := bs.Create(ctx, BucketConfig{Name: "control"}); !errors.Is(err, ErrConflict) {
		t.Errorf("with others: %v", err)
	}
	w, yes := 2, true
	if got, err := bs.Update(ctx, "control", BucketChange{W: &w, Sloppy: &yes}); err != nil || got.W != 2 || !got.Sloppy || got.TTL != time.Hour {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := bs.Get(ctx, "control"); err != nil || got.W != 2 {
		t.Errorf("%+v %v", got, err)
	}
	all, err := bs.List(ctx)
	if err != nil || !slices.ContainsFunc(all, func(b BucketConfig) bool { return b.Name == "default" }) {
		t.Errorf("%+v %v", all, err)
	}
	if err := bs.Delete(ctx, "control"); err != nil {
		t.Error(err)
	}
	if _, err := bs.Get(ctx, "control"); !errors.Is(err, ErrBucketNotFound) {
		t.Error(err)
	}
	if s, err := c.Cluster(ctx); err != nil || len(s.Nodes) != 3 || s.Partitions.Total != 16 || s.RaftLeader == "" {
		t.Errorf("%+v %v", s, err)
	}
	b := c.Bucket("default")
	if _, err := b.Put(ctx, "inspected/..", nil, All()); err != nil {
		t.Fatal(err)
	}
	if i, err := b.Inspect(ctx, "inspected/.."); err != nil || len(i.Replicas) != 3 || i.Replicas[0].ETag == "" {
		t.Errorf("%+v %v", i, err)
	}
}

// Many goroutines share one client.
func TestManyAtOnce(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{})
	ctx := context.Background()
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 50 {
				key := fmt.Sprintf("%d-%d", g, i)
				data := bytes.Repeat([]byte(key), 1+i*7)
				if _, err := b.Put(ctx, key, data); err != nil {
					t.Errorf("%s: %v", key, err)
				}
				v, err := b.Get(ctx, key)
				if err != nil || !bytes.Equal(v.Data, data) {
					t.Errorf("%s: %v", key, err)
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Calls < 1600 || s.HedgeAfter == 0 || s.Hedges > s.Calls/20+hedgeBurst {
		t.Errorf("%+v", s)
	}
}
