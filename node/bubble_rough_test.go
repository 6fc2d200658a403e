package node

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	_ "testing/synctest" // sleeps are virtual
	"time"
)

// A cluster that is stopped or killed at any moment of its first seconds is one
// cluster when it is started again.
func TestBubbleInterruptedBootstrap(t *testing.T) {
	const ms = time.Millisecond
	for _, at := range []time.Duration{0, 30 * ms, 260 * ms, 700 * ms, 1010 * ms, 1150 * ms, 1500 * ms, 2950 * ms, 3140 * ms} {
		t.Run(at.String(), func(t *testing.T) {
			inBubble(t, 3, func(b *bubble) {
				for _, n := range b.nodes {
					n.start()
				}
				time.Sleep(at)
				b.nodes[0].kill()
				var wg sync.WaitGroup
				wg.Go(b.nodes[1].stop)
				wg.Go(b.nodes[2].stop)
				wg.Wait()
				b.startAll()
				b.whole(10 * time.Second)
				for _, n := range b.nodes {
					if got, want := n.node.life.cluster(), b.nodes[0].node.life.cluster(); got != want {
						b.t.Errorf("%s is in cluster %s, not %s", n.name, got, want)
					}
				}
			})
		})
	}
}

// Gossip that loses every fifth packet calls nobody dead.
func TestBubbleLossyGossip(t *testing.T) {
	inBubble(t, 3, func(b *bubble) {
		b.net.loss = 0.2
		b.startAll()
		for range 3 * 60 {
			time.Sleep(time.Second)
			for _, n := range b.nodes {
				if deadSeen(n) {
					b.t.Fatalf("%s calls somebody dead", n.name)
				}
			}
		}
	})
}

// A link that is dead one way only, whichever way, keeps no write of a majority from
// its end, and all is well afterwards.
func TestBubbleOneWayCut(t *testing.T) {
	for _, back := range []bool{false, true} {
		t.Run(fmt.Sprintf("back=%v", back), func(t *testing.T) {
			inBubble(t, 3, func(b *bubble) {
				b.startAll()
				ends := []string{b.nodes[0].ip, b.nodes[2].ip}
				if back {
					slices.Reverse(ends)
				}
				b.net.cut(ends[:1], ends[1:], false)
				for i := range 60 {
					for _, n := range b.nodes {
						n.put(fmt.Sprintf("%s-%d", n.name, i), "v", "?w=2")
					}
					time.Sleep(time.Second)
				}
				b.net.heal()
				b.united(30 * time.Second)
				b.whole(10 * time.Second)
				for _, n := range b.nodes {
					b.repair(numbered(n.name+"-", 60)...)
				}
			})
		})
	}
}

// A stop during requests and behind a cut link ends in time, and what was
// acknowledged is there.
func TestBubbleStopUnderLoad(t *testing.T) {
	inBubble(t, 3, func(b *bubble) {
		b.startAll()
		var mu sync.Mutex
		var acked []string
		var load sync.WaitGroup
		halt := make(chan struct{})
		for i := range 12 {
			load.Go(func() {
				for j := range 100 {
					select {
					case <-halt:
						return
					case <-time.After(20 * time.Millisecond):
					}
					key := fmt.Sprintf("k%d-%d", i, j)
					if status, _ := b.nodes[i%3].ask("PUT", "/keys/"+key, "v"); status == 204 {
						mu.Lock()
						acked = append(acked, key)
						mu.Unlock()
					}
				}
			})
		}
		time.Sleep(200 * time.Millisecond)
		b.split(b.nodes[2])
		time.Sleep(50 * time.Millisecond)
		for _, i := range []int{2, 0} {
			began := time.Now()
			b.nodes[i].stop()
			if took := time.Since(began); took > 10*time.Second {
				b.t.Errorf("%s took %s to stop", b.nodes[i].name, took)
			}
		}
		close(halt)
		load.Wait()
		b.net.heal()
		b.nodes[0].start()
		b.nodes[2].start()
		b.united(30 * time.Second)
		b.whole(10 * time.Second)
		b.t.Logf("%d writes acknowledged", len(acked))
		b.repair(acked...)
	})
}

var bubbleRuns = flag.Int("bubble-runs", 2, "rough runs in virtual time")

// Whatever happens to the nodes for minutes, afterwards they are one cluster that
// holds what it acknowledged to a majority.
func TestBubbleRough(t *testing.T) {
	for range *bubbleRuns {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, 3+int(seed%3), func(b *bubble) { rough(b, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func rough(b *bubble, r *rand.Rand) {
	b.startAll()
	b.net.loss, b.net.slow = 0.05, time.Duration(r.IntN(20))*time.Millisecond
	var acked []string
	for i := range 60 {
		n := b.nodes[r.IntN(len(b.nodes))]
		switch other := b.nodes[r.IntN(len(b.nodes))]; r.IntN(8) {
		case 0:
			b.split(n)
		case 1:
			if n != other {
				b.net.cut([]string{n.ip}, []string{other.ip}, false)
			}
		case 2, 3:
			b.net.heal()
		case 4:
			n.stop()
		case 5:
			if n.node != nil {
				n.kill()
			}
		default:
			if n.node == nil {
				n.start()
			}
		}
		key := fmt.Sprintf("k%d", i)
		for _, n := range b.nodes {
			if n.node == nil {
				continue
			}
			own := key + n.name // one writer each: no siblings
			if status, _ := n.ask("PUT", "/keys/"+own+"?w=2&sloppy=false", "v"); status == 204 {
				acked = append(acked, own)
			}
		}
		time.Sleep(time.Duration(r.IntN(20000)) * time.Millisecond)
	}
	b.net.heal()
	for _, n := range b.nodes {
		if n.node == nil {
			n.start()
		}
	}
	b.united(2 * time.Minute)
	b.whole(time.Minute)
	b.repair(acked...)
	b.within(time.Minute, "a Raft leader", func() bool { return b.leader() != nil })
	b.t.Logf("%d writes acknowledged", len(acked))
}
