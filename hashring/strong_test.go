package hashring

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// strongRing is a ring at FeatureStrong with a strong bucket, replicas 3.
func strongRing(tb testing.TB, partitions int, names ...string) *State {
	tb.Helper()
	c := initCommand(3)
	c.Init.Feature = FeatureStrong
	s := must(tb, nil, c)
	first := &FirstRing{Partitions: partitions}
	for _, name := range names {
		st := storeOf(name, "")
		st.FeatureMax = FeatureStrong
		s = must(tb, s, registerCommand(st))
		first.Stores = append(first.Stores, st.SID)
	}
	s = must(tb, s, Command{Kind: KindFirstRing, FirstRing: first})
	return must(tb, s, strongBucketCommand("locks"))
}

func strongBucketCommand(name string) Command {
	return Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: name, Mode: Strong}}
}

func strongCommand(c ...StrongChange) Command {
	return Command{Kind: KindStrong, Strong: &StrongChanges{c}}
}

func sidsOf(names ...string) (out []SID) {
	for _, name := range names {
		out = append(out, sidOf(name))
	}
	return out
}

func TestStrongBuckets(t *testing.T) {
	s := strongRing(t, 4, "a", "b", "c")
	if b := s.Buckets["locks"]; b.N != 3 || b.R != 0 || b.W != 0 || b.Sloppy || b.TTL != 0 || b.Conflict != "" {
		t.Errorf("%+v", b)
	}
	for name, c := range map[string]struct {
		bucket Bucket
		want   error
	}{
		"the same again":            {Bucket{Name: "locks", Mode: Strong}, ErrSame},
		"the same in other words":   {Bucket{Name: "locks", Mode: Strong, N: 3, Sloppy: true, Conflict: Siblings}, ErrSame},
		"eventual under that name":  {Bucket{Name: "locks"}, ErrExists},
		"fewer owners":              {Bucket{Name: "x", Mode: Strong, N: 2}, ErrNotSupported},
		"a time to live":            {Bucket{Name: "x", Mode: Strong, TTL: 1}, ErrNotSupported},
		"a read quorum":             {Bucket{Name: "x", Mode: Strong, R: 1}, ErrInvalid},
		"a write quorum":            {Bucket{Name: "x", Mode: Strong, W: 3}, ErrInvalid},
		"last write wins":           {Bucket{Name: "x", Mode: Strong, Conflict: LWW}, ErrInvalid},
		"another mode":              {Bucket{Name: "x", Mode: "stronger"}, ErrInvalid},
		"an eventual one beside it": {Bucket{Name: "x"}, nil},
	} {
		if _, err := s.Apply(s.Version+1, Command{Kind: KindCreateBucket, CreateBucket: &c.bucket}); !errors.Is(err, c.want) && err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for name, c := range map[string]UpdateBucket{
		"sloppy": {Name: "locks", Sloppy: ptr(true)}, "r": {Name: "locks", R: ptr(1)}, "w": {Name: "locks", W: ptr(1)},
	} {
		if _, err := s.Apply(s.Version+1, Command{Kind: KindUpdateBucket, UpdateBucket: &c}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := *s
	many.Replicas, many.Partitions, many.Buckets = MaxReplicas, make([]Partition, MaxPartitions), maps.Clone(s.Buckets)
	for p := range many.Partitions {
		many.Partitions[p] = Partition{Epoch: 1, Replicas: sidsOf("a")}
	}
	delete(many.Buckets, "locks")
	if _, err := many.Apply(many.Version+1, strongBucketCommand("locks")); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d partitions with %d replicas: %v", MaxPartitions, MaxReplicas, err)
	}
}

// Primaries are spread over the stores that are up, as evenly as the lists allow.
func TestPrimariesAreSpread(t *testing.T) {
	s := strongRing(t, 96, "a", "b", "c", "d", "e")
	for sid, n := range s.primaries() {
		if n < 18 || n > 21 {
			t.Errorf("%s leads %d of 96 partitions", sid.Short(), n)
		}
	}
	s = must(t, s, Command{Kind: KindDeleteBucket, DeleteBucket: &DeleteBucket{"locks"}})
	again := must(t, s, strongBucketCommand("locks"))
	if !reflect.DeepEqual(again.Partitions, s.Partitions) {
		t.Error("the second strong bucket has changed configurations that stand")
	}
}

// A strong bucket that was there before the first ring.
func TestTheFirstRingComesAfterAStrongBucket(t *testing.T) {
	c := initCommand(3)
	c.Init.Feature = FeatureStrong
	st := storeOf("a", "")
	st.FeatureMax = FeatureStrong
	s := must(t, must(t, must(t, nil, c), registerCommand(st)), strongBucketCommand("locks"))
	if NewRing(s).HasStrong() {
		t.Error("configurations without partitions")
	}
	s = must(t, s, Command{Kind: KindFirstRing, FirstRing: &FirstRing{2, sidsOf("a")}})
	r := NewRing(s)
	if !r.HasStrong() || r.StrongPrimary(1) != sidOf("a") || s.Check() != nil {
		t.Errorf("%v\n%s", s.Check(), s.Picture())
	}
}

// A batch does what it can: a change that comes late does not hold up the others.
func TestStrongBatches(t *testing.T) {
	s := strongRing(t, 4, "a", "b", "c")
	epoch := s.Partitions[0].Strong.Epoch
	good := StrongChange{Partition: 1, Epoch: epoch, Kind: StrongActivate}
	late := StrongChange{Partition: 0, Epoch: epoch - 1, Kind: StrongActivate}
	off := StrongChange{Partition: 2, Epoch: epoch, Kind: StrongPrimary, Primary: sidOf("x")}
	next := must(t, s, strongCommand(late, good, off))
	if next.Partitions[0].Strong.Activated || !next.Partitions[1].Strong.Activated || !reflect.DeepEqual(next.Partitions[2], s.Partitions[2]) {
		t.Error(next.Picture())
	}
	for name, c := range map[string]struct {
		changes []StrongChange
		want    error
	}{
		"all late":             {[]StrongChange{late}, ErrStaleEpoch},
		"late, then wrong":     {[]StrongChange{late, off}, ErrStaleEpoch},
		"none":                 {nil, ErrInvalid},
		"too many":             {make([]StrongChange, MaxPlaces+1), ErrInvalid},
		"out of order":         {[]StrongChange{good, late}, ErrInvalid},
		"a partition twice":    {[]StrongChange{good, good}, ErrInvalid},
		"no such partition":    {[]StrongChange{{Partition: 4, Epoch: 1, Kind: StrongActivate}}, ErrInvalid},
		"no epoch":             {[]StrongChange{{Kind: StrongActivate}}, ErrInvalid},
		"unknown kind":         {[]StrongChange{{Epoch: epoch, Kind: "promote"}}, ErrInvalid},
		"T1 for nobody":        {[]StrongChange{{Epoch: epoch, Kind: StrongPrimary}}, ErrInvalid},
		"activate for one":     {[]StrongChange{{Epoch: epoch, Kind: StrongActivate, Primary: sidOf("a")}}, ErrInvalid},
		"T2 without stores":    {[]StrongChange{{Epoch: epoch, Kind: StrongJoint}}, ErrInvalid},
		"T2 with one twice":    {[]StrongChange{{Epoch: epoch, Kind: StrongJoint, Stores: sidsOf("a", "a")}}, ErrInvalid},
		"T2 with no one":       {[]StrongChange{{Epoch: epoch, Kind: StrongJoint, Stores: []SID{{}}}}, ErrInvalid},
		"T2 with a stranger":   {[]StrongChange{{Epoch: epoch, Kind: StrongJoint, Stores: sidsOf("x")}}, ErrUnknownStore},
		"T3 with stores":       {[]StrongChange{{Epoch: epoch, Kind: StrongSettle, Stores: sidsOf("a")}}, ErrInvalid},
		"T4 of nothing":        {[]StrongChange{{Epoch: epoch, Kind: StrongAbort}}, ErrUnsettled},
		"T5 without stores":    {[]StrongChange{{Epoch: epoch, Kind: StrongRecover, Primary: sidOf("a")}}, ErrInvalid},
		"T5 with three stores": {[]StrongChange{{Epoch: epoch, Kind: StrongRecover, Primary: sidOf("a"), Stores: sidsOf("a", "b", "c")}}, ErrInvalid},
		"T5 without primary":   {[]StrongChange{{Epoch: epoch, Kind: StrongRecover, Stores: sidsOf("a")}}, ErrInvalid},
		"T5, primary outside":  {[]StrongChange{{Epoch: epoch, Kind: StrongRecover, Primary: sidOf("b"), Stores: sidsOf("a")}}, ErrInvalid},
		"no learners already":  {[]StrongChange{{Epoch: epoch, Kind: StrongLearners}}, ErrSame},
		"learner unknown":      {[]StrongChange{{Epoch: epoch, Kind: StrongLearners, Stores: sidsOf("x")}}, ErrUnknownStore},
	} {
		if _, err := s.Apply(s.Version+1, strongCommand(c.changes...)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	below := modernRing(t, 4, 3, 0, "a", "b", "c")
	if _, err := below.Apply(below.Version+1, strongCommand(good)); !errors.Is(err, ErrNotSupported) {
		t.Errorf("below the level: %v", err)
	}
}

func TestStrongLookups(t *testing.T) {
	s := strongRing(t, 2, "a", "b", "c", "d")
	epoch := s.Partitions[0].Strong.Epoch
	s = must(t, s, strongCommand(StrongChange{Partition: 0, Epoch: epoch, Kind: StrongLearners, Stores: sidsOf("d")}))
	s = must(t, s, strongCommand(StrongChange{Partition: 1, Epoch: epoch, Kind: StrongJoint, Stores: sidsOf("a", "b", "c")}))
	r := NewRing(s)
	if got := r.names(r.StrongMembers(1)); got != "b c d a" {
		t.Errorf("members of a joint configuration: %s", got)
	}
	if c := r.Strong(0); !c.Holds(sidOf("d")) || c.IsMember(sidOf("d")) || !c.IsMember(sidOf("a")) || c.Holds(sidOf("x")) {
		t.Errorf("%+v", c)
	}
	if !r.IsStrong(r.Buckets["locks"].ID) || r.IsStrong(r.Buckets[DefaultBucket].ID) || r.IsStrong(99) {
		t.Error("which buckets are strong")
	}
	if r.Strong(2) != nil || !r.StrongPrimary(2).IsZero() || r.StrongMembers(2) != nil {
		t.Error("a partition that is not there has something")
	}
	if none := NewRing(modernRing(t, 2, 3, 0, "a", "b", "c")); none.HasStrong() || none.Strong(0) != nil || !none.StrongPrimary(0).IsZero() || none.StrongMembers(0) != nil {
		t.Error("configurations without strong mode")
	}
	if n := testing.AllocsPerRun(100, func() {
		if r.StrongPrimary(1).IsZero() || !r.IsStrong(r.Buckets["locks"].ID) || len(r.StrongMembers(0)) != 3 {
			sink++
		}
		sink += uint64(len(r.StrongMembers(1)))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCheckFindsWrongConfigurations(t *testing.T) {
	good := strongRing(t, 4, "a", "b", "c", "d")
	for name, spoil := range map[string]func(*Partition, *StrongConfig, *State){
		"below the level":       func(_ *Partition, _ *StrongConfig, s *State) { s.Feature = FeatureStrong - 1 },
		"some without":          func(p *Partition, _ *StrongConfig, _ *State) { p.Strong = nil },
		"no plan epoch":         func(p *Partition, _ *StrongConfig, _ *State) { p.Placed = 0 },
		"plan epoch ahead":      func(p *Partition, _ *StrongConfig, _ *State) { p.Placed = p.Epoch + 1 },
		"both epochs behind":    func(p *Partition, _ *StrongConfig, _ *State) { p.Epoch += 2 },
		"one epoch for both":    func(p *Partition, c *StrongConfig, _ *State) { p.Placed = c.Epoch },
		"strong epoch 0":        func(_ *Partition, c *StrongConfig, _ *State) { c.Epoch = 0 },
		"no incarnation":        func(_ *Partition, c *StrongConfig, _ *State) { c.Incarnation = 0 },
		"loss without recovery": func(_ *Partition, c *StrongConfig, _ *State) { c.PossibleLoss = true },
		"no set":                func(_ *Partition, c *StrongConfig, _ *State) { c.Sets = nil },
		"three sets":            func(_ *Partition, c *StrongConfig, _ *State) { c.Sets = [][]SID{c.Sets[0], c.Sets[0], c.Sets[0]} },
		"an empty set":          func(_ *Partition, c *StrongConfig, _ *State) { c.Sets = [][]SID{c.Sets[0], nil} },
		"a store twice":         func(_ *Partition, c *StrongConfig, _ *State) { c.Sets = [][]SID{sidsOf("a", "b", "a")} },
		"too large a set":       func(_ *Partition, c *StrongConfig, _ *State) { c.Sets = [][]SID{sidsOf("a", "b", "c", "d")} },
		"a stranger in a set":   func(_ *Partition, c *StrongConfig, _ *State) { c.Sets = [][]SID{append(sidsOf("x"), c.Sets[0][:2]...)} },
		"primary outside":       func(p *Partition, _ *StrongConfig, _ *State) { p.Primary = sidOf("x") },
		"no primary":            func(p *Partition, _ *StrongConfig, _ *State) { p.Primary = SID{} },
		"a member learns":       func(_ *Partition, c *StrongConfig, _ *State) { c.Learners = c.Sets[0][:1] },
		"a learner twice":       func(_ *Partition, c *StrongConfig, _ *State) { c.Learners = sidsOf("x", "x") },
		"a learner unknown":     func(_ *Partition, c *StrongConfig, _ *State) { c.Learners = sidsOf("x") },
		"lost and a member":     func(_ *Partition, c *StrongConfig, _ *State) { c.Lost = c.Sets[0][:1] },
		"lost and unknown":      func(_ *Partition, c *StrongConfig, _ *State) { c.Lost = sidsOf("x") },
		"too many lost": func(_ *Partition, c *StrongConfig, _ *State) {
			c.Lost = sidsOf("1", "2", "3", "4", "5", "6", "7", "8", "9", "A")
		},
		"a strong bucket, no n":  func(_ *Partition, _ *StrongConfig, s *State) { spoilBucket(s, func(b *Bucket) { b.N = 1 }) },
		"a sloppy strong bucket": func(_ *Partition, _ *StrongConfig, s *State) { spoilBucket(s, func(b *Bucket) { b.Sloppy = true }) },
		"no configurations at all": func(_ *Partition, _ *StrongConfig, s *State) {
			for p := range s.Partitions {
				s.Partitions[p].Strong, s.Partitions[p].Placed = nil, 0
			}
		},
	} {
		bad := *good
		bad.Partitions, bad.Buckets = slices.Clone(good.Partitions), maps.Clone(good.Buckets)
		part := &bad.Partitions[2]
		c := *part.Strong
		part.Strong = &c
		spoil(part, &c, &bad)
		if err := bad.Check(); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

func spoilBucket(s *State, change func(*Bucket)) {
	b := s.Buckets["locks"]
	change(&b)
	s.Buckets["locks"] = b
}

// The forms stand in Raft logs and on disks.
func TestGoldenStrongForms(t *testing.T) {
	hex := func(name string) string { return `"` + sidOf(name).String() + `"` }
	for want, c := range map[string]StrongChange{
		`{"partition":7,"epoch":9,"kind":"primary","primary":` + hex("a") + `}`:                             {7, 9, StrongPrimary, sidOf("a"), nil},
		`{"partition":7,"epoch":9,"kind":"activate"}`:                                                       {7, 9, StrongActivate, SID{}, nil},
		`{"partition":7,"epoch":9,"kind":"joint","stores":[` + hex("b") + `]}`:                              {7, 9, StrongJoint, SID{}, sidsOf("b")},
		`{"partition":7,"epoch":9,"kind":"settle","primary":` + hex("a") + `}`:                              {7, 9, StrongSettle, sidOf("a"), nil},
		`{"partition":7,"epoch":9,"kind":"abort"}`:                                                          {7, 9, StrongAbort, SID{}, nil},
		`{"partition":7,"epoch":9,"kind":"learners"}`:                                                       {7, 9, StrongLearners, SID{}, nil},
		`{"partition":7,"epoch":9,"kind":"recover","primary":` + hex("a") + `,"stores":[` + hex("a") + `]}`: {7, 9, StrongRecover, sidOf("a"), sidsOf("a")},
	} {
		b, err := EncodeCommand(strongCommand(c))
		want = "\x01" + `{"kind":"strong","strong":{"changes":[` + want + `]}}`
		if err != nil || string(b) != want {
			t.Errorf("%v:\n%s\nwant\n%s", err, b, want)
		}
		if back, err := DecodeCommand(b); err != nil || !reflect.DeepEqual(back, strongCommand(c)) {
			t.Errorf("%s came back as %+v, %v", b, back, err)
		}
	}
	s := strongRing(t, 1, "a")
	text := string(encoded(t, s))
	for _, part := range []string{
		`{"epoch":2,"primary":` + hex("a") + `,"replicas":[` + hex("a") + `],"placed":1,"strong":{"epoch":2,"incarnation":1,"sets":[[` + hex("a") + `]],"activated":false}}`,
		`"locks":{"id":4,"name":"locks","mode":"strong","conflict":"","n":3,"r":0,"w":0,"sloppy":false,"ttl":0}`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%s\nlacks\n%s", text, part)
		}
	}
	if back, err := DecodeState([]byte(text)); err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("it came back as %+v, %v", back, err)
	}
}

// The longest batch of primaries that may be proposed fits a command.
func TestTheLongestStrongBatchFits(t *testing.T) {
	c := &StrongChanges{}
	for p := range MaxPlaces {
		sid := SID{}
		copy(sid[:], fmt.Sprintf("%016d", p+1))
		c.Changes = append(c.Changes, StrongChange{Partition: uint32(MaxPartitions - MaxPlaces + p), Epoch: 1<<64 - 1, Kind: StrongPrimary, Primary: sid})
	}
	b, err := EncodeCommand(Command{Kind: KindStrong, Strong: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of %d", len(b), MaxCommandBytes)
}
