package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
	"github.com/quoratedb/quorate/sim/check"
)

const (
	// settleBound is how long a healed cluster may take to come to rest: gossip notices
	// the living, every hint is pulled, every request ends.
	settleBound = 5 * time.Minute
	// readBound is how long the final reads may take.
	readBound = time.Minute
	// quietFor is longer than any request lives on after its answer.
	quietFor = 10 * time.Second
)

// Run plays one seed. The error is a *UsageError; everything that goes wrong in the
// run is in the Result.
func Run(o Options) (Result, error) {
	if err := o.fill(); err != nil {
		return Result{}, err
	}
	began := time.Now()
	w := newWorld(o, draw(&o))
	w.guard("the simulator", w.play)
	r := w.result()
	r.WallSeconds = time.Since(began).Seconds()
	return r, nil
}

func (w *World) play() {
	for _, n := range w.nodes {
		n.start()
	}
	w.load.start(w)
	w.storm.plan(w)
	w.runUntil(w.opt.Duration, nil)
	if w.failed() {
		return
	}
	w.heal()
	w.load.stopped = true
	w.settle()
	if w.failed() {
		return
	}
	if !converges {
		w.readAll(2)
	}
	if w.failed() {
		return
	}
	w.runUntil(w.now+quietFor, nil)
	w.settle() // something may have expired meanwhile
	w.verify()
	if !w.failed() {
		w.readAll(1)
		w.readStrong()
	}
}

func (w *World) failed() bool { return len(w.violations) > 0 }

// settle waits until nothing is pending, within the bound.
func (w *World) settle() {
	for end := w.now + settleBound; !w.failed(); {
		w.runUntil(w.now+time.Second, nil)
		pending := w.pending()
		if pending == "" {
			return
		}
		if w.now >= end {
			w.violate(Violation{Check: "liveness", Kind: "STUCK", Detail: fmt.Sprintf("healed for %v, and pending are %s", settleBound, pending)})
			return
		}
	}
}

// readAll reads every key from all its owners: everything must be readable.
func (w *World) readAll(times int) {
	ring := w.auth.ringAt(w.auth.state.Version)
	var serving []*node
	for _, n := range w.nodes {
		if n.up {
			serving = append(serving, n)
		}
	}
	if len(serving) == 0 {
		w.violate(Violation{Check: "liveness", Kind: "UNREADABLE", Detail: "no node serves after the healing"})
		return
	}
	reader := &client{id: len(w.load.clients), tokens: map[*keyTruth]*token{}}
	for range times {
		left := slices.Clone(w.truth.order)
		for end := w.now + readBound; len(left) > 0 && !w.failed(); {
			var again []*keyTruth
			var calls []*call
			for _, kt := range left[:min(len(left), 200)] {
				b, ok := ring.BucketByID(kt.bucket)
				if !ok {
					continue
				}
				n := serving[w.load.rand.IntN(len(serving))]
				calls = append(calls, w.load.ask(w, n, reader, &core.Request{Op: core.OpGet, Bucket: b.Name, Key: []byte(kt.key), R: core.All}, nil))
			}
			w.runUntil(w.now+5*time.Second, func() bool { return !slices.ContainsFunc(calls, func(c *call) bool { return !c.done }) })
			for _, c := range calls {
				if c.reply == nil || c.reply.Code != core.OK && c.reply.Code != core.KeyNotFound {
					again = append(again, c.key)
				}
			}
			if len(again) > 0 { // refused at once, perhaps: no use in asking as fast as that
				w.runUntil(w.now+time.Second, nil)
			}
			left = append(again, left[min(len(left), 200):]...)
			if w.now >= end && len(left) > 0 {
				w.violate(w.truth.wrong(left[0], "liveness", "UNREADABLE", "%d keys cannot be read from all owners %v after the healing", len(left), readBound))
			}
		}
	}
}

// verify holds what is left against all that happened.
func (w *World) verify() {
	if p := w.pending(); p != "" {
		w.violate(Violation{Check: "liveness", Kind: "NOT_AT_REST", Detail: p})
	}
	ring := w.auth.ringAt(w.auth.state.Version)
	left := map[check.KeyRef]*version.Object{}
	for _, kt := range w.truth.order {
		if o, ok := w.truth.converged(kt, ring); ok {
			left[check.KeyRef{Bucket: kt.name, Key: kt.key}] = o
			w.truth.account(kt, o, "final")
		}
		if len(w.violations) >= maxViolations {
			return
		}
	}
	for _, n := range w.nodes {
		for _, s := range n.shards {
			w.probe.n[pReadRepair] += s.core.Stats().ReadRepairs
			w.watch(s)
		}
		if err := n.eng.recount(); err != nil {
			w.violate(Violation{Check: "counters", Kind: "D5", Detail: n.name + ": " + err.Error()})
		}
	}
	w.verifyStrong()
	if !w.failed() {
		w.judge(left)
	}
}

func (w *World) result() Result {
	r := Result{Seed: w.opt.Seed, TraceHash: fmt.Sprintf("%016x", w.trace), VirtualSeconds: w.now.Seconds(), Operations: w.load.made,
		Faults: w.storm.begun, Violations: w.violations, Options: w.draw, Outcomes: w.load.counts, Probes: map[string]uint64{}}
	if r.Violations == nil {
		r.Violations = []Violation{}
	}
	for _, f := range w.storm.faults {
		if !w.opt.HasKeep || slices.Contains(w.opt.Keep, f.ID) {
			r.FaultList = append(r.FaultList, *f)
		}
	}
	for p, name := range probeNames {
		if w.probe.n[p] > 0 {
			r.Probes[name] = w.probe.n[p]
		}
	}
	r.ScenariosReached = w.probe.reached()
	if w.opt.KeepHistory {
		r.History = w.load.history
	}
	if !r.OK() {
		r.Replay = w.opt.command()
	}
	return r
}

// command is the one line that plays the run again.
func (o *Options) command() string {
	s := fmt.Sprintf("quorate sim --seed %d --nodes %d --duration %v", o.Seed, o.Nodes, o.Duration)
	if o.Workloads != nil {
		s += " --workload " + strings.Join(o.Workloads, ",")
	}
	if o.Faults != nil {
		s += " --faults " + strings.Join(o.Faults, ",")
	}
	if o.HasKeep {
		ids := make([]string, len(o.Keep))
		for i, k := range o.Keep {
			ids[i] = fmt.Sprint(k)
		}
		s += " --keep " + strings.Join(ids, ",")
		if len(ids) == 0 {
			s += none
		}
	}
	if o.MaxOps > 0 {
		s += fmt.Sprintf(" --max-ops %d", o.MaxOps)
	}
	return s
}
