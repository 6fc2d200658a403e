package strong

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
)

// bench is a Judge over a real ring state, with stores named by one letter.
type bench struct {
	tb   rapid.TB
	j    *Judge
	st   *hashring.State
	now  time.Duration
	dead map[string]bool // as gossip has it
}

func sidOf(name string) (s hashring.SID) {
	copy(s[:], name)
	return s
}

func nameOf(s hashring.SID) string { return strings.TrimRight(string(s[:]), "\x00") }

func namesOf(sids []hashring.SID) string {
	var out []string
	for _, s := range sids {
		out = append(out, nameOf(s))
	}
	return strings.Join(out, "")
}

// newBench makes a ring of so many partitions over the stores "abc", one a letter, with
// a strong bucket, all partitions active.
func newBench(tb rapid.TB, partitions, replicas int, stores string) *bench {
	tb.Helper()
	b := &bench{tb: tb, j: NewJudge(JudgeOptions{}), dead: map[string]bool{}, now: time.Hour}
	b.apply(hashring.Command{Kind: hashring.KindInit, Init: &hashring.Init{Cluster: sidOf("cluster"), Replicas: replicas, Feature: hashring.FeatureStrong}})
	first := &hashring.FirstRing{Partitions: partitions}
	for _, name := range strings.Split(stores, "") {
		b.register(name)
		first.Stores = append(first.Stores, sidOf(name))
	}
	b.apply(hashring.Command{Kind: hashring.KindFirstRing, FirstRing: first})
	b.apply(hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: "locks", Mode: hashring.Strong}})
	b.activate()
	return b
}

func (b *bench) apply(c hashring.Command) {
	b.tb.Helper()
	version := uint64(1)
	if b.st != nil {
		version = b.st.Version + 1
	}
	next, err := b.st.Apply(version, c)
	if err != nil {
		b.tb.Fatalf("%s: %v", c.Kind, err)
	}
	b.st = next
}

func storeOf(name string) hashring.Store {
	return hashring.Store{SID: sidOf(name), Node: name, Boot: 1, State: hashring.StoreUp, FeatureMax: hashring.FeatureStrong}
}

func (b *bench) register(name string) {
	b.apply(hashring.Command{Kind: hashring.KindRegister, Register: &hashring.Register{Store: storeOf(name)}})
}

func (b *bench) replace(old, fresh string) {
	st := storeOf(fresh)
	st.Node = old
	b.apply(hashring.Command{Kind: hashring.KindReplaceStore, ReplaceStore: &hashring.ReplaceStore{Old: sidOf(old), Boot: 1, Store: st}})
}

func (b *bench) state(name string, to hashring.StoreState) {
	b.apply(hashring.Command{Kind: hashring.KindSetStoreState, SetStoreState: &hashring.SetStoreState{SID: sidOf(name), State: to}})
}

// activate has every primary say so, and commits it.
func (b *bench) activate() {
	for p := range b.st.Partitions {
		if part := &b.st.Partitions[p]; !part.Strong.Activated {
			b.say(uint32(p), Activate, nameOf(part.Primary), "")
		}
	}
	for range len(b.st.Partitions)/hashring.MaxPlaces + 1 {
		b.commit()
	}
}

// say has a store say something of the present epoch, with a log to 1.10.
func (b *bench) say(p uint32, kind ProposalKind, from, prefer string) {
	b.word(Word{Partition: p, Kind: kind, From: sidOf(from), Prefer: sidOf(prefer)})
}

// word fills in the present epoch, a log to 1.10, and that the store is full.
func (b *bench) word(w Word) {
	if w.Epoch == 0 {
		w.Epoch = b.st.Partitions[w.Partition].Strong.Epoch
	}
	if w.Last.Index == 0 {
		w.Last, w.Full = Position{1, 10}, true
	}
	b.j.Take(b.now, w)
}

// lead gives each partition its primary, one a letter, behind the Judge's back.
func (b *bench) lead(primaries string) {
	b.tb.Helper()
	var changes []hashring.StrongChange
	for p := range primaries {
		if part := &b.st.Partitions[p]; nameOf(part.Primary) != primaries[p:p+1] {
			changes = append(changes, hashring.StrongChange{Partition: uint32(p), Epoch: part.Strong.Epoch, Kind: hashring.StrongPrimary, Primary: sidOf(primaries[p : p+1])})
		}
	}
	if len(changes) > 0 {
		b.apply(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: changes}})
		b.activate()
	}
	b.wait(time.Minute)
	b.changes()
}

func (b *bench) alive(s hashring.SID) bool { return !b.dead[nameOf(s)] }

// changes asks the Judge and draws what it says: "0:primary b".
func (b *bench) changes() string {
	var out []string
	for _, c := range b.j.Changes(b.now, b.st, b.alive) {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d:%s %s %s", c.Partition, c.Kind, nameOf(c.Primary), namesOf(c.Stores))))
	}
	return strings.Join(out, ", ")
}

// commit asks the Judge and applies what it says.
func (b *bench) commit() []hashring.StrongChange {
	b.tb.Helper()
	changes := b.j.Changes(b.now, b.st, b.alive)
	if len(changes) > 0 {
		b.apply(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: changes}})
	}
	return changes
}

// wait lets time pass.
func (b *bench) wait(d time.Duration) { b.now += d }

func (b *bench) want(what, want string) {
	b.tb.Helper()
	if got := b.changes(); got != want {
		b.tb.Errorf("%s: %q, want %q\n%s", what, got, want, b.st.Picture())
	}
}

// picture of one partition's configuration.
func (b *bench) config(p int) string {
	part := &b.st.Partitions[p]
	var sets []string
	for _, set := range part.Strong.Sets {
		sets = append(sets, namesOf(set))
	}
	out := nameOf(part.Primary) + " of " + strings.Join(sets, "-")
	if len(part.Strong.Learners) > 0 {
		out += "+" + namesOf(part.Strong.Learners)
	}
	return out
}
