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
	for _, must := range []string{"T1", "T2", "T3", "T4", "activate", "learners", "snapshot", "crash", "pause", "cut", "suspect", "pull", "op ok", "op unknown", "op mismatch",
		"read 0 quorum=false", "read 1 quorum=false", "read 2 quorum=true", "read stale"} {
		if total[must] == 0 && *modelSeeds >= 40 {
			t.Errorf("no %s in %d seeds", must, *modelSeeds)
		}
	}
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 77)), link: map[[2]int]bool{}, deaf: -1, created: map[Position]*Entry{}, requests: map[RequestID]uint64{},
		keys: map[string][]*Entry{}, trace: func(string, ...any) {}, wallStart: 1_800_000_000_000, count: map[string]int{}}
	w.hist = history{w: w, adds: map[string]int{}}
	w.faults = drawFaults(w)
	w.opts = Options{Heartbeat: 50 * ms, Retry: 60 * ms, Silence: 400 * ms, Disk: 500 * ms, CommitDelay: 2 * ms, Window: 3 * time.Second,
		LogEntries: 24, CutEntries: 4, CacheBytes: 600, AppendBytes: 300, InFlight: 6, Pending: 40, KeyInFlight: 4, Apply: 5, SliceRows: 2}
	if w.chance(0.3) { // slowly, entry by entry
		w.opts.AppendBytes, w.opts.InFlight = 1, 1
	}
	if w.chance(0.3) { // an idle primary learns late that it is none
		w.opts.Heartbeat, w.opts.Retry, w.opts.Silence = 300*ms, 200*ms, 800*ms
	}
	for i := range w.faults.stores {
		n := &node{w: w, slot: i, sid: w.newSID(), disk: newDisk()}
		w.nodes = append(w.nodes, n)
	}
	var first []hashring.SID
	for _, n := range w.nodes[:w.faults.v] {
		first = append(first, n.sid)
	}
	w.ring = authority{w: w, cfg: Config{Epoch: 1, Incarnation: 1, Primary: first[0], Sets: [][]hashring.SID{first}}}
	for _, n := range w.nodes {
		n.start()
	}
	for i := range w.faults.clients {
		c := &client{w: w, id: i, last: map[string]seenValue{}}
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
		island: every(0.4, 500*ms),
		clock:  w.chance(0.4), suspect: w.chance(0.3), clients: 2 + w.rng.IntN(5), v: 3, lifetime: 8 * time.Second}
	if w.chance(0.2) {
		f.v = 1 + w.rng.IntN(5)
	}
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

// nemesis starts what goes wrong, each at its own pace.
func (w *world) nemesis() {
	every := func(d time.Duration, do func()) {
		if d == 0 {
			return
		}
		var loop func()
		loop = func() {
			if !w.calm {
				do()
				w.after(w.between(d/4, 2*d), loop)
			}
		}
		w.after(w.between(d/4, 2*d), loop)
	}
	node := func() *node { return w.nodes[w.rng.IntN(len(w.nodes))] }
	every(w.faults.crash, func() { w.crashOne(node()) })
	every(w.faults.pause, func() { w.pauseOne(node()) })
	every(w.faults.cut, w.cutSome)
	every(w.faults.island, w.island)
	every(w.faults.change, func() {
		if w.chance(0.4) {
			w.ring.newPrimary(hashring.SID{})
		} else {
			w.ring.move()
		}
	})
	if w.faults.clock {
		every(300*ms, func() { node().skew = int64(w.rng.IntN(4000) - 2000) })
	}
	every(500*ms, w.reformat)
}

func (w *world) crashOne(n *node) {
	if !n.up {
		return
	}
	if w.chance(0.1) { // all power lost
		for _, o := range w.nodes {
			if o.up {
				w.crashFor(o, w.between(5*ms, 400*ms))
			}
		}
		return
	}
	w.crashFor(n, w.between(2*ms, 1500*ms))
}

func (w *world) crashFor(n *node, d time.Duration) {
	n.crash()
	if w.faults.suspect && w.chance(0.3) && !slices.ContainsFunc(w.nodes, func(n *node) bool { return n.suspect }) {
		w.damage(n)
	}
	w.after(d, func() {
		if !n.up {
			n.start()
		}
	})
}

// damage makes a store forget what it promised and acked; it knows that something is
// wrong with it (D4).
func (w *world) damage(n *node) {
	if slices.Contains(w.ring.target, n.sid) || len(w.ring.cfg.Sets[0]) < 3 || len(w.ring.cfg.Sets[len(w.ring.cfg.Sets)-1]) < 3 {
		return
	}
	n.suspect = true
	w.count["suspect"]++
	w.trace("%s has forgotten", n.name())
	d := n.disk
	keep := d.hard.Commit
	for i := d.hard.Commit + 1; d.entries[i] != nil; i++ {
		if w.chance(0.5) {
			keep = i
		} else {
			break
		}
	}
	d.apply(Write{Kind: CutTail, Index: keep + 1})
	d.hard.Promised = d.hard.Base.Epoch
	if e := d.entries[keep]; e != nil {
		d.hard.Promised = e.Epoch
	}
}

// reformat gives a suspect store that counts nowhere a new disk and name.
func (w *world) reformat() {
	for _, n := range w.nodes {
		if !n.suspect || w.ring.cfg.Holds(n.sid) || !w.ring.cfg.Activated || slices.Contains(w.ring.target, n.sid) {
			continue
		}
		if n.up {
			n.crash()
		}
		n.sid, n.disk, n.suspect = w.newSID(), newDisk(), false
		n.start()
	}
}

func (w *world) pauseOne(n *node) {
	if !n.up || n.paused {
		return
	}
	n.paused = true
	w.count["pause"]++
	life := n.life
	w.after(w.between(20*ms, 2*time.Second), func() {
		if n.life == life {
			n.paused = false
			n.schedule()
		}
	})
}

// cutSome cuts links: one way, one store off, two halves.
func (w *world) cutSome() {
	clear(w.link)
	w.deaf = -1
	if w.chance(0.3) {
		return
	}
	w.count["cut"]++
	off := w.rng.IntN(len(w.nodes))
	if p := w.at(w.ring.cfg.Primary); p != nil && w.chance(0.5) {
		off = p.slot
	}
	if w.chance(0.6) { // it does not hear of the ring either, but clients reach it
		w.deaf = off
	}
	if w.chance(0.4) {
		return
	}
	half := w.rng.Perm(len(w.nodes))
	for i := range w.nodes {
		for j := range w.nodes {
			switch kind := w.rng.IntN(6); {
			case i == off && j != off && half[0]%3 != 0, j == off && i != off && half[0]%3 != 1:
				w.link[[2]int{i, j}] = half[1]%2 == 0
			case half[1]%2 == 1 && (half[i] < len(w.nodes)/2) != (half[j] < len(w.nodes)/2):
				w.link[[2]int{i, j}] = true
			case kind == 0:
				w.link[[2]int{i, j}] = half[0]%2 == 0
			}
		}
	}
}

// island leaves the primary, or a coordinator, alone with its clients: it hears of no
// ring and of no other store, or hears and cannot be heard, or the other way round.
func (w *world) island() {
	clear(w.link)
	w.count["island"]++
	off := w.at(w.ring.cfg.Primary)
	if off == nil || w.chance(0.2) {
		off = w.nodes[w.rng.IntN(len(w.nodes))]
	}
	way := w.rng.IntN(4)
	for i := range w.nodes {
		w.link[[2]int{i, off.slot}] = way != 1
		w.link[[2]int{off.slot, i}] = way != 2
	}
	w.link[[2]int{off.slot, off.slot}] = false
	w.deaf = off.slot
	w.after(w.between(800*ms, 3*time.Second), func() {
		if w.deaf == off.slot {
			clear(w.link)
			w.after(w.between(0, 60*ms), func() { w.deaf = -1 })
		}
	})
}

// heal ends the faults.
func (w *world) heal() {
	w.calm, w.deaf = true, -1
	w.trace("calm")
	clear(w.link)
	for _, n := range w.nodes {
		n.skew = 0
		if !n.up {
			n.start()
		}
		n.paused = false
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
		got := p.view.gen(p.r.hard.Generation).values[keyOf(bucket, []byte(k))].Value
		if want := w.valueAt(k, p.r.hard.Applied); got.Live() != want.Live() || got.Live() && got.Version != want.Version {
			return violation{"state", fmt.Sprintf("%s is %s, the log says %s", k, drawValue(got), drawValue(want))}
		}
	}
	return nil
}
