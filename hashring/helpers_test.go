package hashring

import (
	"fmt"

	"pgregory.net/rapid"
)

// sidOf makes ids that sort as the names do.
func sidOf(name string) (s SID) {
	copy(s[:], name)
	return s
}

func storeOf(name, zone string) Store {
	return Store{SID: sidOf(name), Node: name, API: name + ":7400", Gossip: name + ":7401", Peer: name + ":7402",
		Zone: zone, Boot: 1, State: StoreUp, FeatureMax: 1}
}

// drawStores draws least to most stores over up to four zones, some without one.
func drawStores(t *rapid.T, least, most int) []Store {
	n := rapid.IntRange(least, most).Draw(t, "stores")
	zones := rapid.IntRange(1, 4).Draw(t, "zones")
	stores := make([]Store, n)
	for i := range stores {
		zone := ""
		if z := rapid.IntRange(0, zones-1).Draw(t, "zone"); z > 0 {
			zone = fmt.Sprintf("z%d", z)
		}
		stores[i] = storeOf(fmt.Sprintf("n%02d", i), zone)
	}
	return stores
}

// ringOf is a state in which the first len(stores)-idle stores share the ring.
func ringOf(tb rapid.TB, partitions, replicas, idle int, stores []Store) *State {
	tb.Helper()
	s := must(tb, nil, Command{Kind: KindInit, Init: &Init{Cluster: sidOf("c"), Replicas: replicas, Feature: 1}})
	first := &FirstRing{Partitions: partitions}
	for i, st := range stores {
		s = must(tb, s, Command{Kind: KindRegister, Register: &Register{Store: st}})
		if i < len(stores)-idle {
			first.Stores = append(first.Stores, st.SID)
		}
	}
	return must(tb, s, Command{Kind: KindFirstRing, FirstRing: first})
}

// must applies a command that has to succeed.
func must(tb rapid.TB, s *State, c Command) *State {
	tb.Helper()
	version := uint64(1)
	if s != nil {
		version = s.Version + 1
	}
	next, err := s.Apply(version, c)
	if err != nil {
		tb.Fatalf("%s: %v", c.Kind, err)
	}
	return next
}

func zonesOf(s *State) map[SID]string {
	zones := make(map[SID]string)
	for i := range s.Stores {
		zones[s.Stores[i].SID] = s.Stores[i].Zone
	}
	return zones
}

// spread is the least and the greatest number of lists that have a store among
// their first n.
func spread(lists [][]SID, n int, stores []SID) (least, most int) {
	load := make(map[SID]int)
	for _, list := range lists {
		for _, sid := range list[:min(n, len(list))] {
			load[sid]++
		}
	}
	least = len(lists) * n
	for _, sid := range stores {
		least, most = min(least, load[sid]), max(most, load[sid])
	}
	return least, most
}

func sids(stores []Store) (out []SID) {
	for _, st := range stores {
		out = append(out, st.SID)
	}
	return out
}

func listsOf(parts []Partition) (out [][]SID) {
	for _, p := range parts {
		out = append(out, p.Replicas)
	}
	return out
}

// wrongList says what is wrong with a list by the rules of placement: a store twice,
// or a zone twice while another of the given zones is free.
func wrongList(list []SID, zone map[SID]string, among []SID) string {
	met, used, all := map[SID]bool{}, map[string]bool{}, map[string]bool{}
	repeats := false
	for _, sid := range list {
		if met[sid] {
			return "a store twice"
		}
		repeats = repeats || used[zone[sid]]
		met[sid], used[zone[sid]] = true, true
	}
	for _, sid := range among {
		all[zone[sid]] = true
	}
	if repeats && len(used) < len(all) {
		return fmt.Sprintf("a zone twice, though only %d of %d are used", len(used), len(all))
	}
	return ""
}
