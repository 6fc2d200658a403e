package bench

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// tally counts by reason.
type tally struct {
	mu sync.Mutex
	by map[string]uint64
	n  atomic.Uint64
}

func (t *tally) add(reason string) {
	t.n.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[string]uint64{}
	}
	t.by[reason]++
}

func (t *tally) snapshot() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := maps.Clone(t.by)
	if out == nil {
		out = map[string]uint64{}
	}
	return out
}

// Histogram range in microseconds, three significant digits: beyond an hour every
// number says the same.
const (
	latencyMinUS = 1
	latencyMaxUS = int64(time.Hour / time.Microsecond)
	digits       = 3
)

func newHist() *hdr.Histogram { return hdr.New(latencyMinUS, latencyMaxUS, digits) }

func record(h *hdr.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), latencyMinUS), latencyMaxUS)) // in range by construction
}

// Latency sums up a histogram; microseconds.
type Latency struct {
	Count  int64   `json:"count"`
	MeanUS float64 `json:"mean_us"`
	P50US  int64   `json:"p50_us"`
	P90US  int64   `json:"p90_us"`
	P99US  int64   `json:"p99_us"`
	P999US int64   `json:"p999_us"`
	MaxUS  int64   `json:"max_us"`
}

func summary(h *hdr.Histogram) Latency {
	return Latency{Count: h.TotalCount(), MeanUS: h.Mean(), P50US: h.ValueAtQuantile(50), P90US: h.ValueAtQuantile(90),
		P99US: h.ValueAtQuantile(99), P999US: h.ValueAtQuantile(99.9), MaxUS: h.Max()}
}
