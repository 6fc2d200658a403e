package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/quoratedb/quorate/quorum/strong"
)

// StrongDraw is what a seed made of strong mode's options.
type StrongDraw struct {
	On         bool          `json:"on"` // there is a strong bucket
	Heartbeat  time.Duration `json:"heartbeat_ns"`
	Silence    time.Duration `json:"silence_ns"` // after which a primary is called silent
	Window     time.Duration `json:"window_ns"`  // in which request ids are known
	LogEntries int           `json:"log_entries"`
	InFlight   int           `json:"in_flight"`
	SliceRows  int           `json:"slice_rows"`
	KeyWrites  int           `json:"key_writes"` // of one key that may wait
	Lease      time.Duration `json:"lease_ns"`   // lent to primaries; 0: none
}

func (s *StrongDraw) draw(r *rand.Rand) {
	s.Heartbeat = []time.Duration{250 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second}[r.IntN(4)]
	s.Silence = max(4*s.Heartbeat, []time.Duration{time.Second, 2 * time.Second, 2 * time.Second, 4 * time.Second}[r.IntN(4)])
	s.Window = []time.Duration{10 * time.Minute, 10 * time.Minute, time.Minute, 15 * time.Second}[r.IntN(4)]
	s.LogEntries = []int{8192, 200, 40, 12}[r.IntN(4)]
	s.InFlight = []int{1024, 1024, 3, 1}[r.IntN(4)]
	s.SliceRows = []int{256, 32, 8}[r.IntN(3)] // a scrub reads one slice a second, and must be through before the settling ends
	s.KeyWrites = []int{64, 64, 2}[r.IntN(3)]
	s.Lease = []time.Duration{0, time.Second, 2 * time.Second}[r.IntN(3)]
}

func (s *StrongDraw) options() strong.Options {
	return strong.Options{Heartbeat: s.Heartbeat, Silence: s.Silence, Window: s.Window, LogEntries: s.LogEntries, CutEntries: (s.LogEntries + 31) / 32,
		InFlight: s.InFlight, SliceRows: s.SliceRows, KeyInFlight: s.KeyWrites, Lease: s.Lease}
}

// hasStrong tells whether the world has a strong bucket: some workload uses it.
func (d *Draw) hasStrong() bool {
	return slices.ContainsFunc(strongWorkloads, func(l workload) bool { return d.Workloads[l.name] > 0 })
}
