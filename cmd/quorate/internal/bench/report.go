package bench

import (
	"fmt"
	"slices"
	"time"
)

// listMax bounds the keys a report lists; the counts are always whole.
const listMax = 100

// Report is the outcome of a run. Times in seconds and microseconds as the names say.
type Report struct {
	Addrs       []string `json:"addrs"`
	Bucket      string   `json:"bucket"`
	Loop        string   `json:"loop"` // closed or open
	Concurrency int      `json:"concurrency"`
	Rate        float64  `json:"rate,omitempty"`
	Keys        int      `json:"keys"`
	Dist        string   `json:"dist"`
	ReadPercent int      `json:"read_percent"`
	ValueSize   int      `json:"value_size"`
	R           int      `json:"r,omitempty"`
	W           int      `json:"w,omitempty"`
	MeasuredS   float64  `json:"measured_s"` // after the warm-up
	Interrupted bool     `json:"interrupted,omitempty"`

	Ops       uint64            `json:"ops"` // begun after the warm-up and answered
	Reads     uint64            `json:"reads"`
	Writes    uint64            `json:"writes"`
	NotFound  uint64            `json:"not_found"`
	Errors    uint64            `json:"errors"` // after retries, of the whole run
	ErrorsBy  map[string]uint64 `json:"errors_by_reason"`
	Retries   uint64            `json:"retries"` // of the whole run
	RetriesBy map[string]uint64 `json:"retries_by_reason"`
	Unserved  int64             `json:"unserved,omitempty"` // open loop: due but never sent
	OpsPerS   float64           `json:"ops_per_s"`
	Read      Latency           `json:"read_latency"`
	Write     Latency           `json:"write_latency"`
	FirstErr  string            `json:"first_error,omitempty"`

	Verify *Verify `json:"verify,omitempty"`
}

// Verify is what the check of acknowledged writes found.
type Verify struct {
	Run         string  `json:"run"`
	Strict      bool    `json:"strict"` // R+W>N without fallbacks: a read must not be behind
	KeysWritten int     `json:"keys_written"`
	Acked       uint64  `json:"acked_writes"`
	Unknown     uint64  `json:"unknown_writes"`
	Siblings    int     `json:"keys_with_siblings"`
	SettledLate int     `json:"keys_settled_late"` // right only on a later final read
	Lost        int     `json:"lost_writes"`
	Wrong       int     `json:"wrong_values"` // damaged, foreign or never written
	Stale       uint64  `json:"stale_reads"`  // behind an ack of the same writer; a fault only when strict
	Unread      int     `json:"keys_unread"`  // no answer of all replicas within the settle time
	Faults      []Fault `json:"faults"`       // the first 100, by key
}

// Fault is one key that is not as acknowledged.
type Fault struct {
	Key      string   `json:"key"`
	Kind     string   `json:"kind"` // lost, wrong, stale or unread
	Expected uint64   `json:"expected"`
	Got      []uint64 `json:"got"`
	Detail   string   `json:"detail,omitempty"`
}

func (f Fault) String() string {
	s := fmt.Sprintf("%s %s: acknowledged number %d, read %v", f.Kind, f.Key, f.Expected, f.Got)
	if f.Detail != "" {
		s += " (" + f.Detail + ")"
	}
	return s
}

// Failed says what makes the run a failure; nil when nothing does.
func (r *Report) Failed() error {
	if r.Interrupted {
		return fmt.Errorf("interrupted")
	}
	v := r.Verify
	if v != nil && (v.Lost > 0 || v.Wrong > 0 || v.Unread > 0 || (v.Strict && v.Stale > 0)) {
		stale := uint64(0)
		if v.Strict {
			stale = v.Stale
		}
		return fmt.Errorf("verify failed: %d lost, %d wrong, %d stale, %d unread, %d errors", v.Lost, v.Wrong, stale, v.Unread, r.Errors)
	}
	if r.Errors > 0 {
		return fmt.Errorf("%d operations failed after retries; the first: %s", r.Errors, r.FirstErr)
	}
	return nil
}

// report merges what the workers counted.
func (b *Run) report(took time.Duration) *Report {
	o := b.o
	r := &Report{Addrs: o.Addrs, Bucket: o.Bucket, Loop: "closed", Concurrency: o.Concurrency, Rate: o.Rate, Keys: o.Keys,
		Dist: o.Dist, ReadPercent: o.ReadPercent, ValueSize: o.ValueSize, R: o.R, W: o.W, MeasuredS: took.Seconds(),
		Errors: b.errors.n.Load(), ErrorsBy: b.errors.snapshot(), Retries: b.tries.n.Load(), RetriesBy: b.tries.snapshot(),
		Unserved: b.pace.unserved()}
	if o.Rate > 0 {
		r.Loop = "open"
	}
	if first := b.firstErr.Load(); first != nil {
		r.FirstErr = *first
	}
	read, write := newHist(), newHist()
	for _, w := range b.workers {
		read.Merge(w.read)
		write.Merge(w.write)
		r.NotFound += w.notFound
	}
	r.Read, r.Write = summary(read), summary(write)
	r.Reads, r.Writes = uint64(r.Read.Count), uint64(r.Write.Count)
	r.Ops = r.Reads + r.Writes
	if r.MeasuredS > 0 {
		r.OpsPerS = float64(r.Ops) / r.MeasuredS
	}
	return r
}

func sortFaults(fs []Fault) []Fault {
	slices.SortFunc(fs, func(a, b Fault) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return fs[:min(len(fs), listMax)]
}
