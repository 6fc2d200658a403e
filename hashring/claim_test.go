package hashring

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// dumbList is the placement rule read aloud: the virtual node's store, then clockwise
// those of new zones, then any.
func dumbList(heads []SID, p, n int, zone map[SID]string, all []SID) (list []SID) {
	around := append([]SID{}, heads[p:]...)
	around = append(around, heads[:p]...)
	for i := range all { // stores without a virtual node come last
		around = append(around, all[(p+i)%len(all)])
	}
	list = around[:1:1]
	for _, newZone := range []bool{true, false} {
		for _, sid := range around {
			if len(list) == n || slices.Contains(list, sid) {
				continue
			}
			used := slices.ContainsFunc(list, func(in SID) bool { return zone[in] == zone[sid] })
			if !newZone || !used {
				list = append(list, sid)
			}
		}
	}
	return list
}

func heads(parts []Partition) (out []SID) {
	for _, p := range parts {
		out = append(out, p.Replicas[0])
	}
	return out
}

func TestClaimKeepsTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores := drawStores(t, 1, 12)
		partitions := rapid.IntRange(1, 48).Draw(t, "partitions")
		replicas := rapid.IntRange(1, 6).Draw(t, "replicas")
		parts := Claim(partitions, stores, replicas)
		if len(parts) != partitions {
			t.Fatalf("%d partitions, want %d", len(parts), partitions)
		}
		zone := zonesOf(&State{Stores: stores})
		for p, part := range parts {
			if n := min(replicas, len(stores)); len(part.Replicas) != n || part.Epoch != 1 || !part.Primary.IsZero() {
				t.Fatalf("partition %d: %+v, want %d replicas in epoch 1", p, part, n)
			}
			if wrong := wrongList(part.Replicas, zone, sids(stores)); wrong != "" {
				t.Fatalf("partition %d has %s: %v", p, wrong, part.Replicas)
			}
			if want := dumbList(heads(parts), p, len(part.Replicas), zone, sids(stores)); !slices.Equal(part.Replicas, want) {
				t.Fatalf("partition %d: %v, by the rule %v", p, part.Replicas, want)
			}
		}
		if least, most := spread(listsOf(parts), 1, sids(stores)); most-least > 1 {
			t.Fatalf("virtual nodes per store from %d to %d", least, most)
		}
	})
}

func TestClaimDependsOnlyOnTheSetOfStores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores := drawStores(t, 1, 8)
		parts := Claim(24, stores, 3)
		again := Claim(24, rapid.Permutation(stores).Draw(t, "order"), 3)
		if !slices.EqualFunc(parts, again, func(a, b Partition) bool { return slices.Equal(a.Replicas, b.Replicas) }) {
			t.Fatal("another order of the stores gave another ring")
		}
	})
}

// Where zones allow, every store has the same number of places to within one, in
// ordinary sizes; so has it among the first n of the lists.
func TestClaimIsEven(t *testing.T) {
	for _, c := range []struct{ partitions, stores, zones, replicas int }{
		{20, 5, 1, 3}, {20, 5, 1, 2}, {20, 5, 1, 5}, {64, 3, 1, 3}, {64, 5, 1, 3}, {64, 5, 1, 5}, {64, 6, 3, 3},
		{64, 7, 1, 3}, {64, 6, 2, 3}, {64, 4, 2, 2}, {256, 9, 3, 3}, {256, 12, 3, 3}, {1024, 40, 1, 3},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			var stores []Store
			for i := range c.stores {
				stores = append(stores, storeOf(fmt.Sprintf("n%02d", i), fmt.Sprintf("z%d", i%c.zones)))
			}
			lists := listsOf(Claim(c.partitions, stores, c.replicas))
			for n := 1; n <= c.replicas; n++ {
				allowed := 1
				if n > 1 && n < c.replicas {
					allowed = 2 // the whole list weighs more in the search
				}
				if least, most := spread(lists, n, sids(stores)); most-least > allowed {
					t.Errorf("among the first %d a store has %d to %d lists", n, least, most)
				}
			}
		})
	}
}

// With five stores of four virtual nodes each, a store's lists bring in each other
// store equally often: a dead store's work falls on all.
func TestClaimSpreadsSuccessors(t *testing.T) {
	var stores []Store
	for i := range 5 {
		stores = append(stores, storeOf(fmt.Sprintf("n%d", i), ""))
	}
	for _, partitions := range []int{20, 64, 256} {
		follows := make(map[[2]SID]int)
		for _, part := range Claim(partitions, stores, 3) {
			for _, sid := range part.Replicas[1:] {
				follows[[2]SID{part.Replicas[0], sid}]++
			}
		}
		even := partitions * 2 / (5 * 4)
		for pair, n := range follows {
			if n < even-2 || n > even+2 {
				t.Errorf("%d partitions: %s follows %s %d times, even is %d", partitions, pair[1].Short(), pair[0].Short(), n, even)
			}
		}
		if len(follows) != 20 {
			t.Errorf("%d partitions: %d of 20 pairs occur", partitions, len(follows))
		}
	}
}

// Every arrangement of a small ring is tried: none is more even than what Claim
// found in the load of whole lists by more than one place.
func TestClaimAgainstBruteForce(t *testing.T) {
	worse, rings := 0, 0
	for partitions := 2; partitions <= 8; partitions++ {
		for n := 2; n <= 4; n++ {
			for zones := 1; zones <= n; zones++ {
				for replicas := 2; replicas <= min(n, 3); replicas++ {
					var stores []Store
					for i := range n {
						stores = append(stores, storeOf(fmt.Sprintf("n%d", i), fmt.Sprintf("z%d", min(i, zones-1))))
					}
					best := bruteForce(partitions, stores, replicas)
					least, most := spread(listsOf(Claim(partitions, stores, replicas)), replicas, sids(stores))
					rings++
					if most-least > best {
						worse++
					}
					if most-least > best+1 {
						t.Errorf("%d partitions, %d stores, %d zones, %d replicas: places %d to %d, %d apart is possible",
							partitions, n, zones, replicas, least, most, best)
					}
				}
			}
		}
	}
	if worse*10 > rings {
		t.Errorf("claim is not the best in %d of %d small rings", worse, rings)
	}
	t.Logf("not the best in %d of %d small rings", worse, rings)
}

// bruteForce is the least difference of places between stores over all ways to give
// out the virtual nodes, partitions/stores each with the rest to any.
func bruteForce(partitions int, stores []Store, replicas int) int {
	zone, all := zonesOf(&State{Stores: stores}), sids(stores)
	best, extra := partitions*replicas, partitions%len(stores)
	left := make([]int, len(stores))
	for i := range left {
		left[i] = partitions / len(stores)
	}
	ring := make([]SID, partitions)
	var place func(p, extra int)
	place = func(p, extra int) {
		if p == partitions {
			lists := make([][]SID, partitions)
			for q := range lists {
				lists[q] = dumbList(ring, q, min(replicas, len(stores)), zone, all)
			}
			least, most := spread(lists, replicas, all)
			best = min(best, most-least)
			return
		}
		for i := range stores {
			if best <= 0 || left[i] == 0 && extra == 0 || left[i] < 0 {
				continue
			}
			more := extra
			if left[i]--; left[i] < 0 {
				more--
			}
			ring[p] = all[i]
			place(p+1, more)
			left[i]++
		}
	}
	place(0, extra)
	return best
}

func BenchmarkClaim(b *testing.B) {
	for _, c := range [][3]int{{64, 5, 3}, {1024, 40, 3}, {4096, 40, 5}, {4096, MaxStores, MaxReplicas}} {
		b.Run(fmt.Sprintf("%dx%dx%d", c[0], c[1], c[2]), func(b *testing.B) {
			stores := manyStores(c[1])
			for b.Loop() {
				sink += uint64(len(Claim(c[0], stores, c[2])))
			}
		})
	}
}
