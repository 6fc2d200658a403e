package bench

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestVerifyFindsNothingWhereNothingIsWrong(t *testing.T) {
	f, addrs := newFake(t, 3)
	o := quick(addrs)
	o.Verify = true
	r := run(t, o)
	if err := r.Failed(); err != nil {
		t.Fatalf("%v %+v", err, r.Verify)
	}
	v := r.Verify
	if v.KeysWritten == 0 || v.Acked == 0 || r.Reads == 0 || r.Writes == 0 || r.Retries != 0 || !v.Strict {
		t.Fatalf("report %+v, verify %+v", r, v)
	}
	if f.mixed {
		t.Fatal("one Idempotency-Key came with different bytes")
	}
}

// Every kind of trouble that a node may cause without losing anything: all of it is
// retried and counted, and nothing fails.
func TestFaultsAreRetriedWithTheSameBytes(t *testing.T) {
	f, addrs := newFake(t, 3)
	f.plant = func(n int, r *http.Request) plant {
		read := r.Method == http.MethodGet
		switch {
		case n%7 == 0:
			return refuse503
		case n%5 == 1 && !read:
			return timeout504
		case n%11 == 3:
			return resetBefore
		case n%6 == 4 && !read:
			return resetAfter
		}
		return honest
	}
	o := quick(addrs)
	o.Verify = true
	r := run(t, o)
	if err := r.Failed(); err != nil {
		t.Fatalf("%v %+v", err, r.Verify)
	}
	for _, reason := range []string{"quorum_unavailable", "write_quorum_timeout", "closed"} {
		if r.RetriesBy[reason] == 0 {
			t.Errorf("no retry counted for %s: %v", reason, r.RetriesBy)
		}
	}
	if f.mixed {
		t.Error("a repeat came with other bytes under the same Idempotency-Key")
	}
	sum := uint64(0)
	for _, n := range r.RetriesBy {
		sum += n
	}
	if sum != r.Retries {
		t.Errorf("retries %d, by reason %d", r.Retries, sum)
	}
}

func TestPlantedLossIsReported(t *testing.T) {
	f, addrs := newFake(t, 2)
	var lost atomic.Pointer[string]
	f.plant = func(n int, r *http.Request) plant {
		// The last write of one key is forgotten; later ones of that key too, so
		// that nothing hides the loss.
		if r.Method == http.MethodPut && n > 10 && (lost.Load() == nil || *lost.Load() == r.URL.Path) {
			lost.Store(&r.URL.Path)
			return forget
		}
		return honest
	}
	o := quick(addrs)
	o.Verify, o.ReadPercent = true, 0
	r := run(t, o)
	err := r.Failed()
	if err == nil || r.Verify.Lost != 1 {
		t.Fatalf("got %v, %+v", err, r.Verify)
	}
	fault := r.Verify.Faults[0]
	if fault.Kind != "lost" || !strings.HasSuffix(*lost.Load(), "/"+fault.Key) || fault.Expected == 0 {
		t.Fatalf("fault %+v, planted at %s", fault, *lost.Load())
	}
	for _, got := range fault.Got {
		if got >= fault.Expected {
			t.Fatalf("fault %+v is none", fault)
		}
	}
}

func TestStaleReadIsAFaultOnlyWhereReadsMustNotBeBehind(t *testing.T) {
	for _, sloppy := range []bool{false, true} {
		f, addrs := newFake(t, 1)
		f.sloppy = sloppy
		f.plant = func(n int, r *http.Request) plant {
			if r.Method == http.MethodGet && n%5 == 0 && r.URL.Query().Get("consistency") == "" {
				return older
			}
			return honest
		}
		o := quick(addrs)
		o.Verify = true
		r := run(t, o)
		if r.Verify.Stale == 0 || r.Verify.Strict == sloppy || (r.Failed() == nil) != sloppy {
			t.Errorf("sloppy %v: %v %+v", sloppy, r.Failed(), r.Verify)
		}
	}
}

func TestDamagedValueIsAFault(t *testing.T) {
	f, addrs := newFake(t, 1)
	f.plant = func(n int, r *http.Request) plant {
		if r.Method == http.MethodGet && n%4 == 0 {
			return damage
		}
		return honest
	}
	o := quick(addrs)
	o.Verify = true
	r := run(t, o)
	if r.Verify.Wrong == 0 || r.Failed() == nil {
		t.Fatalf("%+v", r.Verify)
	}
}

func TestUnansweredFinalReadIsAFault(t *testing.T) {
	f, addrs := newFake(t, 1)
	f.plant = func(_ int, r *http.Request) plant {
		if r.URL.Query().Get("consistency") == "all" {
			return refuse503
		}
		return honest
	}
	o := quick(addrs)
	o.Verify, o.Keys = true, 4
	r := run(t, o)
	if r.Verify.Unread != r.Verify.KeysWritten || r.Failed() == nil {
		t.Fatalf("%+v", r.Verify)
	}
}

func TestDefiniteRefusalIsAnErrorAndNotRetried(t *testing.T) {
	f, addrs := newFake(t, 2)
	f.plant = func(n int, _ *http.Request) plant {
		if n == 10 {
			return refuse400
		}
		return honest
	}
	o := quick(addrs)
	o.Preload = false
	r := run(t, o)
	if r.Errors != 1 || r.ErrorsBy["invalid_argument"] != 1 || r.Retries != 0 || r.Failed() == nil {
		t.Fatalf("%+v", r)
	}
}

func TestDeadNodeCostsRetriesNotErrors(t *testing.T) {
	_, addrs := newFake(t, 2)
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	o := quick(append(addrs, dead.URL))
	r := run(t, o)
	if r.Errors != 0 || r.RetriesBy["connect"] == 0 {
		t.Fatalf("%+v", r)
	}
}

func TestNoNodeEndsWithinTheOperationsDeadline(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	o := quick([]string{dead.URL})
	o.Preload, o.OpTimeout = false, 100*time.Millisecond
	r := run(t, o)
	if r.Ops != 0 || r.Errors == 0 {
		t.Fatalf("%+v", r)
	}
}

func TestVerifyRefusesLastWriteWins(t *testing.T) {
	f, addrs := newFake(t, 1)
	f.conflict = "lww"
	o := quick(addrs)
	o.Verify = true
	if _, err := New(t.Context(), o); err == nil || !strings.Contains(err.Error(), "siblings") {
		t.Fatalf("got %v", err)
	}
}

// A server that stands still for a while: the open loop counts the requests that were
// due meanwhile, each from its due time.
func TestOpenLoopCountsFromTheDueTime(t *testing.T) {
	const stall = 300 * time.Millisecond
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			<-time.After(stall)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	o := quick([]string{srv.URL})
	o.Preload, o.ReadPercent, o.Concurrency, o.Rate = false, 0, 1, 100
	o.Duration, o.Warmup = 600*time.Millisecond, 0
	r := run(t, o)
	// Some 30 requests were due during the stall, so half of all waited for it.
	if got := time.Duration(r.Write.P90US) * time.Microsecond; got < stall/2 {
		t.Fatalf("p90 %v does not show the stall: %+v", got, r.Write)
	}
	if r.Ops > 60 || r.Loop != "open" {
		t.Fatalf("%d operations at 100/s in 0.6 s", r.Ops)
	}
}

func TestOpenLoopReportsWhatItCouldNotSend(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(50 * time.Millisecond)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	o := quick([]string{srv.URL})
	o.Preload, o.ReadPercent, o.Concurrency, o.Rate = false, 0, 1, 1000
	if r := run(t, o); r.Unserved < 200 {
		t.Fatalf("unserved %d of 250", r.Unserved)
	}
}

func TestInterruptedRunSaysSo(t *testing.T) {
	_, addrs := newFake(t, 1)
	o := quick(addrs)
	o.Duration, o.Preload = time.Hour, false
	b, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r, err := b.Do(ctx)
	if err != nil || !r.Interrupted || r.Failed() == nil || r.Errors != 0 {
		t.Fatalf("%v %+v", err, r)
	}
}

func TestProgressIsPrinted(t *testing.T) {
	_, addrs := newFake(t, 1)
	var out bytes.Buffer
	o := quick(addrs)
	o.Duration, o.Progress = 1200*time.Millisecond, &out
	run(t, o)
	if !strings.Contains(out.String(), "ops/s") {
		t.Fatalf("got %q", out.String())
	}
}

func TestZipfMatchesItsLaw(t *testing.T) {
	const n, draws = 1000, 200_000
	z, rng := newZipf(n), rand.New(rand.NewPCG(1, 2))
	count := make([]int, n)
	for range draws {
		count[z.next(rng)]++
	}
	for _, rank := range []int{0, 1, 9, 99} {
		want := 1 / math.Pow(float64(rank+1), zipfTheta) / z.zetan
		got := float64(count[rank]) / draws
		// The generator is exact for the first two ranks and approximate beyond.
		if tolerance := 0.35; math.Abs(got-want)/want > tolerance {
			t.Errorf("rank %d: got %.4f, want %.4f", rank, got, want)
		}
	}
	if first := float64(count[0]) / draws; math.Abs(first-1/z.zetan) > 0.01 {
		t.Errorf("first key: got %.4f, want %.4f", first, 1/z.zetan)
	}
	for _, small := range []int{1, 2, 3} {
		c := newZipf(small)
		for range 1000 {
			if i := c.next(rng); i < 0 || i >= small {
				t.Fatalf("%d keys: drew %d", small, i)
			}
		}
	}
}

func TestValueRoundTripAndDamage(t *testing.T) {
	for _, size := range []int{0, 10, 100} {
		v := makeValue("run", "key", 42, size)
		if len(v) < size {
			t.Fatalf("size %d: %d bytes", size, len(v))
		}
		if seq, err := readValue("run", "key", size, v); err != nil || seq != 42 {
			t.Fatalf("size %d: %d, %v", size, seq, err)
		}
		for i := range v {
			bad := bytes.Clone(v)
			bad[i] ^= 1
			if seq, err := readValue("run", "key", size, bad); err == nil && seq == 42 {
				t.Fatalf("size %d: a flip of byte %d was not seen", size, i)
			}
		}
		if _, err := readValue("run", "other", size, v); err == nil {
			t.Fatal("a value of another key was taken")
		}
		if _, err := readValue("run", "key", size, v[:len(v)-1]); err == nil {
			t.Fatal("a value that was cut short was taken")
		}
	}
}

func TestOptionsCheck(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"concurrency": func(o *Options) { o.Concurrency = 0 },
		"keys":        func(o *Options) { o.Keys = KeysMax + 1 },
		"mix":         func(o *Options) { o.ReadPercent = 101 },
		"value-size":  func(o *Options) { o.ValueSize = -1 },
		"dist":        func(o *Options) { o.Dist = "latest" },
		"warmup":      func(o *Options) { o.Warmup = o.Duration },
		"rate":        func(o *Options) { o.Rate = -1 },
	} {
		o := Default()
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	o := Default()
	if err := o.Check(); err != nil {
		t.Error(err)
	}
}
