package client

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/quorum/version"
)

// The estimate of the 95th percentile is at most a step too high, and follows a
// change.
func TestQuantile(t *testing.T) {
	var q quantile
	if q.get() != 0 {
		t.Error("nothing was seen")
	}
	r := rand.New(rand.NewPCG(1, 2))
	feed := func(mean time.Duration) (exact time.Duration) {
		var all []time.Duration
		for range 3 * quantileKeep {
			d := time.Duration(r.ExpFloat64() * float64(mean))
			all = append(all, d)
			q.add(d)
		}
		slices.Sort(all)
		return all[len(all)*95/100]
	}
	for _, mean := range []time.Duration{300 * time.Microsecond, 20 * time.Millisecond, time.Millisecond} {
		exact := feed(mean)
		if got := q.get(); float64(got) < 0.8*float64(exact) || float64(got) > 1.6*float64(exact) {
			t.Errorf("mean %v: p95 %v, exactly %v", mean, got, exact)
		}
	}
	for d := time.Duration(0); d < 20*time.Minute; d = d*21/20 + time.Microsecond {
		if u := upper(step(d)); u <= d || d >= 4*time.Microsecond && float64(u) > 1.26*float64(d)+1000 {
			t.Fatalf("%v is in a step up to %v", d, u)
		}
	}
	q.add(1 << 62)
	q.add(-1)
}

// However many take at once, a budget gives no more than it has.
func TestBudget(t *testing.T) {
	b := newBudget(0.1, 5)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				b.earn()
				if b.take() {
					mu.Lock()
					taken++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if taken < 795 || taken > 806 {
		t.Errorf("%d taken, 5 and a tenth of 8,000 are there", taken)
	}
	for range 1000 {
		b.earn()
	}
	if got := b.tokens.Load(); got > 6*oneToken {
		t.Errorf("%d thousandths, 5 tokens are the most", got)
	}
}

// A session's token covers everything it was given for a key, in any order.
func TestTokensJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	token := func() (Context, version.Vector) {
		var v version.Vector
		for range 1 + r.IntN(3) {
			v = v.With(version.Dot{Actor: version.Actor(1 + r.IntN(4)), Counter: 1 + r.Uint64N(5)})
		}
		return Context(version.Context{Bucket: 7, KeyHash: 9, HLC: version.HLC(r.Uint64N(100)), Seen: v}.Token()), v
	}
	for range 200 {
		a, va := token()
		b, vb := token()
		got, err := version.ParseContext(string(join(a, b)))
		if err != nil || !got.Seen.Equal(va.Join(vb)) || got.Bucket != 7 || got.KeyHash != 9 {
			t.Fatalf("%v and %v: %v %v", va, vb, got.Seen, err)
		}
	}
	a, _ := token()
	newer := Context(version.Context{Bucket: 8, KeyHash: 9, Seen: version.Vector{{Actor: 1, Counter: 1}}}.Token())
	if join(a, newer) != newer || join(newer, a) != newer || join(a, "nonsense") != a || join("nonsense", a) != a {
		t.Error("a token of another bucket, or no token, is joined")
	}
}

// A session forgets the keys that were used longest ago, not others.
func TestSessionIsBounded(t *testing.T) {
	s := (&Client{}).Session()
	for i := range SessionKeys + 10 {
		s.saw("b", fmt.Sprint(i), "x")
		s.token("b", "0")
	}
	if len(s.keys) != SessionKeys || s.used.Len() != SessionKeys || s.token("b", "0") == "" || s.token("b", "1") != "" || s.token("b", fmt.Sprint(SessionKeys)) == "" {
		t.Errorf("%d keys", len(s.keys))
	}
}

// Two of three are compared, never one with itself, and the cheaper one is taken.
func TestTheCheaperOfTwo(t *testing.T) {
	var h choice
	for i := range 3 {
		n := new(node)
		n.latency.Store(int64(i+1) * int64(time.Millisecond))
		h.add(n)
	}
	got := [3]int{}
	for range 3000 {
		n := h.best(0)
		got[slices.IndexFunc(h.list[:3], func(x *node) bool { return x == n })]++
	}
	if got[2] != 0 || got[0] < 1800 || got[1] < 800 || cmp.Compare(got[0], got[1]) <= 0 {
		t.Errorf("%v", got)
	}
	h.list[0].inFlight.Store(9)
	if n := h.best(0); n == h.list[0] && h.list[0].cost(0) < h.list[1].cost(0) {
		t.Error("a busy node is not dearer")
	}
	for range 2 * pickMax {
		h.add(new(node))
	}
	if h.n != pickMax {
		t.Error(h.n)
	}
}
