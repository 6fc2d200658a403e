package hashring

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// modernStore speaks FeatureBuilding.
func modernStore(name, zone string) Store {
	st := storeOf(name, zone)
	st.FeatureMax = FeatureBuilding
	return st
}

// modernRing is ringOf at FeatureBuilding; idle stores are registered last.
func modernRing(tb testing.TB, partitions, replicas, idle int, names ...string) *State {
	tb.Helper()
	c := initCommand(replicas)
	c.Init.Feature = FeatureBuilding
	s := must(tb, nil, c)
	first := &FirstRing{Partitions: partitions}
	for i, name := range names {
		s = must(tb, s, registerCommand(modernStore(name, "")))
		if i < len(names)-idle {
			first.Stores = append(first.Stores, sidOf(name))
		}
	}
	return must(tb, s, Command{Kind: KindFirstRing, FirstRing: first})
}

// replaceCommand: a new store under the node name, which is the old store's id too.
func replaceCommand(old, fresh string, change func(*ReplaceStore)) Command {
	c := &ReplaceStore{Old: sidOf(old), Boot: 1, Store: modernStore(fresh, "")}
	c.Store.Node = old[:1]
	if change != nil {
		change(c)
	}
	return Command{Kind: KindReplaceStore, ReplaceStore: c}
}

func growCommand(places ...Place) Command { return Command{Kind: KindGrow, Grow: &Grow{places}} }
func filledCommand(places ...Place) Command {
	return Command{Kind: KindFilled, Filled: &Filled{places}}
}
func purgeCommand(c ...PurgeRound) Command { return Command{Kind: KindPurge, Purge: &PurgeRounds{c}} }

func stateCommand(name string, state StoreState) Command {
	return Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf(name), state}}
}

func TestBuildRefusals(t *testing.T) {
	whole := modernRing(t, 4, 3, 1, "a", "b", "c", "d")
	old := ringOf(t, 4, 3, 0, []Store{storeOf("a", ""), storeOf("b", ""), storeOf("c", "")})
	built := must(t, whole, replaceCommand("b", "b2", nil)) // session 7, epoch 2
	short := modernRing(t, 4, 3, 2, "a", "b", "c", "d")     // lists of two, epoch 1
	growing := must(t, short, growCommand(Place{0, 1, sidOf("c"), 0}))
	sick := must(t, must(t, short, stateCommand("c", StoreSuspect)), stateCommand("d", StoreDraining))
	full := Place{0, 2, sidOf("b2"), built.Version}
	renamed := must(t, must(t, whole, stateCommand("b", StoreRetired)), registerCommand(func() Store { s := modernStore("b2", ""); s.Node = "b"; return s }()))
	spoilt := must(t, built, stateCommand("b2", StoreSuspect))
	with := func(pl Place, change func(*Place)) Place { change(&pl); return pl }
	boot := func(n uint64) func(*ReplaceStore) { return func(c *ReplaceStore) { c.Boot = n } }
	store := func(change func(*Store)) func(*ReplaceStore) { return func(c *ReplaceStore) { change(&c.Store) } }
	k := Clock{{1, 5}}
	many := make([]Place, MaxPlaces+1)
	rounds := make([]PurgeRound, len(many))
	for i := range many {
		many[i] = Place{uint32(i), 1, sidOf("c"), 0}
		rounds[i] = PurgeRound{Partition: uint32(i), Epoch: 1, Generation: 1, Clock: k}
	}

	for name, c := range map[string]struct {
		state *State
		do    Command
		want  error
	}{
		"replace, before its level":  {old, replaceCommand("b", "b2", nil), ErrNotSupported},
		"grow, before its level":     {old, growCommand(Place{0, 1, sidOf("c"), 0}), ErrNotSupported},
		"filled, before its level":   {old, filledCommand(full), ErrNotSupported},
		"purge, before its level":    {old, purgeCommand(PurgeRound{Epoch: 1, Generation: 1, Clock: k}), ErrNotSupported},
		"register that replaces":     {whole, Command{Kind: KindRegister, Register: &Register{Store: replaceCommand("b", "b2", nil).ReplaceStore.Store, Replaces: sidOf("b")}}, ErrNotSupported},
		"register with a successor":  {whole, registerCommand(func() Store { s := modernStore("e", ""); s.Successor = sidOf("a"); return s }()), ErrInvalid},
		"replace nobody":             {whole, replaceCommand("b", "b2", func(c *ReplaceStore) { c.Old = SID{} }), ErrInvalid},
		"replace by itself":          {whole, replaceCommand("b", "b", nil), ErrInvalid},
		"replace at boot 0":          {whole, replaceCommand("b", "b2", boot(0)), ErrInvalid},
		"replace by boot 0":          {whole, replaceCommand("b", "b2", store(func(s *Store) { s.Boot = 0 })), ErrInvalid},
		"replace, with a successor":  {whole, replaceCommand("b", "b2", store(func(s *Store) { s.Successor = sidOf("c") })), ErrInvalid},
		"replace an unknown store":   {whole, replaceCommand("x", "x2", nil), ErrUnknownStore},
		"replace another node's":     {whole, replaceCommand("b", "b2", store(func(s *Store) { s.Node = "a" })), ErrUnknownStore},
		"replace a newer start":      {whole, replaceCommand("b", "b2", boot(2)), ErrStaleEpoch},
		"replace again":              {built, replaceCommand("b", "b2", nil), ErrSame},
		"replace by a third":         {built, replaceCommand("b", "b3", nil), ErrStaleEpoch},
		"replace by an old binary":   {whole, replaceCommand("b", "b2", store(func(s *Store) { s.FeatureMax = 2 })), ErrInvalid},
		"replace by a retired store": {built, replaceCommand("b2", "b", func(c *ReplaceStore) { c.Store.Node = "b" }), ErrInvalid},
		"replace by another's store": {whole, replaceCommand("b", "c", store(func(s *Store) { s.Boot = 1 })), ErrStaleEpoch},
		"replace under a taken name": {renamed, replaceCommand("b", "b3", nil), ErrNameTaken},
		"replace the last full one":  {must(t, must(t, whole, stateCommand("a", StoreSuspect)), stateCommand("b", StoreSuspect)), replaceCommand("c", "c2", nil), ErrLastFull},
		"retire the last full one":   {must(t, must(t, whole, stateCommand("a", StoreSuspect)), stateCommand("b", StoreSuspect)), stateCommand("c", StoreRetired), ErrLastFull},
		"trust a suspect store":      {must(t, whole, stateCommand("a", StoreSuspect)), stateCommand("a", StoreUp), ErrInvalid},
		"suspect, then draining":     {must(t, whole, stateCommand("a", StoreSuspect)), stateCommand("a", StoreDraining), ErrInvalid},

		"grow by nothing":         {short, growCommand(), ErrInvalid},
		"grow by too much":        {short, growCommand(many...), ErrInvalid},
		"grow a list twice":       {short, growCommand(Place{0, 1, sidOf("c"), 0}, Place{0, 1, sidOf("d"), 0}), ErrInvalid},
		"grow out of order":       {short, growCommand(Place{1, 1, sidOf("c"), 0}, Place{0, 1, sidOf("d"), 0}), ErrInvalid},
		"grow in a session":       {short, growCommand(Place{0, 1, sidOf("c"), 7}), ErrInvalid},
		"grow another partition":  {short, growCommand(Place{4, 1, sidOf("c"), 0}), ErrInvalid},
		"grow another epoch":      {short, growCommand(Place{0, 2, sidOf("c"), 0}), ErrStaleEpoch},
		"grow by an unknown":      {short, growCommand(Place{0, 1, sidOf("x"), 0}), ErrUnknownStore},
		"grow by an owner":        {short, growCommand(Place{0, 1, sidOf("a"), 0}), ErrSame},
		"grow by a suspect":       {sick, growCommand(Place{0, 1, sidOf("c"), 0}), ErrInvalid},
		"grow by a draining one":  {sick, growCommand(Place{0, 1, sidOf("d"), 0}), ErrInvalid},
		"grow a long list":        {whole, growCommand(Place{0, 1, sidOf("d"), 0}), ErrTooMany},
		"grow while building":     {growing, growCommand(Place{0, 2, sidOf("d"), 0}), ErrTooMany},
		"grow, one of two stale":  {short, growCommand(Place{0, 1, sidOf("c"), 0}, Place{1, 2, sidOf("d"), 0}), ErrStaleEpoch},
		"filled without session":  {built, filledCommand(with(full, func(p *Place) { p.Session = 0 })), ErrInvalid},
		"filled, stale session":   {built, filledCommand(with(full, func(p *Place) { p.Session-- })), ErrStaleEpoch},
		"filled, stale epoch":     {built, filledCommand(with(full, func(p *Place) { p.Epoch-- })), ErrStaleEpoch},
		"filled, not building":    {built, filledCommand(with(full, func(p *Place) { p.SID = sidOf("a") })), ErrStaleEpoch},
		"filled, but suspect":     {spoilt, filledCommand(Place{0, 3, sidOf("b2"), spoilt.Version}), ErrInvalid},
		"filled, unknown":         {built, filledCommand(with(full, func(p *Place) { p.SID = sidOf("x") })), ErrStaleEpoch},
		"filled, no such":         {built, filledCommand(with(full, func(p *Place) { p.Partition = 9 })), ErrInvalid},
		"purge generation 0":      {whole, purgeCommand(PurgeRound{Epoch: 1, Clock: k}), ErrInvalid},
		"purge before 1970":       {whole, purgeCommand(PurgeRound{Epoch: 1, Generation: 1, TimeMS: -1}), ErrInvalid},
		"purge by a bad clock":    {whole, purgeCommand(PurgeRound{Epoch: 1, Generation: 1, Clock: Clock{{1, 0}}}), ErrInvalid},
		"purge another epoch":     {whole, purgeCommand(PurgeRound{Epoch: 2, Generation: 1, Clock: k}), ErrStaleEpoch},
		"purge a generation late": {whole, purgeCommand(PurgeRound{Epoch: 1, Generation: 2, Clock: k}), ErrStaleEpoch},
		"purge another partition": {whole, purgeCommand(PurgeRound{Partition: 4, Epoch: 1, Generation: 1, Clock: k}), ErrInvalid},
		"purge, no rounds":        {whole, purgeCommand(), ErrInvalid},
		"purge, too many rounds":  {whole, purgeCommand(rounds...), ErrInvalid},
		"purge twice in one":      {whole, purgeCommand(PurgeRound{Epoch: 1, Generation: 1, Clock: k}, PurgeRound{Epoch: 1, Generation: 2, Clock: k}), ErrInvalid},
		"purge, one of two stale": {whole, purgeCommand(PurgeRound{Epoch: 1, Generation: 1, Clock: k}, PurgeRound{Partition: 1, Epoch: 9, Generation: 1, Clock: k}), ErrStaleEpoch},
		"purge nothing":           {whole, purgeCommand(PurgeRound{Epoch: 1, Generation: 1}), ErrSame},
		"purge while building":    {built, purgeCommand(PurgeRound{Epoch: 2, Generation: 1, Clock: k}), ErrUnsettled},
		"purge with a suspect":    {must(t, whole, stateCommand("a", StoreSuspect)), purgeCommand(PurgeRound{Epoch: 2, Generation: 1, Clock: k}), ErrUnsettled},
		"purge with one down":     {must(t, whole, stateCommand("a", StoreDown)), purgeCommand(PurgeRound{Epoch: 1, Generation: 1, Clock: k}), ErrUnsettled},
	} {
		next, err := c.state.Apply(c.state.Version+1, c.do)
		var refusal *Refusal
		if !errors.Is(err, c.want) || next != nil || !errors.As(err, &refusal) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A list of two of four that builds its third has room for a fourth, but waits.
func TestOneBuilderAtATime(t *testing.T) {
	s := modernRing(t, 1, 4, 2, "a", "b", "c", "d")
	s = must(t, s, growCommand(Place{0, 1, sidOf("c"), 0}))
	if _, err := s.Apply(99, growCommand(Place{0, 2, sidOf("d"), 0})); !errors.Is(err, ErrUnsettled) {
		t.Errorf("a second builder: %v", err)
	}
	if places := PlanGrow(s, func(SID) bool { return true }); len(places) != 0 {
		t.Errorf("planned: %v", places)
	}
}

// The fourth owner is nothing to a bucket with n=2, whose own two are not full: it may
// be replaced, because the third is full for the others.
func TestAWideOwnerIsNotANarrowOne(t *testing.T) {
	s := modernRing(t, 1, 4, 0, "a", "b", "c", "d")
	s = must(t, s, Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: "two", N: 2}})
	list := s.Partitions[0].Replicas
	s = must(t, s, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{list[0], StoreSuspect}})
	s = must(t, s, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{list[1], StoreSuspect}})
	if err := s.LastFull(list[3]); err != nil {
		t.Errorf("the fourth: %v", err)
	}
	if err := s.LastFull(list[1]); !errors.Is(err, ErrLastFull) {
		t.Errorf("the second: %v", err)
	}
}

func TestAFullClockIsRefused(t *testing.T) {
	s := modernRing(t, 4, 3, 0, "a", "b", "c")
	var k Clock
	for actor := uint64(1); k.Bytes()+9 <= MaxClockBytes; actor++ {
		k = append(k, Dot{actor << 40, 1})
	}
	s = must(t, s, purgeCommand(PurgeRound{Epoch: 1, Generation: 1, Clock: k}))
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	one := Clock{{7, 1}}
	if _, err := s.Apply(99, purgeCommand(PurgeRound{Epoch: 1, Generation: 2, Clock: one})); !errors.Is(err, ErrTooMany) {
		t.Errorf("one actor more than %d: %v", len(k), err)
	}
	if err := s.Partitions[0].checkStage(&State{Version: 99, Feature: 3, Partitions: make([]Partition, MaxPartitions)}, 0); !errors.Is(err, ErrTooMany) {
		t.Errorf("over its share: %v", err)
	}
}

// Apply of the old commands is what it was, below the level that changed them.
func TestOldCommandsMeanWhatTheyMeant(t *testing.T) {
	s := ringOf(t, 4, 3, 0, []Store{storeOf("a", ""), storeOf("b", ""), storeOf("c", "")})
	for _, state := range []StoreState{StoreSuspect, StoreUp, StoreRetired} {
		next := must(t, s, stateCommand("b", state))
		if !reflect.DeepEqual(next.Partitions, s.Partitions) {
			t.Errorf("%s changed partitions", state)
		}
		s = next
	}
	for _, name := range []string{"a", "c"} { // the last full owners too
		s = must(t, s, stateCommand(name, StoreRetired))
	}
}

// The successor of a store from an old log may have grown into the list meanwhile:
// then the dead store's place is given up.
func TestASuccessorThatIsInTheList(t *testing.T) {
	s := ringOf(t, 1, 3, 0, []Store{modernStore("a", ""), modernStore("b", "")})
	fresh := replaceCommand("b", "b2", nil).ReplaceStore.Store
	s = must(t, s, Command{Kind: KindRegister, Register: &Register{Store: fresh, Replaces: sidOf("b")}})
	s = must(t, s, Command{Kind: KindSetFeature, SetFeature: &SetFeature{FeatureBuilding}})
	s = must(t, s, growCommand(Place{0, 1, sidOf("b2"), 0}))
	s = must(t, s, replaceCommand("b", "b2", nil))
	part := s.Partitions[0]
	if want := []SID{sidOf("a"), sidOf("b2")}; !slices.Equal(part.Replicas, want) || !slices.Equal(part.Building, want[1:]) || part.Epoch != 3 || part.Session != s.Version {
		t.Errorf("%+v", part)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// The same, when the dead store was building.
func TestASuccessorInTheListOfABuilder(t *testing.T) {
	s := modernRing(t, 1, 3, 0, "a", "b", "c")
	c := s.Partitions[0].Replicas[2]
	s.Stores[slices.IndexFunc(s.Stores, func(st Store) bool { return st.SID == c })].Node = "b"
	i, _ := s.find(sidOf("b"))
	s.Stores[i].State = StoreRetired
	s.Partitions[0].Building, s.Partitions[0].Session = []SID{sidOf("b")}, s.Version
	fresh := s.Stores[2]
	s = must(t, s, Command{Kind: KindReplaceStore, ReplaceStore: &ReplaceStore{Old: sidOf("b"), Boot: 1, Store: fresh}})
	if part := s.Partitions[0]; len(part.Replicas) != 2 || part.Building != nil || part.Session != 0 || s.Check() != nil {
		t.Errorf("%+v: %v", part, s.Check())
	}
}

// What the proposer says of the new store's state is not taken.
func TestAReplacementIsUp(t *testing.T) {
	s := must(t, modernRing(t, 1, 3, 0, "a", "b", "c"), replaceCommand("b", "b2", func(c *ReplaceStore) { c.Store.State = StoreRetired }))
	if i, ok := s.find(sidOf("b2")); !ok || s.Stores[i].State != StoreUp {
		t.Errorf("%+v", s.Stores)
	}
}

func TestAReplacedPrimaryIsNoPrimary(t *testing.T) {
	s := modernRing(t, 1, 3, 0, "a", "b", "c")
	s.Partitions[0].Primary = sidOf("b")
	s = must(t, s, replaceCommand("b", "b2", nil))
	if !s.Partitions[0].Primary.IsZero() || s.Check() != nil {
		t.Errorf("primary %s: %v", s.Partitions[0].Primary.Short(), s.Check())
	}
}

func TestReplacementIsBounded(t *testing.T) {
	s := modernRing(t, 1, 3, 0, "a", "b", "c")
	for i := len(s.Stores); i < MaxStores; i++ {
		s = must(t, s, registerCommand(modernStore(fmt.Sprintf("n%04d", i), "")))
	}
	for _, name := range []string{"a", "b", "c"} {
		if _, err := s.Apply(s.Version+1, replaceCommand(name, name+"2", nil)); !errors.Is(err, ErrTooMany) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// unreplaced drops what the stores know of their successors.
func unreplaced(s *State) {
	for i := range s.Stores {
		s.Stores[i].Successor = SID{}
	}
	for i := 1; i < len(s.Partitions); i++ {
		s.Partitions[i].Building, s.Partitions[i].Session, s.Partitions[i].Purge = nil, 0, nil
	}
}

func TestCheckFindsBrokenStages(t *testing.T) {
	good := must(t, modernRing(t, 4, 3, 0, "a", "b", "c"), purgeCommand(PurgeRound{Epoch: 1, Generation: 1, Clock: Clock{{1, 5}}}))
	good = must(t, must(t, good, replaceCommand("b", "b2", nil)), replaceCommand("a", "a2", nil))
	for name, spoil := range map[string]func(s *State, p *Partition){
		"an older level":      func(s *State, p *Partition) { s.Feature = FeatureBuilding - 1 },
		"builds elsewhere":    func(s *State, p *Partition) { p.Building = []SID{sidOf("x")} },
		"builds out of order": func(s *State, p *Partition) { slices.Reverse(p.Building) },
		"builds twice":        func(s *State, p *Partition) { p.Building = append(p.Building, p.Building[1]) },
		"no session":          func(s *State, p *Partition) { p.Session = 0 },
		"session of nobody":   func(s *State, p *Partition) { p.Building = nil },
		"session ahead":       func(s *State, p *Partition) { p.Session = s.Version + 1 },
		"generation 0":        func(s *State, p *Partition) { p.Purge.Generation = 0 },
		"purge time":          func(s *State, p *Partition) { p.Purge.TimeMS = -1 },
		"purge clock":         func(s *State, p *Partition) { p.Purge.Clock = Clock{{2, 1}, {1, 1}} },
		"lists the replaced":  func(s *State, p *Partition) { p.Replicas[0], p.Building = sidOf("a"), nil; p.Session = 0 },
		"unknown successor":   func(s *State, p *Partition) { s.Stores[0].Successor = sidOf("x") },
		"successor in use":    func(s *State, p *Partition) { s.Stores[0].State, s.Stores[1].State = StoreDown, StoreRetired },
		"a purge too early": func(s *State, p *Partition) {
			s.Feature = FeatureBuilding - 1
			unreplaced(s)
			p.Building, p.Session = nil, 0
		},
		"a session too early": func(s *State, p *Partition) {
			s.Feature = FeatureBuilding - 1
			unreplaced(s)
			p.Purge = nil
		},
		"a successor too early": func(s *State, p *Partition) {
			s.Feature = FeatureBuilding - 1
			for i := range s.Partitions {
				s.Partitions[i].Building, s.Partitions[i].Session, s.Partitions[i].Purge = nil, 0, nil
			}
		},
		"another's successor": func(s *State, p *Partition) { s.Stores[0].Successor = sidOf("c") },
		"circle": func(s *State, p *Partition) {
			s.Stores[1].State, s.Stores[1].Successor = StoreRetired, s.Stores[0].SID
			s.Stores[0].Successor = s.Stores[1].SID
			*p = Partition{Epoch: 9, Replicas: []SID{sidOf("c")}}
			for i := range s.Partitions {
				s.Partitions[i] = *p
			}
		},
	} {
		bad := *good
		bad.Stores, bad.Partitions, bad.Buckets = slices.Clone(good.Stores), slices.Clone(good.Partitions), maps.Clone(good.Buckets)
		part := &bad.Partitions[0]
		part.Replicas, part.Building = slices.Clone(part.Replicas), slices.Clone(part.Building)
		purge := *part.Purge
		part.Purge = &purge
		spoil(&bad, part)
		if err := bad.Check(); err == nil {
			t.Errorf("%s: not found", name)
		}
		NewRing(&bad).Successor(sidOf("a")) // must end
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

// A batch beyond the bound is refused whatever the ring is.
func TestLongerBatchesAreRefused(t *testing.T) {
	places, rounds := make([]Place, MaxPlaces+1), make([]PurgeRound, MaxPlaces+1)
	for i := range places {
		places[i] = Place{uint32(i), 1, sidOf("c"), 0}
		rounds[i] = PurgeRound{Partition: uint32(i), Epoch: 1, Generation: 1, Clock: Clock{{1, 5}}}
	}
	for _, c := range []Command{growCommand(places...), purgeCommand(rounds...)} {
		if c.check() == nil {
			t.Errorf("%s of %d was taken", c.Kind, MaxPlaces+1)
		}
	}
	if c := replaceCommand("b", "b", nil); c.check() == nil {
		t.Error("a store replaces itself")
	}
	if c := growCommand(places[1:]...); c.check() != nil {
		t.Error(c.check())
	}
	if c := purgeCommand(rounds[1:]...); c.check() != nil {
		t.Error(c.check())
	}
}

// The longest batch of places fits a command.
func TestTheLongestBatchIsEncoded(t *testing.T) {
	places := make([]Place, MaxPlaces)
	for i := range places {
		places[i] = Place{uint32(MaxPartitions - MaxPlaces + i), math.MaxUint64, sidOf("c"), math.MaxUint64}
	}
	b, err := EncodeCommand(filledCommand(places...))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of %d", len(b), MaxCommandBytes)
	var k Clock
	for actor := uint64(1); k.Bytes() < MaxClockBytes-20; actor++ {
		k = append(k, Dot{math.MaxUint64 - 2000 + actor, math.MaxUint64})
	}
	if _, err := EncodeCommand(purgeCommand(PurgeRound{Partition: math.MaxUint32, Epoch: math.MaxUint64, Generation: math.MaxUint64, Clock: k, TimeMS: math.MaxInt64, Stores: math.MaxInt64})); err != nil {
		t.Fatal(err)
	}
}

// The forms of the new commands and of a state with them, as they stand in logs.
const (
	goldenReplace = "\x01" + `{"kind":"replace_store","replace_store":{"old":"62000000000000000000000000000000","boot":1,"store":{` +
		`"sid":"62320000000000000000000000000000","node":"b","api":"b2:7400","gossip":"b2:7401","peer":"b2:7402","boot":1,"state":"up","feature_max":3}}}`
	goldenFilled = "\x01" + `{"kind":"filled","filled":{"places":[{"partition":0,"epoch":2,"sid":"62320000000000000000000000000000","session":7}]}}`
	goldenGrow   = "\x01" + `{"kind":"grow","grow":{"places":[{"partition":3,"epoch":1,"sid":"63000000000000000000000000000000"}]}}`
	goldenPurge  = "\x01" + `{"kind":"purge","purge":{"rounds":[{"partition":1,"epoch":1,"generation":1,"clock":"AAAAAAAAAAcFAAAAAAAAAAmsAg","time_ms":1000}]}}`
	goldenStages = `"partitions":[{"epoch":2,"primary":"00000000000000000000000000000000","replicas":["61000000000000000000000000000000",` +
		`"62320000000000000000000000000000"],"building":["62320000000000000000000000000000"],"session":6,` +
		`"purge":{"generation":1,"clock":"AAAAAAAAAAcF","time_ms":1000}}]`
	goldenRetired = `"boot":1,"state":"retired","feature_max":3,"successor":"62320000000000000000000000000000"}`
)

func TestGoldenBuildForms(t *testing.T) {
	for want, c := range map[string]Command{
		goldenReplace: replaceCommand("b", "b2", nil),
		goldenFilled:  filledCommand(Place{0, 2, sidOf("b2"), 7}),
		goldenGrow:    growCommand(Place{3, 1, sidOf("c"), 0}),
		goldenPurge:   purgeCommand(PurgeRound{1, 1, 1, Clock{{7, 5}, {9, 300}}, 1000, 0}),
	} {
		b, err := EncodeCommand(c)
		if err != nil || string(b) != want {
			t.Errorf("%v:\n%s\nwant\n%s", err, b, want)
		}
		if back, err := DecodeCommand([]byte(want)); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%s: %+v, %v", want, back, err)
		}
	}
	s := must(t, modernRing(t, 1, 2, 0, "a", "b"), purgeCommand(PurgeRound{0, 1, 1, Clock{{7, 5}}, 1000, 0}))
	s = must(t, s, replaceCommand("b", "b2", nil))
	text := string(encoded(t, s))
	for _, want := range []string{goldenStages, goldenRetired} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nlacks\n%s", text, want)
		}
	}
	// A state of a release before is read, and written, as it was.
	if old, err := DecodeState([]byte(goldenState)); err != nil || string(encoded(t, old)) != goldenState {
		t.Errorf("the old form: %v", err)
	}
}
