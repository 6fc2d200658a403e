package node

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
)

func TestReplaceVerdict(t *testing.T) {
	const level = hashring.FeatureBuilding
	dead := replacing{able: true, feature: level, patience: time.Minute}
	with := func(change func(*replacing)) replacing {
		r := dead
		change(&r)
		return r
	}
	late := func(r *replacing) { r.waited = time.Minute }
	for name, c := range map[string]struct {
		r    replacing
		want replaceVerdict
	}{
		"dead":                          {dead, replaceNow},
		"dead, seen late":               {with(late), replaceNow},
		"alive in gossip":               {with(func(r *replacing) { r.alive = true }), replaceWait},
		"answers, though not in gossip": {with(func(r *replacing) { r.answered = true }), replaceWait},
		"alive for too long":            {with(func(r *replacing) { r.alive = true; late(r) }), replaceEnd},
		"answers for too long":          {with(func(r *replacing) { r.answered = true; late(r) }), replaceEnd},
		"switched off":                  {with(func(r *replacing) { r.able = false }), replaceWait},
		"switched off for too long":     {with(func(r *replacing) { r.able = false; late(r) }), replaceEnd},
		"an old binary in the ring":     {with(func(r *replacing) { r.feature-- }), replaceWait},
		"an old binary for too long":    {with(func(r *replacing) { r.feature--; late(r) }), replaceEnd},
	} {
		if got := c.r.verdict(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestAStoreSpeaksForItself(t *testing.T) {
	me, other := hashring.SID{1}, hashring.SID{2}
	v := gossip.NewView(me, []gossip.Member{{Meta: gossip.Meta{SID: other}, State: gossip.Alive}})
	dead, built := hashring.SID{3}, hashring.SID{4}
	ring := hashring.NewRing(&hashring.State{Version: 2, Feature: hashring.FeatureBuilding,
		Stores: []hashring.Store{{SID: me, State: hashring.StoreUp}, {SID: other, State: hashring.StoreUp}, {SID: built, State: hashring.StoreUp}},
		Partitions: []hashring.Partition{
			{Epoch: 1, Replicas: []hashring.SID{me, built}, Building: []hashring.SID{built}, Session: 1},
			{Epoch: 1, Replicas: []hashring.SID{other, built}, Building: []hashring.SID{built}, Session: 1},
			{Epoch: 1, Replicas: []hashring.SID{other, me}, Building: []hashring.SID{me}, Session: 1}}})
	filled := func(sid hashring.SID, partitions ...uint32) hashring.Command {
		c := &hashring.Filled{}
		for _, p := range partitions {
			c.Places = append(c.Places, hashring.Place{Partition: p, Epoch: 1, SID: sid, Session: 1})
		}
		return hashring.Command{Kind: hashring.KindFilled, Filled: c}
	}
	for name, c := range map[string]struct {
		c  hashring.Command
		ok bool
	}{
		"registers":             {hashring.Command{Kind: hashring.KindRegister, Register: &hashring.Register{Store: hashring.Store{SID: me}}}, true},
		"registers another":     {hashring.Command{Kind: hashring.KindRegister, Register: &hashring.Register{Store: hashring.Store{SID: other}}}, false},
		"replaces the dead":     {hashring.Command{Kind: hashring.KindReplaceStore, ReplaceStore: &hashring.ReplaceStore{Old: dead, Store: hashring.Store{SID: me}}}, true},
		"replaces the living":   {hashring.Command{Kind: hashring.KindReplaceStore, ReplaceStore: &hashring.ReplaceStore{Old: other, Store: hashring.Store{SID: me}}}, false},
		"replaces for another":  {hashring.Command{Kind: hashring.KindReplaceStore, ReplaceStore: &hashring.ReplaceStore{Old: dead, Store: hashring.Store{SID: other}}}, false},
		"has filled":            {filled(built, 0), true},
		"no owner has filled":   {filled(built, 0, 1), false},
		"a builder has filled":  {filled(built, 2), false},
		"calls itself full":     {filled(me, 2), false},
		"beyond the ring":       {filled(built, 9), false},
		"reports another's end": {hashring.Command{Kind: hashring.KindSetStoreState, SetStoreState: &hashring.SetStoreState{SID: other, State: hashring.StoreSuspect}}, true},
	} {
		if err := ownAffair(&c.c, me, v, ring); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rebuilding switches a node on for building replicas. A wiped node waits for its name as
// long as gossip may need to see that its old store is gone.
func rebuilding(c *lifeConfig) {
	c.Rebuild, c.Feature, c.Times.Name = true, hashring.FeatureBuilding, 20*time.Second
}

func TestLifeWipedNodeTakesItsStoresPlace(t *testing.T) {
	nodes := lifeCluster(t, 3, 3)
	for _, n := range nodes {
		n.change = rebuilding
	}
	startAll(nodes)
	awaitRing(t, nodes, 3, 3)
	awaitVoters(t, nodes, 3)
	lifeEventually(t, "the feature level rises", func() bool { return nodes[0].life.Ring().Feature >= hashring.FeatureBuilding })

	victim := nodes[2]
	old := victim.sid
	victim.stop()
	if err := os.RemoveAll(victim.dir); err != nil {
		t.Fatal(err)
	}
	victim.start() // at once, at the same addresses
	if victim.sid == old {
		t.Fatal("the store was not wiped")
	}
	awaitRing(t, nodes, 4, 3)
	r := nodes[0].life.Ring()
	if to, ok := r.Successor(old); !ok || to != victim.sid {
		t.Fatalf("the old store's successor is %s", to.Short())
	}
	for p := range r.Partitions {
		session, building := r.Building(uint32(p), victim.sid)
		if full := r.Full(uint32(p), 3); !building || session == 0 || len(full) != 2 || slices.Contains(full, victim.sid) {
			t.Fatalf("partition %d: building %t in session %d, full %v", p, building, session, full)
		}
	}
	for _, n := range nodes {
		lifeEventually(t, n.name+" sees the wiped voter vote again", func() bool {
			v := n.life.voters(t.Context())
			return len(v) == 3 && slices.Contains(v, victim.sid)
		})
	}
}

// A twin under a live name is sent away as before, and takes nothing.
func TestLifeALiveStoreIsNotReplaced(t *testing.T) {
	nodes := lifeCluster(t, 1, 1)
	nodes[0].change = rebuilding
	startAll(nodes)
	awaitRing(t, nodes, 1, 1)
	lifeEventually(t, "the feature level rises", func() bool { return nodes[0].life.Ring().Feature >= hashring.FeatureBuilding })
	twin := newLifeNode(t, "twin", 0)
	twin.name, twin.join, twin.change = "n1", []string{nodes[0].gossipAddr}, rebuilding
	twin.start()
	err := <-twin.fatal
	var taken *NameTakenError
	if !errors.As(err, &taken) || !taken.Alive {
		t.Fatalf("got %v", err)
	}
	if st, _ := nodes[0].life.Ring().Store(nodes[0].sid); st.State != hashring.StoreUp {
		t.Fatalf("the live store is %s", st.State)
	}
}

// A process whose store was replaced ends as soon as it hears of it.
func TestLifeAReplacedStoreEnds(t *testing.T) {
	nodes := lifeCluster(t, 1, 1)
	nodes[0].change = rebuilding
	startAll(nodes)
	awaitRing(t, nodes, 1, 1)
	lifeEventually(t, "the feature level rises", func() bool { return nodes[0].life.Ring().Feature >= hashring.FeatureBuilding })
	next := *nodes[0].life.Ring().State
	next.Version += 1000 // as if it came from elsewhere
	next.Stores = slices.Clone(next.Stores)
	fresh := next.Stores[0]
	fresh.SID = hashring.SID{0xff, 0xff, 0xff, 0xff, 0xff}
	next.Stores[0].State, next.Stores[0].Successor = hashring.StoreRetired, fresh.SID
	next.Stores = append(next.Stores, fresh)
	next.Partitions = slices.Clone(next.Partitions)
	for p := range next.Partitions {
		next.Partitions[p].Replicas = []hashring.SID{fresh.SID}
	}
	nodes[0].life.learn(&next)
	if err := <-nodes[0].fatal; !errors.Is(err, errReplaced) {
		t.Fatalf("got %v", err)
	}
}

// A cluster that began with one node: its lists grow when others come.
func TestLifeReplicaListsGrow(t *testing.T) {
	nodes := lifeCluster(t, 3, 1)
	for _, n := range nodes {
		n.change = rebuilding
		n.join = []string{nodes[0].gossipAddr}
	}
	nodes[0].join = nil
	nodes[0].start()
	awaitRing(t, nodes[:1], 1, 1)
	startAll(nodes[1:])
	lifeEventually(t, "every list builds a second store", func() bool {
		r := nodes[0].life.Ring()
		for p := range r.Partitions {
			if part := &r.Partitions[p]; len(part.Replicas) != 2 || len(part.Building) != 1 {
				return false
			}
		}
		return true
	})
}
