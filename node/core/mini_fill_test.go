package core

import (
	"fmt"
	"hash/fnv"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// TestMiniFills plays short random lives in which stores lose their disks amid all the
// rest: never more at a time than a write's other copies bear. Strict reads miss nothing
// and never go backwards, whatever the stages of their partitions, and in the end every
// store is full and nothing that was acked is lost.
//
//	CORE_SEED=17 go test ./node/core -run TestMiniFills -v
//	CORE_RUNS=100000 go test ./node/core -run TestMiniFills
func TestMiniFills(t *testing.T) {
	if s := os.Getenv("CORE_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := playFills(seed, true)
		t.Log("\n" + strings.Join(m.w.log, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	runs := uint64(200)
	if s := os.Getenv("CORE_RUNS"); s != "" {
		runs, _ = strconv.ParseUint(s, 10, 64)
	}
	var next, replaced, filled, acked, reads atomic.Uint64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := next.Add(1); seed <= runs && !t.Failed(); seed = next.Add(1) {
				m, w, err := playFills(seed, false)
				if err != nil {
					t.Errorf("seed %d: %v\nplay it again: CORE_SEED=%d go test ./node/core -run TestMiniFills -v", seed, err, seed)
				}
				replaced.Add(uint64(w.replaced))
				filled.Add(uint64(len(w.filled)))
				acked.Add(uint64(m.reached.Acked))
				reads.Add(uint64(m.reached.Reads))
			}
		})
	}
	wg.Wait()
	t.Logf("%d runs: %d stores replaced, %d places filled, %d writes acked, %d reads", runs, replaced.Load(), filled.Load(), acked.Load(), reads.Load())
	if !t.Failed() && runs >= 100 && (replaced.Load() < runs/2 || filled.Load() < runs || acked.Load() < runs) {
		t.Error("too little has happened")
	}
}

type miniFills struct {
	*fillWorld
	replaced int
	most     int                      // stores that may be building at a time
	began    map[uint64]time.Duration // sessions, by ring version
}

func playFills(seed uint64, logs bool) (m *mini, w *miniFills, err error) {
	n := []int{3, 3, 5}[seed%3]
	names := "abcdefg"[:n+int(seed/3)%2]
	fw := &fillWorld{world: emptyWorld(storyT{}, names, seed), apart: map[string]bool{}}
	w = &miniFills{fillWorld: fw, most: n / 2, began: map[uint64]time.Duration{}}
	m = &mini{w: fw.world, tokens: map[string]*token{}, blocked: map[[2]*wnode]fate{}}
	if logs {
		fw.log, fw.trace = []string{}, fnv.New64a()
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(runtime.Error); ok {
				panic(fmt.Sprintf("seed %d: %v", seed, p))
			}
			err = fmt.Errorf("%v", p)
		}
	}()
	m.set(names, seed)
	w.begin(names, n, m)
	for range 60 {
		if r := m.w.rng; r.IntN(12) == 0 {
			w.wipe(m)
		} else {
			m.act()
		}
		m.w.run(m.pause())
		if len(m.errs) > 0 {
			return m, w, m.errs[0]
		}
	}
	w.lag = nil
	clear(m.blocked)
	m.lossy = 0
	w.heal()
	w.until("every store is full", w.settled)
	return m, w, m.end()
}

// begin gives the lives a ring state that takes commands, strict writes, and exchanges.
func (w *miniFills) begin(names string, n int, m *mini) {
	m.bucket = "strict"
	s := ringState(names, len(w.ring.Partitions), n)
	s.Version, s.Feature, s.Cluster = 20, hashring.FeatureBuilding, sidOf("cluster")
	for i := range s.Stores {
		s.Stores[i].FeatureMax = hashring.FeatureBuilding
	}
	w.ring = hashring.NewRing(s)
	for _, n := range w.nodes {
		w.step(n, Event{Ring: w.ring})
	}
	w.lag = func() time.Duration { return time.Duration(w.rng.IntN(300)) * time.Millisecond }
	deaf := []float64{0, 0, 0.3, 0.6}[w.rng.IntN(4)]
	w.deaf = func(_, to *wnode, m *Message) bool { // filling is slower than agreeing, now and then
		_, building := w.ring.Building(m.Partition, to.sid)
		return building && w.rng.Float64() < deaf
	}
	w.propose = w.onPropose
	w.onFilled = func(p *hashring.Place) {
		m.fail(w.holdsAll(m.truth, p))
		w.began[w.ring.Version] = w.now
	}
	w.decide = func(Proposal) verdict { return verdict(w.rng.IntN(4)) }
}

// wipe takes a node's disk, if the rest bears it; its new store takes the old one's place.
func (w *miniFills) wipe(m *mini) {
	n := m.anyNode()
	building := map[hashring.SID]bool{}
	for p := range w.ring.Partitions {
		for _, s := range w.ring.Partitions[p].Building {
			building[s] = true
		}
	}
	st, ok := w.ring.Store(n.sid)
	if len(building) >= w.most || !ok {
		return
	}
	if n.core != nil {
		w.crash(n, false)
	}
	was := n.sid
	n.sid = sidOf(fmt.Sprint(n.name, w.replaced))
	err := w.command(hashring.Command{Kind: hashring.KindReplaceStore, ReplaceStore: &hashring.ReplaceStore{Old: was, Boot: st.Boot,
		Store: hashring.Store{SID: n.sid, Node: st.Node, Boot: 1, State: hashring.StoreUp, FeatureMax: hashring.FeatureBuilding, API: "z:1", Gossip: "z:2", Peer: "z:3"}}})
	if err != nil {
		n.sid = was
		return
	}
	w.replaced++
	w.began[w.ring.Version] = w.now
	w.note("%s has lost its disk, %s takes the place of %s", n.name, n.sid.Short(), was.Short())
	n.disk = newDisk()
	if w.rng.IntN(2) == 0 {
		w.start(n, w.rng.IntN(2) == 0)
	}
}

// holdsAll: a store that has become full holds what was acked before its session began (E13).
func (w *miniFills) holdsAll(t *truth, p *hashring.Place) error {
	n := w.bySID(p.SID)
	for _, a := range t.attempts {
		at := w.ring.PartitionOf(hashring.Hash("strict", []byte(a.key)))
		if at != p.Partition || !a.acked() || a.call.reply.NothingWritten || a.call.ended >= w.began[p.Session] {
			continue
		}
		o, _ := n.disk.Record(at, 3, []byte(a.key))
		held := false
		for _, mint := range a.mints {
			held = held || o != nil && o.Context.Covers(mint.dot)
		}
		if !held {
			return fmt.Errorf("UNFILLED: %s is full and lacks %s of %s, acked at %v, before its session began at %v; it has %v",
				n.name, a.call.req.Value, a.key, a.call.ended, w.began[p.Session], o)
		}
	}
	return nil
}

// heal brings everybody back.
func (w *miniFills) heal() {
	w.decide, w.deaf = nil, nil
	for _, n := range w.nodes {
		if n.core == nil {
			w.start(n, true)
		}
		w.step(n, Event{Confirmed: true}, Event{Space: Yes}, Event{Ring: w.ring})
		w.release(n)
	}
	alive := ""
	for _, n := range w.nodes {
		alive += n.name
	}
	w.view("", alive)
}
