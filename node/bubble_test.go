package node

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	_ "testing/synctest" // sleeps are virtual
	"time"
)

// One node comes back with what it held, and leaves nothing behind.
func TestBubbleOneNode(t *testing.T) {
	inBubble(t, 1, func(b *bubble) {
		n := b.nodes[0]
		b.startAll()
		for i := range 20 {
			n.put(fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i), "")
		}
		n.stop()
		b.startAll()
		for i := range 20 {
			n.get(fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i), "")
		}
	})
}

// Three nodes make one ring; what one takes, all give.
func TestBubbleThreeNodes(t *testing.T) {
	inBubble(t, 3, func(b *bubble) {
		b.startAll()
		for i, n := range b.nodes {
			n.put(fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i), "?w=3")
		}
		for _, n := range b.nodes {
			for i := range b.nodes {
				n.get(fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i), "?r=3")
			}
		}
	})
}

// A killed node misses writes. When it is back it holds what it had acknowledged, and
// gets the rest: of stores beside the owners by hints, else by reads.
func TestBubbleKill(t *testing.T) {
	for _, nodes := range []int{3, 4} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			inBubble(t, nodes, func(b *bubble) { kill(b, nodes > 3) })
		})
	}
}

func kill(b *bubble, hints bool) {
	b.startAll()
	n1, n2, last := b.nodes[0], b.nodes[1], b.nodes[len(b.nodes)-1]
	before, during := numbered("before", 40), numbered("during", 40)
	for _, key := range before {
		n1.put(key, "v", "?w=3")
	}
	last.kill()
	for i, key := range during {
		b.nodes[i%2].put(key, "v", "?w=2")
	}
	b.within(10*time.Second, "the killed node is found dead", func() bool { return deadSeen(n1) && deadSeen(n2) })
	time.Sleep(time.Minute)
	if hints != (b.hints() > 0) {
		b.t.Errorf("%d hints", b.hints())
	}
	last.start()
	b.within(20*time.Second, "the killed node is ready again", last.ready)
	b.united(20 * time.Second)
	if hints {
		b.quiet(time.Minute)
	} else {
		b.repair(during...)
	}
	last.alone(func() {
		for _, key := range append(before, during...) {
			if last.owns(key) {
				last.get(key, "v", "?r=1")
			}
		}
	})
}

// deadSeen tells that the node holds somebody for dead.
func deadSeen(n *bubbleNode) bool {
	for _, st := range n.node.ring.Load().Stores {
		if n.node.seenDead(st.SID) {
			return true
		}
	}
	return false
}

// Of a cluster in two parts only the majority takes strict writes. However long it
// lasted, the parts find each other afterwards and hold the same.
func TestBubblePartition(t *testing.T) {
	for _, lasts := range []time.Duration{time.Second, time.Minute, 10 * time.Minute} {
		t.Run(lasts.String(), func(t *testing.T) {
			inBubble(t, 3, func(b *bubble) {
				b.startAll()
				partition(b, lasts)
			})
		})
	}
}

// The same where nobody has --join addresses to try again: only the addresses of the
// ring lead the parts to each other.
func TestBubblePartitionWithoutJoin(t *testing.T) {
	inBubble(t, 3, func(b *bubble) {
		b.startAll()
		for _, n := range b.nodes {
			n.stop()
			n.join = nil
		}
		b.startAll()
		b.whole(2 * time.Second) // gossip finds the others by its first rejoin
		partition(b, 10*time.Minute)
	})
}

func partition(b *bubble, lasts time.Duration) {
	n1, n2, n3 := b.nodes[0], b.nodes[1], b.nodes[2]
	b.split(n3)
	for i := range 20 {
		n1.put(fmt.Sprintf("major%d", i), "v", "?w=2&sloppy=false")
	}
	if status, got := n3.ask("PUT", "/keys/minor?w=2&sloppy=false", "refused"); status < 500 {
		b.t.Errorf("strict write in the minority at once: %d: %s", status, got)
	}
	time.Sleep(lasts)
	if status, got := n3.ask("PUT", "/keys/minor?w=2&sloppy=false", "refused"); status < 500 {
		b.t.Errorf("strict write in the minority later: %d: %s", status, got)
	}
	if status, got := n3.ask("GET", "/keys/major1?r=2&sloppy=false", ""); status < 500 {
		b.t.Errorf("strict read in the minority: %d: %s", status, got)
	}
	n3.put("sloppy", "v", "?w=1")
	n2.put("late", "v", "?w=2&sloppy=false")
	b.net.heal()
	b.united(2 * time.Minute)
	b.whole(time.Minute)
	b.repair(append(numbered("major", 20), "sloppy", "late")...)
	for _, n := range b.nodes {
		n.alone(func() {
			n.get("sloppy", "v", "?r=1")
			n.get("late", "v", "?r=1")
			for i := range 20 {
				n.get(fmt.Sprintf("major%d", i), "v", "?r=1")
			}
		})
		b.united(2 * time.Minute)
		b.whole(time.Minute)
	}
	n3.put("strict", "v", "?w=3&sloppy=false")
}

// Three parts of one node each for a long time become one cluster again, although
// every memberlist has forgotten the others; a restart on the way changes nothing.
func TestBubbleAllApart(t *testing.T) {
	inBubble(t, 3, func(b *bubble) {
		b.startAll()
		for _, n := range b.nodes {
			b.split(n)
		}
		time.Sleep(10 * time.Minute)
		for i, n := range b.nodes {
			n.put(fmt.Sprintf("k%d", i), "v", "?w=1")
		}
		b.nodes[1].kill()
		b.nodes[1].start()
		time.Sleep(10 * time.Minute)
		b.net.heal()
		b.united(2 * time.Minute)
		b.whole(time.Minute)
		for _, n := range b.nodes {
			for i := range b.nodes {
				n.get(fmt.Sprintf("k%d", i), "v", "?r=3&sloppy=false")
			}
		}
	})
}

// The data path never asks Raft: without its quorum, requests, stops and starts go on.
func TestBubbleWithoutRaft(t *testing.T) {
	switches := filepath.Join(t.TempDir(), "switches")
	pause := func(t *testing.T, on bool) {
		if err := os.WriteFile(switches, fmt.Appendf(nil, `{"raft-paused":%v}`, on), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pause(t, false)
	inBubble(t, 3, func(b *bubble) {
		for _, n := range b.nodes {
			n.conf = func(c *Config) { c.TestingSwitches = switches }
		}
		b.startAll()
		pause(b.t, true)
		time.Sleep(time.Minute)
		n2 := b.nodes[1]
		if status, got := n2.ask("POST", "/v1/buckets", `{"name":"now"}`); status < 500 {
			b.t.Errorf("a bucket without a quorum of Raft: %d: %s", status, got)
		}
		for i, n := range b.nodes {
			n.put(fmt.Sprintf("k%d", i), "v", "?w=3&sloppy=false")
		}
		n2.stop()
		b.nodes[0].put("meanwhile", "v", "?w=2&sloppy=false")
		n2.start()
		b.within(20*time.Second, "ready without Raft", n2.ready)
		b.united(20 * time.Second)
		b.whole(20 * time.Second)
		for i, n := range b.nodes {
			n.get(fmt.Sprintf("k%d", i), "v", "?r=3&sloppy=false")
		}
		pause(b.t, false)
		b.within(20*time.Second, "a bucket with Raft again", func() bool {
			status, _ := n2.ask("POST", "/v1/buckets", `{"name":"then"}`)
			return status == 201 || status == 200
		})
	})
}

// Nodes stop in any order, and all at once, each in a few seconds.
func TestBubbleStopOrder(t *testing.T) {
	const most = 5 * time.Second
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			inBubble(t, 3, func(b *bubble) {
				b.startAll()
				b.nodes[0].put("k", "v", "")
				for _, i := range order {
					began := time.Now()
					b.nodes[i].stop()
					if took := time.Since(began); took > most {
						b.t.Errorf("%s took %s to stop", b.nodes[i].name, took)
					}
				}
			})
		})
	}
	t.Run("at once", func(t *testing.T) {
		inBubble(t, 3, func(b *bubble) {
			b.startAll()
			b.nodes[0].put("k", "v", "")
			began := time.Now()
			var wg sync.WaitGroup
			for _, n := range b.nodes {
				wg.Go(n.stop)
			}
			wg.Wait()
			if took := time.Since(began); took > most {
				b.t.Errorf("%s to stop", took)
			}
		})
	})
}
