package strong

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

var (
	modelSeeds = flag.Int("strong.seeds", 40, "seeds of the model run")
	modelFirst = flag.Uint64("strong.first", 1, "the first seed")
	modelTrace = flag.Bool("strong.trace", false, "show every message")
)

// The model: some stores, clients of every kind, faults drawn by the seed; then calm, in
// which everything must come back.
//
//	go test ./quorum/strong -run TestModel -strong.seeds 5000 -strong.first 1000
//	go test ./quorum/strong -run TestModel -strong.seeds 1 -strong.first 1234 -strong.trace
func TestModel(t *testing.T) {
	total := map[string]int{}
	steps, ops := 0, 0
	for i := range *modelSeeds {
		seed := *modelFirst + uint64(i)
		w := newWorld(seed)
		if *modelTrace {
			w.trace = func(format string, args ...any) { fmt.Printf("%10v ", w.now); fmt.Printf(format+"\n", args...) }
		}
		if err := w.play(); err != nil {
			t.Fatalf("seed %d at %v: %v\n%v", seed, w.now, err, w)
		}
		steps += w.steps
		ops += w.hist.done
		for k, n := range w.count {
			total[k] += n
		}
	}
	t.Logf("%d seeds, %d steps, %d operations", *modelSeeds, steps, ops)
	for _, k := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%8d %s", total[k], k)
	}
	for _, must := range []string{"T1", "T2", "T3", "T4", "activate", "learners", "snapshot", "crash", "pause", "cut", "suspect", "island", "betray", "burst", "deaf", "rot", "rot with its sum", "rebuilt", "pull", "op ok", "op unknown", "op mismatch", "suspend", "hand-over", "read by a lease",
		"read 0 quorum=false", "read 1 quorum=false", "read 2 quorum=true", "read stale"} {
		if total[must] == 0 && *modelSeeds >= 40 {
			t.Errorf("no %s in %d seeds", must, *modelSeeds)
		}
	}
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 77)), link: map[[2]int]bool{}, lags: map[[2]int]time.Duration{}, created: map[Position]*Entry{}, requests: map[RequestID]uint64{},
		keys: map[string][]*Entry{}, trace: func(string, ...any) {}, wallStart: 1_800_000_000_000, count: map[string]int{}}
	w.hist = history{w: w, adds: map[string]int{}}
	w.faults = drawFaults(w)
	w.opts = Options{Heartbeat: 50 * ms, Retry: 60 * ms, Silence: 400 * ms, Disk: 500 * ms, CommitDelay: 2 * ms, Window: 3 * time.Second, Doubt: 700 * ms,
		LogEntries: 24, CutEntries: 4, CacheBytes: 600, AppendBytes: 300, InFlight: 6, FlightBytes: 700, Pending: 40, PendingBytes: 2500, AloneBytes: 1200, KeyInFlight: 4, Apply: 5, SliceRows: 2}
	if w.chance(0.3) { // slowly, entry by entry
		w.opts.AppendBytes, w.opts.InFlight = 1, 1
	}
	if w.chance(0.3) { // an idle primary learns late that it is none
		w.opts.Heartbeat, w.opts.Retry, w.opts.Silence = 300*ms, 200*ms, 800*ms
		if w.chance(0.5) {
			w.opts.Heartbeat, w.opts.Silence = 800*ms, 1800*ms
		}
	}
	if w.faults.rot > 0 {
		// Or a store that is far behind may pull what is wrong from a primary that
		// nobody has compared with yet: then two of three are wrong.
		w.opts.LogEntries = 10_000
	}
	for i := range w.faults.stores {
		n := &node{w: w, slot: i, sid: w.newSID(), disk: newDisk(), rate: 1}
		w.nodes = append(w.nodes, n)
	}
	var first []hashring.SID
	for _, n := range w.nodes[:w.faults.v] {
		first = append(first, n.sid)
	}
	w.drawLeases()
	w.ring = authority{w: w, cfg: Config{Epoch: 1, Incarnation: 1, Primary: first[0], Sets: [][]hashring.SID{first}}}
	for _, n := range w.nodes {
		n.start()
	}
	for i := range w.faults.clients {
		c := &client{w: w, id: i, last: map[string]seenValue{}, loyal: 0.2}
		if w.chance(0.5) {
			c.loyal = 0.95
		}
		c.reader = i > 0 && w.chance(0.3)
		w.clients = append(w.clients, c)
		w.after(w.between(0, 300*ms), c.loop)
	}
	return w
}

func drawFaults(w *world) faults {
	pick := func(p, most float64) float64 {
		if w.chance(p) {
			return w.rng.Float64() * most
		}
		return 0
	}
	every := func(p float64, least time.Duration) time.Duration {
		if w.chance(p) {
			return w.between(least, 8*least)
		}
		return 0
	}
	f := faults{loss: pick(0.6, 0.25), dup: pick(0.5, 0.3), slow: pick(0.6, 0.15), slowSync: pick(0.5, 0.05),
		crash: every(0.7, 300*ms), pause: every(0.5, 400*ms), cut: every(0.6, 300*ms), change: every(0.7, 250*ms),
		island: every(0.3, 500*ms), betray: every(0.3, 400*ms), burst: every(0.3, 600*ms), lag: every(0.3, 500*ms), deafen: every(0.3, 600*ms), handOver: every(0.3, 500*ms),
		clock: w.chance(0.4), suspect: w.chance(0.3), clients: 2 + w.rng.IntN(5), v: 3, lifetime: 8 * time.Second}
	if w.chance(0.2) {
		f.v = 1 + w.rng.IntN(5)
	}
	if f.rot = every(0.3, 400*ms); f.rot > 0 {
		f.suspect, f.v = false, max(f.v, 3) // two stores of three that are wrong are too many
	}
	f.eager = pick(0.7, 0.2)
	f.stores = min(f.v+1+w.rng.IntN(3), 7)
	return f
}

// play is a run: faults, calm, the verdicts.
func (w *world) play() error {
	w.nemesis()
	if err := w.run(w.faults.lifetime); err != nil {
		return err
	}
	w.heal()
	if err := w.run(w.now + 4*time.Second); err != nil {
		return err
	}
	for _, c := range w.clients {
		c.quiet = true
	}
	if err := w.run(w.now + 3*time.Second); err != nil {
		return err
	}
	if err := w.alive(); err != nil {
		return err
	}
	return w.hist.judge()
}

// heal ends the faults.
func (w *world) heal() {
	w.calm = true
	clear(w.lags)
	w.trace("calm")
	clear(w.link)
	for _, n := range w.nodes {
		n.skew, n.deaf = 0, 0
		if !n.up {
			n.start()
		}
		n.resume()
		n.schedule()
	}
	w.ring.tellAll()
}

// alive: once it is calm the partition serves, everybody has everything, and all states
// are those of the log.
func (w *world) alive() error {
	p := w.at(w.ring.cfg.Primary)
	if !w.hist.leadsAt(p) || !w.ring.cfg.Activated {
		return violation{"liveness", "no active primary"}
	}
	for _, s := range slices.Concat(w.ring.cfg.Members(), w.ring.cfg.Learners) {
		n := w.at(s)
		if n == nil || n.suspect {
			continue
		}
		if n.r.hard.Applied != p.r.hard.Applied || n.r.hard.Commit != n.r.log.lastIndex() {
			return violation{"liveness", fmt.Sprintf("%s has applied %d of %d", n.name(), n.r.hard.Applied, p.r.hard.Applied)}
		}
		if diff := sameState(n.view.gen(n.r.hard.Generation), p.view.gen(p.r.hard.Generation)); diff != "" {
			return violation{"state", fmt.Sprintf("%s and %s differ: %s", n.name(), p.name(), diff)}
		}
		if diff := sameState(n.disk.gen(n.disk.hard.Generation), n.view.gen(n.r.hard.Generation)); diff != "" {
			return violation{"state", fmt.Sprintf("%s: disk and memory differ: %s", n.name(), diff)}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(w.keys)) {
		got := p.view.gen(p.r.hard.Generation).values[testKey(bucket, []byte(k))].Value
		if want := w.valueAt(k, p.r.hard.Applied); got.Live() != want.Live() || got.Live() && got.Version != want.Version {
			return violation{"state", fmt.Sprintf("%s is %s, the log says %s", k, drawValue(got), drawValue(want))}
		}
	}
	return nil
}
