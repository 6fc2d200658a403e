package hashring

import (
	"errors"
	"slices"
	"testing"
)

// lossyRing is one partition of a, b, c at the level of losses, with a purge clock; b and
// then c were lost, and the new ones are being built.
func lossyRing(t *testing.T) *State {
	t.Helper()
	s := must(t, modernRing(t, 1, 3, 0, "a", "b", "c"), purgeCommand(PurgeRound{Partition: 0, Epoch: 1, Generation: 1, Clock: Clock{{Actor: 1, Counter: 5}}, TimeMS: 1000}))
	for i := range s.Stores {
		s.Stores[i].FeatureMax = FeatureLoss
	}
	s = must(t, s, Command{Kind: KindSetFeature, SetFeature: &SetFeature{FeatureLoss}})
	change := func(c *ReplaceStore) { c.Store.FeatureMax = FeatureLoss }
	return must(t, must(t, s, replaceCommand("b", "b2", change)), replaceCommand("c", "c2", change))
}

func forceCommand(s *State, names ...string) Command {
	pl := ForcePlace{Epoch: s.Partitions[0].PlanEpoch()}
	for _, name := range names {
		pl.GiveUp = append(pl.GiveUp, sidOf(name))
	}
	return Command{Kind: KindForce, Force: &Force{[]ForcePlace{pl}}}
}

// What is left becomes full, the loss is recorded, absence says nothing any more, and the
// store that was given up may be replaced.
func TestForce(t *testing.T) {
	s := lossyRing(t)
	if err := s.LastFull(sidOf("a")); !errors.Is(err, ErrLastFull) {
		t.Fatal(err)
	}
	s = must(t, s, stateCommand("a", StoreSuspect))
	s = must(t, s, forceCommand(s, "a"))
	p := &s.Partitions[0]
	if !slices.Equal(p.Building, []SID{sidOf("a")}) || p.Loss != s.Version || p.Session != s.Version {
		t.Fatal(s.Picture())
	}
	if p.Purge.Generation != 2 || len(p.Purge.Clock) != 0 || p.Purge.TimeMS != 1000 {
		t.Fatalf("%+v", p.Purge)
	}
	if err := s.LastFull(sidOf("a")); err != nil {
		t.Fatal(err)
	}
	if full := NewRing(s).Full(0, 3); !slices.Equal(full, []SID{sidOf("b2"), sidOf("c2")}) {
		t.Fatal(full)
	}
	b, err := EncodeState(s)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := DecodeState(b); err != nil || again.Partitions[0].Loss != p.Loss {
		t.Fatal(again, err)
	}
	if rows := PlanForce(s, func(SID) bool { return true }); rows != nil {
		t.Fatal(rows)
	}
}

// Where nothing is left, the first new store begins empty, and fills the others.
func TestForceOfNothing(t *testing.T) {
	s := lossyRing(t)
	for _, name := range []string{"a", "b2", "c2"} {
		s = must(t, s, stateCommand(name, StoreSuspect))
	}
	plan := PlanForce(s, func(SID) bool { return true })
	if len(plan) != 1 || plan[0].N != 3 || len(plan[0].GiveUp) != 3 || plan[0].Become != nil {
		t.Fatalf("%+v", plan)
	}
	s = must(t, s, Command{Kind: KindForce, Force: &Force{[]ForcePlace{plan[0].ForcePlace}}})
	if again := PlanForce(s, func(SID) bool { return true }); again != nil {
		t.Fatal("it waits for new stores:", again)
	}
	change := func(c *ReplaceStore) { c.Store.FeatureMax = FeatureLoss }
	s = must(t, s, replaceCommand("c2", "c3", change))
	s = must(t, s, replaceCommand("a", "a2", change))
	p := &s.Partitions[0]
	if full := NewRing(s).Full(0, 3); !slices.Equal(full, []SID{sidOf("c3")}) || !slices.Equal(p.Building, []SID{sidOf("a2"), sidOf("b2")}) {
		t.Fatal(s.Picture())
	}
	must(t, s, filledCommand(Place{0, p.PlanEpoch(), sidOf("a2"), p.Session}))
	if err := s.LastFull(sidOf("c3")); !errors.Is(err, ErrLastFull) {
		t.Fatal(err)
	}
}

func TestForceRefusals(t *testing.T) {
	s := lossyRing(t)
	low := must(t, modernRing(t, 1, 3, 0, "a", "b", "c"), stateCommand("a", StoreSuspect))
	stale := forceCommand(s, "a")
	stale.Force.Places[0].Epoch--
	for name, c := range map[string]struct {
		s    *State
		c    Command
		want error
	}{
		"a full owner is left": {s, forceCommand(s, "b2"), ErrUnsettled},
		"an older epoch":       {s, stale, ErrStaleEpoch},
		"no owner":             {s, forceCommand(s, "b"), ErrInvalid},
		"twice":                {s, forceCommand(s, "a", "a"), ErrInvalid},
		"no partition":         {s, Command{Kind: KindForce, Force: &Force{[]ForcePlace{{Partition: 1}}}}, ErrInvalid},
		"none":                 {s, Command{Kind: KindForce, Force: &Force{}}, ErrInvalid},
		"an old cluster":       {low, forceCommand(low, "a", "b", "c"), ErrNotSupported},
	} {
		if _, err := c.s.Apply(c.s.Version+1, c.c); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	done := must(t, s, forceCommand(s, "a", "b2", "c2"))
	if _, err := done.Apply(done.Version+1, forceCommand(done, "a", "b2", "c2")); !errors.Is(err, ErrSame) {
		t.Error(err)
	}
}

// A bucket with two owners has lost both, though the list's third one is full.
func TestForceOfANarrowBucket(t *testing.T) {
	s := must(t, lossyRing(t), Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: "two", N: 2}})
	place := Place{0, s.Partitions[0].PlanEpoch(), sidOf("c2"), s.Partitions[0].Session}
	s = must(t, s, filledCommand(place))
	s = must(t, s, stateCommand("a", StoreSuspect))
	plan := PlanForce(s, func(SID) bool { return true })
	if len(plan) != 1 || plan[0].N != 2 || !slices.Equal(plan[0].Become, []SID{sidOf("b2")}) {
		t.Fatalf("%+v", plan)
	}
	s = must(t, s, Command{Kind: KindForce, Force: &Force{[]ForcePlace{plan[0].ForcePlace}}})
	if full := NewRing(s).Full(0, 3); len(full) != 2 || s.LastFull(sidOf("a")) != nil {
		t.Fatal(s.Picture())
	}
}
