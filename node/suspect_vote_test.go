package node

import (
	"testing"

	"github.com/quoratedb/quorate/hashring"
)

// Of several damaged voters one goes after the other, and none that leaves the Raft group
// without a majority.
func TestVoteSpared(t *testing.T) {
	a, b, c, d := hashring.SID{1}, hashring.SID{2}, hashring.SID{3}, hashring.SID{4}
	voters := []hashring.SID{a, b, c}
	all := map[hashring.SID]bool{a: true, b: true, c: true, d: true}
	for name, x := range map[string]struct {
		self   hashring.SID
		voters []hashring.SID
		states [4]hashring.StoreState // of a, b, c, d
		dead   hashring.SID
		want   bool
	}{
		"one of three":                    {a, voters, [4]hashring.StoreState{"suspect", "up", "up", "up"}, hashring.SID{}, true},
		"no voter":                        {d, voters, [4]hashring.StoreState{"suspect", "suspect", "up", "suspect"}, c, true},
		"nobody knows who votes":          {a, nil, [4]hashring.StoreState{"suspect", "up", "up", "up"}, hashring.SID{}, false},
		"another one is down":             {a, voters, [4]hashring.StoreState{"suspect", "up", "up", "up"}, c, false},
		"the only vote":                   {a, voters[:1], [4]hashring.StoreState{"suspect", "up", "up", "up"}, hashring.SID{}, false},
		"the first of three":              {a, voters, [4]hashring.StoreState{"suspect", "suspect", "suspect", "up"}, hashring.SID{}, true},
		"the second of three":             {b, voters, [4]hashring.StoreState{"suspect", "suspect", "suspect", "up"}, hashring.SID{}, false},
		"the first's successor votes not": {b, voters, [4]hashring.StoreState{"retired", "suspect", "suspect", "up"}, hashring.SID{}, false},
		"and now it does":                 {b, []hashring.SID{b, c, d}, [4]hashring.StoreState{"retired", "suspect", "suspect", "up"}, hashring.SID{}, true},
	} {
		st := &hashring.State{}
		for i, sid := range []hashring.SID{a, b, c, d} {
			st.Stores = append(st.Stores, hashring.Store{SID: sid, State: x.states[i]})
		}
		alive := func(sid hashring.SID) bool { return all[sid] && sid != x.dead }
		if got := voteSpared(x.self, x.voters, hashring.NewRing(st), alive); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
