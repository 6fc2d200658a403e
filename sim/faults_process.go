package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// classes of faults. Those that lose what was synced are off until stores can be
// refilled from their peers.
var classes = slices.Concat(processFaults, networkFaults, legalFaults, otherFaults, []class{cloneFault}, strongFaults)

var processFaults = []class{
	{name: "kill", about: "a process or machine dies and comes back", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For, f.X = some(r, d, 1), lasting(r, 5*time.Second, time.Minute), float64(r.IntN(2))
	}, begin: func(w *World, f *Fault) {
		n := w.nodes[f.nodes[0]]
		n.kill(f.X == 1)
		f.undone(n.start)
	}},
	{name: "kill_owners", about: "several owners of a partition die", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.For, f.X = lasting(r, 5*time.Second, 30*time.Second), float64(r.IntN(d.Partitions))
	}, begin: func(w *World, f *Fault) {
		r := f.rand()
		owners := w.auth.state.Partitions[int(f.X)].Replicas
		for _, i := range r.Perm(len(owners))[:1+r.IntN(len(owners))] {
			n := w.bySID[owners[i]] // the machine, whatever store it has by now
			n.kill(r.IntN(2) == 0)
			f.undone(n.start)
		}
	}},
	{name: "kill_all", about: "all lose power at once", draw: func(f *Fault, r *rand.Rand, _ *Draw) {
		f.For = between(r, 10*time.Millisecond, 3*time.Second)
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pKillAll)
		w.probe.hitIf(w.now-w.probe.lastAck < 5*time.Millisecond, pCrashAfterAck)
		for _, n := range w.nodes {
			n.kill(true)
		}
		w.truth.durable("power loss")
		r := f.rand()
		for _, n := range w.nodes {
			f.undone(func() { w.do(between(r, 0, time.Second), n.start) })
		}
	}},
	{name: "storm", about: "one or two nodes restart again and again", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 1+r.IntN(2)), between(r, 2*time.Second, 8*time.Second)
	}, begin: func(w *World, f *Fault) {
		r := f.rand()
		for _, i := range f.nodes {
			n := w.nodes[i]
			var again func()
			again = func() {
				n.kill(false)
				f.later(w, between(r, time.Millisecond, 500*time.Millisecond), n.start)
				f.later(w, between(r, 500*time.Millisecond, 2*time.Second), again)
			}
			again()
			f.undone(n.start)
		}
	}},
	{name: "pause", about: "a process stands still (SIGSTOP) for up to two minutes", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For, f.X = some(r, d, 1), lasting(r, 6*time.Second, 2*time.Minute), float64(r.IntN(3)/2)
	}, begin: func(w *World, f *Fault) {
		n := w.nodes[f.nodes[0]]
		if !n.up {
			return
		}
		w.probe.hit(pPause)
		inc := n.inc
		n.pause(f.X == 1)
		f.undone(func() {
			if n.inc == inc {
				n.resume()
			}
		})
	}},
	{name: "stall", about: "a disk hangs for up to a minute", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 1), lasting(r, 3*time.Second, time.Minute)
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pStall)
		n := w.nodes[f.nodes[0]]
		n.disk.stalled = max(n.disk.stalled, w.now+f.For)
	}},
	{name: "eio", about: "a sync fails once: the process ends (D2)", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 1), between(r, 2*time.Second, 10*time.Second)
	}, begin: func(w *World, f *Fault) {
		n := w.nodes[f.nodes[0]]
		n.disk.eio = true
		f.undone(func() { n.disk.eio = false; n.start() })
	}},
	{name: "enospc", about: "a disk is below its reserve of free space (D3)", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 1+r.IntN(2)), lasting(r, 10*time.Second, time.Minute)
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pLowSpace)
		for _, i := range f.nodes {
			n := w.nodes[i]
			n.space(+1)
			f.undone(func() { n.space(-1) })
		}
	}},
	{name: "overload", about: "many times the load on processors that are slow", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For, f.X = some(r, d, d.Nodes), between(r, time.Second, 4*time.Second), 3+5*r.Float64()
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pOverload)
		w.load.boost *= f.X
		slow := float64(10*time.Millisecond) / float64(w.draw.StepTime)
		for _, i := range f.nodes {
			w.nodes[i].slow = slow
		}
		f.undone(func() {
			w.load.boost /= f.X
			for _, i := range f.nodes {
				w.nodes[i].slow, w.nodes[i].calm = 1, w.now
			}
		})
	}},
}

func (f *Fault) rand() *rand.Rand { return rand.New(rand.NewPCG(f.seed, 2)) }

// space crosses the reserve.
func (n *node) space(by int) {
	was := n.disk.full > 0
	n.disk.full += by
	switch is := n.disk.full > 0; {
	case is == was || !n.up:
	case is:
		n.tell(core.Event{Space: core.No})
	default:
		n.tell(core.Event{Space: core.Yes})
	}
}

var otherFaults = []class{
	{name: "clock_jump", about: "a wall clock jumps by 10 ms to a day, either way", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes = some(r, d, 1)
		most := []float64{10, 1000, 60_000, 3600_000, 86_400_000}[r.IntN(5)]
		f.X = float64(int64((2*r.Float64() - 1) * most))
	}, begin: func(w *World, f *Fault) {
		n := w.nodes[f.nodes[0]]
		w.probe.hitIf(f.X < 0, pClockBack)
		n.clock.offMS += int64(f.X)
		w.note("%s: the wall clock jumps by %v ms", n.name, f.X)
	}},
	{name: "clock_back_restart", about: "a machine dies and comes back with an older clock", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For, f.X = some(r, d, 1), between(r, 10*time.Millisecond, 5*time.Second), float64(r.IntN(600_000))
	}, begin: func(w *World, f *Fault) {
		n := w.nodes[f.nodes[0]]
		w.probe.hit(pClockBackRestart)
		n.kill(true)
		n.clock.offMS -= int64(f.X)
		f.undone(n.start)
	}},
	{name: "clock_drift", about: "clocks run up to a tenth too fast or slow", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For, f.X = some(r, d, 1+r.IntN(3)), between(r, 5*time.Second, time.Minute), 0.9+0.2*r.Float64()
	}, begin: func(w *World, f *Fault) {
		for _, i := range f.nodes {
			n := w.nodes[i]
			n.clock.setRate(w.now, w.legalRate(f.X))
			f.undone(func() { n.clock.setRate(w.now, 1) })
		}
	}},
	{name: "clock_strobe", about: "a wall clock jumps back and forth", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For, f.X = some(r, d, 1), between(r, time.Second, 10*time.Second), float64(1+r.IntN(10_000))
	}, begin: func(w *World, f *Fault) {
		n, by := w.nodes[f.nodes[0]], int64(f.X)
		r := f.rand()
		moved := false
		var again func()
		again = func() {
			if moved = !moved; moved {
				n.clock.offMS += by
			} else {
				n.clock.offMS -= by
			}
			f.later(w, between(r, 10*time.Millisecond, 500*time.Millisecond), again)
		}
		again()
		f.undone(func() {
			if moved {
				n.clock.offMS -= by
			}
		})
	}},
	{name: "gossip_lies", about: "gossip calls the dead alive and the living dead", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.For = lasting(r, 8*time.Second, time.Minute)
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pFalseView)
		r := f.rand()
		for _, n := range w.nodes {
			if r.IntN(2) == 0 {
				continue
			}
			n.view.lies = map[*node]bool{}
			for _, o := range w.nodes {
				if o != n && r.IntN(2) == 0 {
					n.view.lies[o] = r.IntN(3) == 0
				}
			}
			f.undone(func() { n.view.lies = nil })
		}
	}},
	{name: "authority_outage", about: "the ring authority has no quorum", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.For = lasting(r, 15*time.Second, 3*time.Minute)
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pOutage)
		w.auth.outage++
		f.undone(func() { w.auth.outage-- })
	}},
	{name: "epochs", about: "epochs of partitions move on, nodes hear of it one by one", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.For, f.X = between(r, time.Second, 5*time.Second), float64(1+r.IntN(4))
	}, begin: func(w *World, f *Fault) {
		r := f.rand()
		for i := range int(f.X) {
			f.later(w, time.Duration(i)*f.For/5, func() { w.auth.moveEpoch(uint32(r.IntN(w.draw.Partitions))) })
		}
		f.undone(func() {})
	}},
	{name: "stale_ring", about: "nodes hear nothing of new ring states, and coordinate by old ones", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 1+r.IntN(d.Nodes)), lasting(r, 10*time.Second, time.Minute)
	}, begin: func(w *World, f *Fault) {
		for _, i := range f.nodes {
			n := w.nodes[i]
			n.deaf++
			f.undone(func() { n.deaf-- })
		}
	}},
	{name: "buckets", about: "buckets are made and changed while the run goes on", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.X = float64(r.IntN(3))
	}, begin: func(w *World, f *Fault) { w.auth.changeBuckets(f) }},
	{name: "gone", about: "a machine never comes back: nothing here repairs that", off: true, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes = some(r, d, 1)
	}, begin: func(w *World, f *Fault) {
		n := w.nodes[f.nodes[0]]
		n.kill(true)
		n.gone = true
	}},
	{name: "bit_flip", about: "a synced record fails its checksum", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes = some(r, d, 1)
	}, begin: func(w *World, f *Fault) {
		if r := f.rand(); r.IntN(3) > 0 || !w.nodes[f.nodes[0]].flipLog(r) {
			w.nodes[f.nodes[0]].flip(r)
		}
	}},
	{name: "leaf_rot", about: "a row of the leaf index does not fit its record (D5)", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes = some(r, d, 1)
	}, begin: func(w *World, f *Fault) { w.nodes[f.nodes[0]].rot(f.rand()) }},
	{name: "wipe", about: "a store's directory is gone: a new one takes its place", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 1), lasting(r, 5*time.Second, 30*time.Second)
	}, begin: func(w *World, f *Fault) {
		if n := w.nodes[f.nodes[0]]; w.canLose(n) {
			w.probe.hit(pWiped)
			n.loseStore("wiped")
			f.undone(n.start)
		}
	}},
	{name: "rollback", about: "a store is put back to an older image: it is set aside, and a new one takes its place", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 1), between(r, 5*time.Second, 30*time.Second)
	}, begin: func(w *World, f *Fault) {
		n := w.nodes[f.nodes[0]]
		if n.eng.boots == 0 {
			return // it was never started
		}
		image, store := n.eng.clone(), n.store
		f.undone(func() {
			n.kill(true)
			n.start() // one boot later the image is older than what is registered
			w.do(2*time.Second, func() { n.rollBack(image, store) })
		})
	}},
}

// rollBack puts an older image of the store in its place, if it has been registered
// since, and everybody knows: only then can it be told, however often it was started (D6).
func (n *node) rollBack(image *engine, store int) {
	w := n.w
	st, known := w.auth.ringAt(w.auth.state.Version).Store(n.sid)
	if !known || n.doubted || n.store != store || slices.Contains(image.starts, st.Nonce) || !w.canLose(n) || !n.startKnown(st.Nonce) {
		return
	}
	n.kill(true)
	w.note("%s is put back to boot %d", n.name, image.boots)
	w.truth.lost(n, n.eng)
	n.eng, n.back, image.since = image, true, w.now
	clear(w.truth.acked[n.idx])
	w.truth.durable("rollback")
	n.start()
}

// startKnown tells that all others know a registered start of n. Where the authority
// cannot be asked they judge a start by what they know, and who knows an older one only
// takes an image of that age for the store.
func (n *node) startKnown(nonce uint64) bool {
	for _, o := range n.w.nodes {
		if o == n {
			continue
		}
		if o.ring == nil {
			return false
		}
		if st, ok := o.ring.Store(n.sid); !ok || st.Nonce != nonce {
			return false
		}
	}
	return true
}

// moveEpoch commits a new epoch of a partition with the same owners, as the stages of
// a move will.
func (a *authority) moveEpoch(p uint32) {
	if a.outage > 0 {
		return
	}
	next := *a.state
	next.Version++
	next.Partitions = append([]hashring.Partition{}, a.state.Partitions...)
	part := &next.Partitions[p]
	part.Epoch++
	if next.Feature >= hashring.FeatureStrong {
		part.Placed = part.Epoch
	}
	if len(part.Building) > 0 {
		part.Session = next.Version
	}
	a.w.probe.hit(pEpochMoved)
	a.moved++
	a.publish(&next)
}

// maxLate bounds the buckets made in a run.
const maxLate = 20

func (a *authority) changeBuckets(f *Fault) {
	if a.outage > 0 {
		return
	}
	if f.X == 0 && len(a.late) > 0 { // a change that takes nothing away from the checks: the default W and R of a sloppy bucket
		one := 1 + int(f.seed%2)
		_ = a.apply(hashring.Command{Kind: hashring.KindUpdateBucket, UpdateBucket: &hashring.UpdateBucket{Name: a.late[0], R: &one}}) // the same again is refused
		return
	}
	if len(a.late) >= maxLate {
		return
	}
	name := fmt.Sprintf("late%d", len(a.late))
	a.must(hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: name, Sloppy: true, N: 1 + int(f.seed%uint64(a.w.draw.Replicas))}})
	a.late = append(a.late, name)
	a.w.probe.hit(pLateBucket)
}
