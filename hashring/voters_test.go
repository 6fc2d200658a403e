package hashring

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestVoters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &State{Stores: drawStores(t, 1, 12)}
		var current, up []SID
		zone := zonesOf(s)
		for i := range s.Stores {
			sid := s.Stores[i].SID
			if rapid.Bool().Draw(t, "current") {
				current = append(current, sid)
			}
			if rapid.IntRange(0, 4).Draw(t, "up") > 0 {
				up = append(up, sid)
			}
		}
		alive := func(sid SID) bool { return slices.Contains(up, sid) }
		got := Voters(s, alive, current)
		want := 1
		switch n := len(s.Stores); {
		case n >= 7:
			want = 5
		case n >= 3:
			want = 3
		}
		if len(got) != want || !distinct(got) || !slices.IsSortedFunc(got, SID.Compare) {
			t.Fatalf("%d stores have voters %v", len(s.Stores), got)
		}
		dead, zones := 0, map[string]bool{}
		for _, sid := range got {
			zones[zone[sid]] = true
			if !alive(sid) {
				dead++
			}
		}
		if must := max(0, want-len(up)); dead != must {
			t.Fatalf("%d dead voters, %d must be", dead, must)
		}
		upZones := map[string]bool{}
		for _, sid := range up {
			upZones[zone[sid]] = true
		}
		if len(zones) < min(want, len(upZones)) {
			t.Fatalf("voters in %d zones, live stores in %d", len(zones), len(upZones))
		}
		if again := Voters(s, alive, got); !slices.Equal(again, got) {
			t.Fatalf("%v did not stay: %v", got, again)
		}
	})
}

func TestVotersStay(t *testing.T) {
	always := func(SID) bool { return true }
	stores := []Store{storeOf("a", "z1"), storeOf("b", "z2"), storeOf("c", "z3"), storeOf("d", "z1"), storeOf("e", "z2")}
	current := []SID{sidOf("c"), sidOf("d"), sidOf("e")}
	if got := Voters(&State{Stores: stores}, always, current); !slices.Equal(got, current) {
		t.Errorf("live voters in three zones were replaced by %v", got)
	}
	but := func(sid SID) bool { return sid != sidOf("d") }
	if got := Voters(&State{Stores: stores}, but, current); !slices.Equal(got, []SID{sidOf("a"), sidOf("c"), sidOf("e")}) {
		t.Errorf("after the death of d: %v", got)
	}
	away := slices.Clone(stores)
	away[4].State, away[3].State = StoreDraining, StoreRetired
	if got := Voters(&State{Stores: away}, always, current); !slices.Equal(got, []SID{sidOf("a"), sidOf("b"), sidOf("c")}) {
		t.Errorf("draining and retired stores vote: %v", got)
	}
	sick := slices.Clone(stores)
	sick[2].State = StoreSuspect
	if got := Voters(&State{Stores: sick}, always, current); slices.Contains(got, sidOf("c")) || len(got) != 3 {
		t.Errorf("a suspect store votes though there are others: %v", got)
	}
	if got := Voters(&State{Stores: sick[1:4]}, always, current); len(got) != 3 {
		t.Errorf("too few voters because one is suspect: %v", got)
	}
	if got := Voters(&State{}, always, nil); len(got) != 0 {
		t.Errorf("nobody votes as %v", got)
	}
	if got := Voters(&State{Stores: stores[:2]}, always, []SID{sidOf("b")}); !slices.Equal(got, []SID{sidOf("b")}) {
		t.Errorf("of two stores: %v", got)
	}
}
