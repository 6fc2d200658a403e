package antientropy

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quoratedb/quorate/quorum/version"
)

// The figures of the convergence issue, for one of 64 partitions: all partitions cost
// alike. A million keys are 15,625 a partition, 3.8 a leaf; values are 100 bytes.
const modelKeys = 1_000_000 / 64

func value(w *writer, local *version.Object) *version.Object {
	return w.write(version.Actor(1+w.n%3), local, fmt.Sprintf("%0100d", w.n), false)
}

func storeBytes(r *replica) (records, index uint64) {
	for key, o := range r.objects {
		row := Row{Key: []byte(key), Object: o}
		records += row.RecordSize()
		index += row.LeafRowSize()
	}
	return records, index
}

// 10,000 differing keys among 1,000,000, spread at random, are found and repaired
// reading at most a twentieth of the bytes of the store, index included.
func TestReadsOfFewDifferences(t *testing.T) {
	a, b := newReplica(t, "a"), newReplica(t, "b")
	w := &writer{}
	rng := rand.New(rand.NewPCG(5, 5))
	for i := range modelKeys {
		key := fmt.Sprintf("user:%011d", i)
		o := value(w, nil)
		a.fill(key, o)
		if rng.IntN(100) == 0 { // b was away when it was overwritten
			a.fill(key, value(w, o))
		}
		b.fill(key, o)
	}
	a.read, b.read = 0, 0
	p := newPairing(t, a, b)
	res := p.run(Config{})
	records, index := storeBytes(a)
	t.Logf("store %d = records %d + index %d; %d keys differed; a read %d (%.2f %%), b %d (%.2f %%); messages %d",
		records+index, records, index, res.Differed, a.read, 100*float64(a.read)/float64(records+index), b.read, 100*float64(b.read)/float64(records+index), res.In+res.Out)
	if worst := max(a.read, b.read); worst*20 > records+index {
		t.Errorf("%d of %d bytes were read", worst, records+index)
	}
	if res.Read != a.read {
		t.Errorf("the exchange counts %d bytes read, its store %d", res.Read, a.read)
	}
	if int(res.Sent+res.Received) != int(res.Differed) || sameObjects(a, b) != "" {
		t.Errorf("%s %s", drawResult(res), sameObjects(a, b))
	}
}

// A replica that lost everything is whole again for at most 1.2 times the bytes it
// lacks, hashes included, whichever end leads; so is one of which a tenth has come back
// by new writes meanwhile. The more of a leaf is there, the more the names of the keys
// weigh that must be compared: at a half it is 1.3 times.
func TestBytesShippedToAnEmptyReplica(t *testing.T) {
	for _, c := range []struct { // percent of the keys that it still has
		left int
		most float64
	}{{0, 1.05}, {1, 1.05}, {10, 1.12}, {50, 1.32}} {
		left := c.left
		for _, leads := range []string{"full", "empty"} {
			full, empty := newReplica(t, "full"), newReplica(t, "empty")
			w := &writer{}
			rng := rand.New(rand.NewPCG(5, 5))
			missing := uint64(0)
			for i := range modelKeys {
				key := fmt.Sprintf("user:%011d", i)
				o := value(w, nil)
				full.fill(key, o)
				if rng.IntN(100) < left {
					empty.fill(key, o)
				} else {
					missing += (&Row{Key: []byte(key), Object: o}).RecordSize()
				}
			}
			a, b := empty, full
			if leads == "full" {
				a, b = full, empty
			}
			p := newPairing(t, a, b)
			res := p.run(Config{})
			shipped := res.In + res.Out
			t.Logf("%2d %% left, the %s one leads: %d bytes missing, %d shipped: %.3f times; full read %d, empty %d", left, leads, missing, shipped,
				float64(shipped)/float64(missing), full.read, empty.read)
			if float64(shipped) > c.most*float64(missing) || !res.Complete || sameObjects(a, b) != "" {
				t.Errorf("%d bytes shipped for %d missing: %s %s", shipped, missing, drawResult(res), sameObjects(a, b))
			}
		}
	}
}

// Two replicas that are alike cost one digest each way, and read nothing.
func TestEqualReplicasCostNothing(t *testing.T) {
	a, b := newReplica(t, "a"), newReplica(t, "b")
	diverge(rand.New(rand.NewPCG(1, 1)), a, b, 500, 0)
	p := newPairing(t, a, b)
	if res := p.run(Config{}); !res.Equal || !res.Complete || a.read+b.read > 0 || res.In+res.Out > 128 || p.now > 0 {
		t.Errorf("%+v", res)
	}
}

// What the other end found equal was equal, though this replica was written since.
func TestEqualWhenAsked(t *testing.T) {
	a, b := newReplica(t, "a"), newReplica(t, "b")
	diverge(rand.New(rand.NewPCG(1, 1)), a, b, 10, 0)
	p := newPairing(t, a, b)
	p.between = func() {
		if len(p.toA) == 1 {
			a.stage("new", (&writer{n: 99}).write(7, nil, "v", false))
		}
	}
	if res := p.run(Config{}); !res.Equal || !res.Complete || res.Reason != ReasonNone {
		t.Errorf("%s", drawResult(res))
	}
}
