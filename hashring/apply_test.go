package hashring

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

func initCommand(replicas int) Command {
	return Command{Kind: KindInit, Init: &Init{Cluster: sidOf("c"), Replicas: replicas, Feature: 1}}
}

func registerCommand(st Store) Command {
	return Command{Kind: KindRegister, Register: &Register{Store: st}}
}

func TestApplyRefusals(t *testing.T) {
	three := ringOf(t, 20, 3, 0, []Store{storeOf("a", ""), storeOf("b", ""), storeOf("c", "")})
	three = must(t, three, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf("c"), StoreRetired}})
	with := func(name string, change func(*Store)) Command {
		st := storeOf(name, "")
		change(&st)
		return registerCommand(st)
	}
	bucket := func(b Bucket) Command { return Command{Kind: KindCreateBucket, CreateBucket: &b} }
	update := func(u UpdateBucket) Command { return Command{Kind: KindUpdateBucket, UpdateBucket: &u} }
	ring := func(partitions int, stores ...SID) Command {
		return Command{Kind: KindFirstRing, FirstRing: &FirstRing{partitions, stores}}
	}
	noRing := must(t, must(t, nil, initCommand(3)), registerCommand(storeOf("a", "")))
	draining := must(t, noRing, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf("a"), StoreDraining}})

	for name, c := range map[string]struct {
		state *State
		do    Command
		want  error
	}{
		"nothing":                   {three, Command{}, ErrInvalid},
		"unknown kind":              {three, Command{Kind: "split", DeleteBucket: &DeleteBucket{"default"}}, ErrInvalid},
		"member of another kind":    {three, Command{Kind: KindInit, DeleteBucket: &DeleteBucket{"default"}}, ErrInvalid},
		"two members":               {three, Command{Kind: KindDeleteBucket, DeleteBucket: &DeleteBucket{"default"}, SetFeature: &SetFeature{2}}, ErrInvalid},
		"before init":               {nil, registerCommand(storeOf("a", "")), ErrNoCluster},
		"init without an id":        {nil, Command{Kind: KindInit, Init: &Init{Replicas: 3}}, ErrInvalid},
		"init with no replicas":     {nil, initCommand(0), ErrInvalid},
		"init with many replicas":   {nil, initCommand(MaxReplicas + 1), ErrInvalid},
		"init again":                {three, initCommand(3), ErrSame},
		"init of another":           {three, initCommand(2), ErrExists},
		"boot as registered":        {three, registerCommand(storeOf("a", "")), ErrBootNotNewer},
		"boot below the registered": {must(t, three, with("a", func(s *Store) { s.Boot = 9 })), with("a", func(s *Store) { s.Boot = 8 }), ErrBootNotNewer},
		"boot 0":                    {three, with("d", func(s *Store) { s.Boot = 0 }), ErrInvalid},
		"name taken":                {three, with("d", func(s *Store) { s.Node = "a" }), ErrNameTaken},
		"name taken at a new boot":  {three, with("b", func(s *Store) { s.Node, s.Boot = "a", 2 }), ErrNameTaken},
		"retired store again":       {three, with("c", func(s *Store) { s.Boot = 2 }), ErrRetired},
		"an old binary":             {three, with("d", func(s *Store) { s.FeatureMax = 0 }), ErrInvalid},
		"no sid":                    {three, with("", func(s *Store) { s.Node = "d" }), ErrInvalid},
		"node name with a space":    {three, with("d", func(s *Store) { s.Node = "d d" }), ErrInvalid},
		"node name too long":        {three, with("d", func(s *Store) { s.Node = strings.Repeat("d", MaxName+1) }), ErrInvalid},
		"zone not text":             {three, with("d", func(s *Store) { s.Zone = "z\xff" }), ErrInvalid},
		"address too long":          {three, with("d", func(s *Store) { s.Peer = strings.Repeat("p", MaxAddress+1) }), ErrInvalid},
		"expects another boot":      {three, Command{Kind: KindRegister, Register: &Register{Store: Store{SID: sidOf("a"), Node: "a", Boot: 9, FeatureMax: 1}, Expects: 3}}, ErrStaleEpoch},
		"expects, not registered":   {three, Command{Kind: KindRegister, Register: &Register{Store: storeOf("d", ""), Expects: 3}}, ErrStaleEpoch},
		"replaces an unknown store": {three, Command{Kind: KindRegister, Register: &Register{Store: storeOf("d", ""), Replaces: sidOf("x")}}, ErrUnknownStore},
		"replaces another node":     {three, Command{Kind: KindRegister, Register: &Register{Store: storeOf("d", ""), Replaces: sidOf("a")}}, ErrUnknownStore},
		"ring again":                {three, ring(20, sidOf("a")), ErrStaleEpoch},
		"ring of nobody":            {noRing, ring(20), ErrInvalid},
		"ring without partitions":   {noRing, ring(0, sidOf("a")), ErrInvalid},
		"ring too large":            {noRing, ring(MaxPartitions+1, sidOf("a")), ErrInvalid},
		"ring of one store twice":   {noRing, ring(20, sidOf("a"), sidOf("a")), ErrInvalid},
		"ring of an unknown store":  {noRing, ring(20, sidOf("x")), ErrUnknownStore},
		"ring of a draining store":  {draining, ring(20, sidOf("a")), ErrInvalid},
		"bucket name":               {three, bucket(Bucket{Name: "Default"}), ErrInvalid},
		"bucket name too long":      {three, bucket(Bucket{Name: strings.Repeat("b", MaxName+1)}), ErrInvalid},
		"bucket with an id":         {three, bucket(Bucket{Name: "b", ID: 4}), ErrInvalid},
		"bucket n too large":        {three, bucket(Bucket{Name: "b", N: 4}), ErrInvalid},
		"bucket n negative":         {three, bucket(Bucket{Name: "b", N: -1}), ErrInvalid},
		"bucket r too large":        {three, bucket(Bucket{Name: "b", N: 2, R: 3}), ErrInvalid},
		"bucket w negative":         {three, bucket(Bucket{Name: "b", W: -1}), ErrInvalid},
		"bucket ttl negative":       {three, bucket(Bucket{Name: "b", TTL: -1}), ErrInvalid},
		"bucket mode":               {three, bucket(Bucket{Name: "b", Mode: "weak"}), ErrInvalid},
		"bucket conflict":           {three, bucket(Bucket{Name: "b", Conflict: "first"}), ErrInvalid},
		"strong bucket":             {three, bucket(Bucket{Name: "b", Mode: Strong}), ErrNotSupported},
		"same bucket":               {three, bucket(Bucket{Name: "default", Sloppy: true}), ErrSame},
		"other bucket":              {three, bucket(Bucket{Name: "default"}), ErrExists},
		"update of nothing":         {three, update(UpdateBucket{Name: "default"}), ErrSame},
		"update, unknown":           {three, update(UpdateBucket{Name: "b"}), ErrUnknownBucket},
		"update r too large":        {three, update(UpdateBucket{Name: "default", R: ptr(4)}), ErrInvalid},
		"delete, unknown":           {three, Command{Kind: KindDeleteBucket, DeleteBucket: &DeleteBucket{"b"}}, ErrUnknownBucket},
		"state of an unknown store": {three, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf("x"), StoreDown}}, ErrUnknownStore},
		"state unknown":             {three, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf("a"), "asleep"}}, ErrInvalid},
		"state as it is":            {three, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf("a"), StoreUp}}, ErrSame},
		"retired is final":          {three, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf("c"), StoreUp}}, ErrRetired},
		"feature as it is":          {three, Command{Kind: KindSetFeature, SetFeature: &SetFeature{1}}, ErrSame},
		"feature back":              {three, Command{Kind: KindSetFeature, SetFeature: &SetFeature{0}}, ErrInvalid},
		"feature nobody speaks":     {three, Command{Kind: KindSetFeature, SetFeature: &SetFeature{2}}, ErrInvalid},
	} {
		version := uint64(1)
		if c.state != nil {
			version += c.state.Version
		}
		next, err := c.state.Apply(version, c.do)
		var refusal *Refusal
		if !errors.Is(err, c.want) || next != nil || !errors.As(err, &refusal) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := three.Apply(three.Version, Command{Kind: KindDeleteBucket, DeleteBucket: &DeleteBucket{"default"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a version that does not grow: %v", err)
	}
}

// Two refusals are told apart by code alone, whatever else they say.
func TestRefusalsCompareByCode(t *testing.T) {
	_, err := (&State{}).Apply(1, registerCommand(storeOf("a", "")))
	if !errors.Is(fmt.Errorf("proposing: %w", err), ErrNoCluster) || errors.Is(err, ErrInvalid) {
		t.Errorf("%v", err)
	}
	s := must(t, must(t, nil, initCommand(3)), registerCommand(storeOf("a", "")))
	second := storeOf("b", "")
	second.Node = "a"
	_, err = s.Apply(9, registerCommand(second))
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Other == nil || refusal.Other.Peer != "a:7402" {
		t.Errorf("a taken name does not say who has it: %+v", refusal)
	}
}

func TestInitMakesTheDefaultBucket(t *testing.T) {
	s := must(t, nil, initCommand(2))
	want := Bucket{ID: 1, Name: "default", Mode: Eventual, Conflict: Siblings, N: 2, Sloppy: true}
	if len(s.Buckets) != 1 || s.Buckets["default"] != want {
		t.Errorf("%+v, want %+v", s.Buckets, want)
	}
}

func TestRegisterKeepsWhatTheGroupKnows(t *testing.T) {
	for before, after := range map[StoreState]StoreState{
		StoreUp: StoreUp, StoreDown: StoreUp, StoreSuspect: StoreSuspect, StoreDraining: StoreDraining,
	} {
		s := must(t, must(t, nil, initCommand(3)), registerCommand(storeOf("a", "z1")))
		if before != StoreUp {
			s = must(t, s, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf("a"), before}})
		}
		again := storeOf("a", "z2")
		again.Boot, again.State, again.Peer = 7, StoreRetired, "elsewhere:1"
		s = must(t, s, Command{Kind: KindRegister, Register: &Register{Store: again, Expects: 1}})
		again.State = after
		if s.Stores[0] != again {
			t.Errorf("a store that was %s: %+v, want %+v", before, s.Stores[0], again)
		}
	}
}

func TestReplaceRetiresTheDeadStore(t *testing.T) {
	s := ringOf(t, 4, 2, 0, []Store{storeOf("a", ""), storeOf("b", "")})
	fresh := storeOf("a", "")
	fresh.SID = sidOf("a2")
	next := must(t, s, Command{Kind: KindRegister, Register: &Register{Store: fresh, Replaces: sidOf("a")}})
	if next.Stores[0].State != StoreRetired || next.Stores[1].SID != fresh.SID || next.Stores[1].State != StoreUp {
		t.Errorf("stores: %+v", next.Stores)
	}
	if &next.Partitions[0] != &s.Partitions[0] {
		t.Error("a registration changed partitions")
	}
}

func TestBucketsGetNewIDs(t *testing.T) {
	s := must(t, nil, initCommand(3))
	create := Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: "b", N: 2, R: 1, W: 2, TTL: time.Hour, Conflict: LWW}}
	s = must(t, s, create)
	first := s.Buckets["b"]
	if first.ID != BucketID(s.Version) {
		t.Errorf("id %d at ring version %d", first.ID, s.Version)
	}
	s = must(t, s, Command{Kind: KindUpdateBucket, UpdateBucket: &UpdateBucket{Name: "b", R: ptr(2), W: ptr(0), Sloppy: ptr(true), TTL: ptr(time.Minute)}})
	if b, want := s.Buckets["b"], (Bucket{ID: first.ID, Name: "b", Mode: Eventual, Conflict: LWW, N: 2, R: 2, Sloppy: true, TTL: time.Minute}); b != want {
		t.Errorf("%+v, want %+v", b, want)
	}
	s = must(t, s, Command{Kind: KindDeleteBucket, DeleteBucket: &DeleteBucket{"b"}})
	s = must(t, s, create)
	if again := s.Buckets["b"]; again.ID <= first.ID {
		t.Errorf("id %d was used again", again.ID)
	}
}

func TestFeatureRisesOnceAllSpeakIt(t *testing.T) {
	s := must(t, nil, initCommand(3))
	for _, name := range []string{"a", "b"} {
		st := storeOf(name, "")
		st.FeatureMax = 4
		s = must(t, s, registerCommand(st))
	}
	old := storeOf("c", "")
	s = must(t, s, registerCommand(old))
	raise := Command{Kind: KindSetFeature, SetFeature: &SetFeature{3}}
	if _, err := s.Apply(99, raise); !errors.Is(err, ErrInvalid) {
		t.Errorf("with an old binary: %v", err)
	}
	s = must(t, s, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{old.SID, StoreRetired}})
	if s = must(t, s, raise); s.Feature != 3 {
		t.Errorf("feature %d", s.Feature)
	}
}

func TestBoundsAreReached(t *testing.T) {
	s := must(t, nil, initCommand(1))
	for i := range MaxStores {
		s = must(t, s, registerCommand(storeOf(fmt.Sprintf("n%04d", i), "")))
	}
	if _, err := s.Apply(s.Version+1, registerCommand(storeOf("more", ""))); !errors.Is(err, ErrTooMany) {
		t.Errorf("one store too many: %v", err)
	}
	for i := 1; i < MaxBuckets; i++ {
		s = must(t, s, Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: fmt.Sprintf("b%d", i)}})
	}
	if _, err := s.Apply(s.Version+1, Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: "more"}}); !errors.Is(err, ErrTooMany) {
		t.Errorf("one bucket too many: %v", err)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// The largest state there can be fits the codec: without strong mode, and with it.
func TestTheLargestStateIsEncoded(t *testing.T) {
	b, err := EncodeState(largest(MaxReplicas))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of %d", len(b), MaxStateBytes)
	s := largest(MaxStrongPlaces / MaxPartitions)
	for p := range s.Partitions {
		part := &s.Partitions[p]
		other := func(i int) (out []SID) {
			for j := range s.Replicas {
				out = append(out, s.Stores[(p+i*s.Replicas+j)%MaxStores].SID)
			}
			return out
		}
		learners := other(2)
		slices.SortFunc(learners, SID.Compare)
		lost := slices.Concat(other(3), other(4), other(5))[:MaxLost]
		slices.SortFunc(lost, SID.Compare)
		part.Placed = part.Epoch
		part.Strong = &StrongConfig{Epoch: part.Epoch - 1, Incarnation: 1 << 60, Sets: [][]SID{other(0), other(1)}, Learners: learners, PossibleLoss: true, Lost: lost}
	}
	if b, err = EncodeState(s); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of %d", len(b), MaxStateBytes)
	s.Replicas++
	if err := s.Check(); !errors.Is(err, ErrTooMany) {
		t.Errorf("one replica more: %v", err)
	}
}

// largest is a state at the bounds of everything but strong mode.
func largest(replicas int) *State {
	s := &State{Version: 1 << 60, Cluster: sidOf("c"), Feature: 60000, Replicas: replicas, Buckets: map[string]Bucket{}}
	long := strings.Repeat("a", MaxAddress)
	for i := range MaxStores {
		name := fmt.Sprintf("%063d", i)
		s.Stores = append(s.Stores, Store{SID: sidOf(name[len(name)-8:]), Node: name, API: long, Gossip: long, Peer: long, Frames: long,
			Zone: name, Boot: 1 << 60, Nonce: 1<<64 - 1, State: StoreDraining, FeatureMax: 65000})
	}
	var k Clock // the encoding is the longer the longer the counters
	for actor := uint64(1); k.Bytes()+18 <= clockShare(MaxPartitions); actor++ {
		k = append(k, Dot{1<<63 + actor, 1 << 63})
	}
	for p := range MaxPartitions {
		part := Partition{Epoch: 1 << 60}
		for i := range replicas {
			part.Replicas = append(part.Replicas, s.Stores[(p+i)%MaxStores].SID)
		}
		part.Primary = part.Replicas[0]
		part.Building, part.Session = part.Replicas, 1<<60
		part.Purge = &Purge{Generation: 1 << 60, Clock: k, TimeMS: 1 << 60}
		s.Partitions = append(s.Partitions, part)
	}
	for i := range MaxBuckets {
		name := fmt.Sprintf("%063d", i)
		s.Buckets[name] = Bucket{ID: BucketID(i + 1), Name: name, Mode: Eventual, Conflict: Siblings, N: replicas, R: replicas, W: replicas, Sloppy: true, TTL: 1 << 62}
	}
	return s
}

// Random histories of commands: the state keeps its invariants, a refusal leaves no
// trace, published states never change, and a second replica comes out the same.
func TestApplyHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s, twin *State
		published := map[*State][]byte{}
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			version := uint64(step + 1)
			c := drawCommand(t)
			next, err := s.Apply(version, c)
			again, errAgain := twin.Apply(version, c)
			if (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
				t.Fatalf("the same command gave %v and %v", err, errAgain)
			}
			if err == nil {
				if err := next.Check(); err != nil {
					t.Fatalf("after %+v: %v", c, err)
				}
				if next.Version != version {
					t.Fatalf("version %d, want %d", next.Version, version)
				}
				s, twin = next, again
				published[s] = encoded(t, s)
				if !bytes.Equal(encoded(t, twin), published[s]) {
					t.Fatal("two replicas differ")
				}
			}
		}
		for state, before := range published {
			if !bytes.Equal(encoded(t, state), before) {
				t.Fatalf("the published state %d has changed", state.Version)
			}
		}
	})
}

func encoded(t rapid.TB, s *State) []byte {
	b, err := EncodeState(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drawCommand draws from few names and ids, so that commands meet.
func drawCommand(t *rapid.T) Command {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
	small := rapid.IntRange(-1, 4)
	switch kind := rapid.SampledFrom([]CommandKind{KindInit, KindRegister, KindRegister, KindRegister, KindFirstRing, KindCreateBucket,
		KindUpdateBucket, KindDeleteBucket, KindSetStoreState, KindSetFeature}).Draw(t, "kind"); kind {
	case KindInit:
		return initCommand(rapid.IntRange(1, 4).Draw(t, "replicas"))
	case KindRegister:
		st := storeOf(name.Draw(t, "sid"), rapid.SampledFrom([]string{"", "z1", "z2"}).Draw(t, "zone"))
		st.Node, st.Boot = name.Draw(t, "node"), rapid.Uint64Range(0, 5).Draw(t, "boot")
		st.FeatureMax = rapid.Uint16Range(0, 3).Draw(t, "feature")
		r := &Register{Store: st, Expects: rapid.Uint64Range(0, 2).Draw(t, "expects")}
		if rapid.Bool().Draw(t, "replace") {
			r.Replaces = sidOf(name.Draw(t, "replaces"))
		}
		return Command{Kind: kind, Register: r}
	case KindFirstRing:
		c := &FirstRing{Partitions: rapid.IntRange(0, 12).Draw(t, "partitions")}
		for _, n := range rapid.SliceOfN(name, 1, 4).Draw(t, "stores") {
			c.Stores = append(c.Stores, sidOf(n))
		}
		return Command{Kind: kind, FirstRing: c}
	case KindCreateBucket:
		return Command{Kind: kind, CreateBucket: &Bucket{Name: name.Draw(t, "name"), N: small.Draw(t, "n"), R: small.Draw(t, "r"),
			W: small.Draw(t, "w"), Conflict: rapid.SampledFrom([]Conflict{"", LWW}).Draw(t, "conflict")}}
	case KindUpdateBucket:
		return Command{Kind: kind, UpdateBucket: &UpdateBucket{Name: name.Draw(t, "name"), R: ptr(small.Draw(t, "r")), Sloppy: ptr(rapid.Bool().Draw(t, "sloppy"))}}
	case KindDeleteBucket:
		return Command{Kind: kind, DeleteBucket: &DeleteBucket{name.Draw(t, "name")}}
	case KindSetStoreState:
		states := []StoreState{StoreUp, StoreSuspect, StoreDown, StoreDraining, StoreRetired, "odd"}
		return Command{Kind: kind, SetStoreState: &SetStoreState{sidOf(name.Draw(t, "sid")), rapid.SampledFrom(states).Draw(t, "state")}}
	default:
		return Command{Kind: KindSetFeature, SetFeature: &SetFeature{rapid.Uint16Range(0, 3).Draw(t, "feature")}}
	}
}

func TestCheckFindsWhatApplyNeverMakes(t *testing.T) {
	good := ringOf(t, 4, 2, 0, []Store{storeOf("a", ""), storeOf("b", "")})
	for name, spoil := range map[string]func(*State){
		"no cluster":        func(s *State) { s.Cluster = SID{} },
		"version 0":         func(s *State) { s.Version = 0 },
		"no replicas":       func(s *State) { s.Replicas = 0 },
		"stores unsorted":   func(s *State) { slices.Reverse(s.Stores) },
		"one name twice":    func(s *State) { s.Stores[1].Node = "a" },
		"boot 0":            func(s *State) { s.Stores[1].Boot = 0 },
		"store state":       func(s *State) { s.Stores[1].State = "" },
		"feature too high":  func(s *State) { s.Feature = 2 },
		"epoch 0":           func(s *State) { s.Partitions[3].Epoch = 0 },
		"empty list":        func(s *State) { s.Partitions[3].Replicas = nil },
		"list too long":     func(s *State) { s.Partitions[3].Replicas = []SID{sidOf("a"), sidOf("b"), sidOf("c")} },
		"store twice":       func(s *State) { s.Partitions[3].Replicas = []SID{sidOf("a"), sidOf("a")} },
		"unknown replica":   func(s *State) { s.Partitions[3].Replicas = []SID{sidOf("a"), sidOf("x")} },
		"primary elsewhere": func(s *State) { s.Partitions[3].Primary = sidOf("x") },
		"bucket renamed":    func(s *State) { s.Buckets["other"] = s.Buckets["default"] },
		"bucket id 0":       func(s *State) { b := s.Buckets["default"]; b.ID = 0; s.Buckets["default"] = b },
		"bucket id ahead":   func(s *State) { b := s.Buckets["default"]; b.ID = 1000; s.Buckets["default"] = b },
		"bucket n":          func(s *State) { b := s.Buckets["default"]; b.N = 3; s.Buckets["default"] = b },
	} {
		bad := *good
		bad.Stores, bad.Partitions, bad.Buckets = slices.Clone(good.Stores), slices.Clone(good.Partitions), maps.Clone(good.Buckets)
		spoil(&bad)
		if err := bad.Check(); err == nil {
			t.Errorf("%s: not found", name)
		}
		if _, err := EncodeState(&bad); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}
