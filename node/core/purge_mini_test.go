package core

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// TestMiniPurge plays the random lives of TestMiniSim with purge rounds amid them, in
// any order that crashes, late messages, late ring states, lost commits and views that
// lie bring about. In the end nothing that was deleted is back, nothing is lost, and
// once all is quiet every tombstone goes.
//
//	CORE_SEED=17 go test ./node/core -run TestMiniPurge -v  one of them, told in full
//	CORE_RUNS=100000 go test ./node/core -run TestMiniPurge more of them
func TestMiniPurge(t *testing.T) {
	if s := os.Getenv("CORE_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		w, _, err := playPurge(seed, true)
		t.Log("\n" + strings.Join(w.log, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	runs := uint64(150)
	if s := os.Getenv("CORE_RUNS"); s != "" {
		runs, _ = strconv.ParseUint(s, 10, 64)
	}
	var next, amid, late, dropped, converted, aborted, guarded atomic.Uint64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := next.Add(1); seed <= runs && !t.Failed(); seed = next.Add(1) {
				w, before, err := playPurge(seed, false)
				if err != nil {
					t.Errorf("seed %d: %v\nplay it again: CORE_SEED=%d go test ./node/core -run TestMiniPurge -v", seed, err, seed)
					return
				}
				amid.Add(uint64(before))
				late.Add(uint64(w.rounds - before))
				for _, n := range w.nodes {
					s := n.core.Stats().Purge
					dropped.Add(s.Dropped)
					guarded.Add(n.core.Stats().Guarded)
					converted.Add(s.Converted)
					for _, count := range s.Aborted {
						aborted.Add(count)
					}
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d runs: %d rounds amid the faults, %d after them, %d aborted; %d dropped, %d converted, %d guarded", runs, amid.Load(), late.Load(), aborted.Load(), dropped.Load(), converted.Load(), guarded.Load())
	if amid.Load() < runs || aborted.Load() < runs/4 || dropped.Load() < runs || converted.Load() == 0 {
		t.Error("the rounds came across too little")
	}
}

func playPurge(seed uint64, logs bool) (w *purgeWorld, before int, err error) {
	names := "abcdef"[:3+seed%4]
	w = emptyPurgeWorld(storyT{}, names, 1+int(seed/4)%2, seed)
	m := &mini{w: w.world, tokens: map[string]*token{}, blocked: map[[2]*wnode]fate{}, ttl: true}
	if logs {
		w.log = []string{}
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(runtime.Error); ok {
				panic(fmt.Sprintf("seed %d: %v", seed, p))
			}
			err = fmt.Errorf("%v", p)
		}
	}()
	w.confirms = true
	r := w.rng
	w.purgeEvery = time.Duration(300+r.IntN(1500)) * time.Millisecond
	w.ringDelay = func() time.Duration { return time.Duration(1+r.IntN(600)) * time.Millisecond }
	w.decide = func(Proposal) verdict { return verdict(max(0, r.IntN(8)-5)) }
	m.set(names, seed)
	w.allExpire, m.deletes = true, 2+r.IntN(6)
	for i := range r.IntN(12) { // many keys: some are left alone
		m.keys = append(m.keys, fmt.Sprint("l", i))
	}
	late := r.Float64() / 4
	w.fate = func(from, to *wnode, msg *Message) fate {
		if (msg.Kind == MsgWrite || msg.Kind == MsgHint) && r.Float64() < late {
			return hold
		}
		return m.fateOf(from, to, msg)
	}
	m.truth.settled = func(key string) version.Vector {
		return vectorOf(w.ring.PurgeClock(w.ring.PartitionOf(hashring.Hash(m.bucket, []byte(key)))))
	}
	for range 5 + r.IntN(5) {
		w.storm(m)
		w.heal(m)
		w.calm(m)
		if len(m.errs) > 0 {
			return w, 0, m.errs[0]
		}
	}
	before = w.rounds
	m.quiet = func() {
		w.decide = nil
		w.purged("every tombstone goes")
	}
	return w, before, m.end()
}

// storm is a while in which most goes wrong.
func (w *purgeWorld) storm(m *mini) {
	for range w.rng.IntN(12) {
		m.act()
		w.run(m.pause())
	}
}

// heal lets a round begin. What is late stays late.
func (w *purgeWorld) heal(m *mini) {
	clear(m.blocked)
	for _, n := range w.nodes {
		if n.core == nil {
			w.start(n, w.rng.IntN(2) == 0)
		}
		w.step(n, Event{Space: Yes})
		w.release(n)
	}
	w.view("", everybody)
}

// calm is a while in which a round may get through, and something may come between.
func (w *purgeWorld) calm(m *mini) {
	r := w.rng
	for range 5 + r.IntN(10) {
		switch k := r.IntN(20); {
		case k < 12:
			if n := m.anyNode(); n.core != nil {
				m.client(n)
			}
		case k < 14:
			m.act()
		case k < 16:
			w.lateOne()
		}
		w.run(time.Duration(r.IntN(1000)) * time.Millisecond)
	}
}

// lateOne delivers one of the messages that are late.
func (w *purgeWorld) lateOne() {
	if n := len(w.held); n > 0 {
		i := w.rng.IntN(n)
		p := w.held[i]
		w.held = slices.Delete(w.held, i, i+1)
		w.carry(w.bySID(p.m.From), p.to, p.m)
	}
}
