package load

import (
	"fmt"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what one run of a phase measured. CPU is in microseconds per operation,
// summed over all servers.
type Result struct {
	System    string  `json:"system"`
	Phase     string  `json:"phase"`
	Round     int     `json:"round"`
	Seconds   float64 `json:"seconds"`
	Ops       uint64  `json:"ops"`
	Errs      uint64  `json:"errs"`              // of which failed
	Shed      uint64  `json:"shed"`              // of which the server refused for overload
	Refused   uint64  `json:"refused,omitempty"` // compare-and-set: the key was something else
	Missing   uint64  `json:"missing"`           // reads that found nothing
	Wrong     uint64  `json:"wrong"`             // reads that found another key's value
	Rate      float64 `json:"ops_s"`
	Good      float64 `json:"good_ops_s"`             // neither failed nor shed nor refused
	Target    float64 `json:"target_ops_s,omitempty"` // open loop: what was asked for
	Mean      float64 `json:"mean_ms"`                // latencies: of all but the shed
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	Max       float64 `json:"max_ms"`
	ServerCPU float64 `json:"server_cpu_us_per_op"`
	ServerSys float64 `json:"server_sys_us_per_op"` // of which in the kernel
	ClientCPU float64 `json:"client_cpu_us_per_op"`
	Other     float64 `json:"other_cores"` // cores kept busy by anything else meanwhile
	Idle      float64 `json:"idle_cores"`
	RSS       []int64 `json:"rss_bytes"` // of each server at the end
	WriteKiB  float64 `json:"server_write_kib_per_op"`
	FirstErr  string  `json:"first_err,omitempty"`

	// With a ledger: keys of which a write was acknowledged, those that read back
	// older than that, and those that could not be read back.
	Acked  int `json:"acked_keys,omitempty"`
	Lost   int `json:"lost_keys,omitempty"`
	Unread int `json:"unread_keys,omitempty"`

	Curve Curve `json:"-"` // with Options.Curve
}

// Latencies are kept to 1 % up to a minute; beyond, they count as a minute.
const (
	latencyMax    = int64(60e9) // ns
	latencyDigits = 2
)

// tally is one worker's share of a result; only its worker writes it.
type tally struct {
	h                               *hdr.Histogram
	ops, errs, shed, missing, wrong uint64
	refused                         uint64
	firstErr                        string
	curve                           bool
	points                          Curve
	_                               [64]byte // tallies of two workers never share a cache line
}

func newTally() *tally { return &tally{h: hdr.New(1, latencyMax, latencyDigits)} }

// result sums the workers' tallies and the differences of the meters.
func result(p Phase, tallies []*tally, before, after meter, secs float64) Result {
	r := Result{Phase: p.String(), Seconds: secs, Target: p.Rate, RSS: after.servers.RSS}
	h := hdr.New(1, latencyMax, latencyDigits)
	for _, t := range tallies {
		h.Merge(t.h)
		r.Ops += t.ops
		r.Errs += t.errs
		r.Shed += t.shed
		r.Refused += t.refused
		r.Missing += t.missing
		r.Wrong += t.wrong
		r.Curve = append(r.Curve, t.points...)
		if r.FirstErr == "" {
			r.FirstErr = t.firstErr
		}
	}
	ms := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e6 }
	r.Mean = h.Mean() / 1e6
	r.P50, r.P99, r.P999, r.Max = ms(50), ms(99), ms(99.9), float64(h.Max())/1e6
	servers := after.servers.CPU - before.servers.CPU
	client := after.client - before.client
	r.Rate = float64(r.Ops) / secs
	r.Good = float64(r.Ops-r.Errs-r.Shed-r.Refused) / secs
	r.Idle = (after.idle - before.idle) / secs
	r.Other = max(0, (after.busy-before.busy-servers-client)/secs)
	if n := float64(r.Ops); n > 0 {
		r.ServerCPU = servers * 1e6 / n
		r.ServerSys = (after.servers.Sys - before.servers.Sys) * 1e6 / n
		r.ClientCPU = client * 1e6 / n
		r.WriteKiB = float64(after.servers.WriteBytes-before.servers.WriteBytes) / 1024 / n
	}
	return r
}

// String is the one line printed for a run.
func (r Result) String() string {
	s := fmt.Sprintf("%-9s %-18s #%d %8.0f op/s  p50 %7.3f p99 %7.3f p99.9 %8.3f max %7.1f ms  server %5.1f us/op (kernel %5.1f) client %5.1f  idle %.2f other %.2f cores  rss %s MiB  written %.2f KiB/op  err %d missing %d wrong %d",
		r.System, r.Phase, r.Round, r.Rate, r.P50, r.P99, r.P999, r.Max, r.ServerCPU, r.ServerSys, r.ClientCPU,
		r.Idle, r.Other, mebibytes(r.RSS), r.WriteKiB, r.Errs, r.Missing, r.Wrong)
	if r.Shed > 0 {
		s += fmt.Sprintf("  good %.0f op/s, shed %d", r.Good, r.Shed)
	}
	if r.Refused > 0 {
		s += fmt.Sprintf("  applied %.0f op/s, refused %d", r.Good, r.Refused)
	}
	if r.Acked > 0 {
		s += fmt.Sprintf("  keys acked %d lost %d unread %d", r.Acked, r.Lost, r.Unread)
	}
	if r.FirstErr != "" {
		s += "  first: " + r.FirstErr
	}
	return s
}

func mebibytes(b []int64) string {
	out := make([]int64, len(b))
	for i, v := range b {
		out[i] = v >> 20
	}
	return fmt.Sprint(out)
}
