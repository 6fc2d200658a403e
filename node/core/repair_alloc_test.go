package core

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// treeRig is a core with a tree, and two versions of a key to put there.
func treeRig() (c *Core, p *part, old, now *version.Object) {
	c = New(Config{Self: sidOf("a"), Shards: 1, Rand: rand.New(rand.NewPCG(1, 2))}, newDisk())
	c.Step(Now{Mono: time.Second, WallMS: epochMS}, []Event{{Ring: hashring.NewRing(repairState("abc", 1))}})
	old = valueOf(7, 1, "value")
	now = version.Write(old, old.Context, version.Sibling{Dot: version.Dot{Actor: 8, Counter: 3}, Value: []byte("other")})
	p = c.part(0)
	c.treePut(p, 3, 12345, nil, old, 1)
	return c, p, old, now
}

// The tree is on the path of every write: it allocates nothing there.
func TestTreePutAllocations(t *testing.T) {
	c, p, old, now := treeRig()
	got := testing.AllocsPerRun(100, func() {
		c.treePut(p, 3, 12345, old, now, 1)
		c.treePut(p, 3, 12345, now, old, 1)
	})
	if got != 0 || p.trees[0].tree.Root().Keys != 1 {
		t.Errorf("%v allocations, %v", got, p.trees[0].tree)
	}
}

func BenchmarkTreePut(b *testing.B) {
	c, p, old, now := treeRig()
	b.ReportAllocs()
	for b.Loop() {
		c.treePut(p, 3, 12345, old, now, 1)
		old, now = now, old
	}
}
