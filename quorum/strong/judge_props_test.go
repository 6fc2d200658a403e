package strong

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
)

// Two judges at once, as while the leadership of the Raft group changes (F16): each knows
// a ring state that is late by as much as it likes, hears some of the words, and commits.
// Stores die, come back, are wiped and replaced; operators move primaries. What must hold:
//
//  1. a strong epoch of a partition has one primary and one configuration (S1), whatever
//     the two have said: the ring state takes the first one;
//  2. nobody is named who is in no set, or whose store is suspect or retired;
//  3. once all is quiet, one judge brings every partition to a live, active primary and
//     to the stores of its list, within a time that is bounded.
func TestTwoJudges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newCourtroom(t)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			w.disturb()
			w.step()
		}
		w.heal()
		for range 1200 { // a minute
			w.step()
			if settled(w.b.st) && w.served() {
				return
			}
		}
		t.Fatalf("not settled after a quiet minute:\n%s", w.b.st.Picture())
	})
}

// tick is a step of the courtroom.
const tick = 50 * time.Millisecond

type courtroom struct {
	t       *rapid.T
	b       *bench // the ring state; its judge is the first one
	judges  [2]*Judge
	knows   [2]*hashring.State
	two     bool
	lossy   bool
	heard   map[string]time.Duration // when a member last heard the primary of a partition
	said    map[string]time.Duration // Silent, Activate or AskOut
	born    map[string]time.Duration // when a store started
	seen    map[string]string        // what an epoch has fixed
	since   []time.Duration          // when the present epoch of a partition began
	replace int
}

func newCourtroom(t *rapid.T) *courtroom {
	replicas := rapid.IntRange(1, 5).Draw(t, "replicas")
	stores := "abcdefg"[:rapid.IntRange(replicas, 7).Draw(t, "stores")]
	partitions := rapid.IntRange(1, 5).Draw(t, "partitions")
	w := &courtroom{t: t, two: rapid.Bool().Draw(t, "two judges"), lossy: rapid.Bool().Draw(t, "words get lost"),
		heard: map[string]time.Duration{}, said: map[string]time.Duration{}, born: map[string]time.Duration{}, seen: map[string]string{}}
	w.b = newBench(t, partitions, replicas, stores)
	w.b.j = NewJudge(JudgeOptions{})
	w.judges = [2]*Judge{w.b.j, NewJudge(JudgeOptions{})}
	w.knows = [2]*hashring.State{w.b.st, w.b.st}
	w.since = make([]time.Duration, partitions)
	for p := range w.since {
		w.since[p] = w.b.now
	}
	return w
}

func (w *courtroom) chance(percent int, what string) bool {
	return rapid.IntRange(0, 99).Draw(w.t, what) < percent
}

// disturb does something to the world, now and then.
func (w *courtroom) disturb() {
	if !w.chance(25, "disturb") {
		return
	}
	store := rapid.SampledFrom(w.b.st.Stores).Draw(w.t, "store")
	name := nameOf(store.SID)
	p := uint32(rapid.IntRange(0, len(w.b.st.Partitions)-1).Draw(w.t, "partition"))
	switch rapid.IntRange(0, 5).Draw(w.t, "what") {
	case 0:
		w.b.dead[name] = true
	case 1, 2:
		w.start(name)
	case 3:
		w.judges[rapid.IntRange(0, 1).Draw(w.t, "judge")].Move(w.b.now, p, store.SID)
	case 4: // a new leader
		i := rapid.IntRange(0, 1).Draw(w.t, "judge")
		w.judges[i] = NewJudge(JudgeOptions{})
	default:
		w.wipe(store)
	}
}

func (w *courtroom) start(name string) {
	if w.b.dead[name] {
		delete(w.b.dead, name)
		w.born[name] = w.b.now
	}
}

// wipe has a store lose its disk and come back as another one, if the ring allows it.
func (w *courtroom) wipe(old hashring.Store) {
	w.replace++
	st := storeOf(fmt.Sprintf("%s%d", old.Node, w.replace))
	st.Node = old.Node
	next, err := w.b.st.Apply(w.b.st.Version+1, hashring.Command{Kind: hashring.KindReplaceStore, ReplaceStore: &hashring.ReplaceStore{Old: old.SID, Boot: old.Boot, Store: st}})
	if err != nil {
		return // the last full one, or the last majority
	}
	w.b.st = next
	w.b.dead[nameOf(old.SID)] = true
}

// step lets the stores speak and the judges decide.
func (w *courtroom) step() {
	w.b.wait(tick)
	for p := range w.b.st.Partitions {
		w.speak(uint32(p), &w.b.st.Partitions[p])
	}
	for i := range w.judges {
		if i == 1 && !w.two {
			continue
		}
		if !w.lossy || w.chance(60, "the news arrive") {
			w.knows[i] = w.b.st
		}
		w.commit(w.judges[i].Changes(w.b.now, w.knows[i], w.b.alive))
	}
}

// due tells whether a store may say something again.
func (w *courtroom) due(key string, every time.Duration) bool {
	at, ok := w.said[key]
	if ok && w.b.now < at+every {
		return false
	}
	w.said[key] = w.b.now
	return true
}

// tell brings a word to the judges.
func (w *courtroom) tell(word Word) {
	word.Last, word.Full = Position{1, uint64(word.From[0])}, true
	for _, j := range w.judges {
		if !w.lossy || w.chance(80, "the word arrives") {
			j.Take(w.b.now, word)
		}
	}
}

// speak is what the stores of a partition do in a step: a primary that lives leads once
// majorities live and it did not start in this epoch; the others listen.
func (w *courtroom) speak(p uint32, part *hashring.Partition) {
	cfg, lead := part.Strong, nameOf(part.Primary)
	lives := !w.b.dead[lead]
	lost := lives && w.born[lead] > w.since[p] // it restarted in its epoch
	leads := lives && !lost && everySet(cfg, w.b.alive)
	for _, s := range cfg.Members() {
		key := fmt.Sprint(p, s, cfg.Epoch)
		switch {
		case !w.b.alive(s):
			delete(w.heard, key)
		case w.heard[key] == 0 || lives && !lost:
			w.heard[key] = w.b.now
		case s != part.Primary && w.b.now >= w.heard[key]+2*time.Second && w.due("silent"+key, time.Second):
			w.tell(Word{Partition: p, From: s, Kind: Silent, Epoch: cfg.Epoch})
		}
	}
	key := fmt.Sprint(p, lead, cfg.Epoch)
	if lost && w.due("out"+key, time.Second) {
		w.tell(Word{Partition: p, From: part.Primary, Kind: AskOut, Epoch: cfg.Epoch})
	}
	if !leads || w.b.now < w.since[p]+4*tick {
		return
	}
	if !cfg.Activated && w.due("active"+key, 300*time.Millisecond) {
		w.tell(Word{Partition: p, From: part.Primary, Kind: Activate, Epoch: cfg.Epoch})
	}
	for _, s := range cfg.Learners {
		if cfg.Activated && w.b.alive(s) && w.due(fmt.Sprint("ready", key, s), 250*time.Millisecond) {
			w.tell(Word{Partition: p, From: part.Primary, Kind: LearnerReady, Prefer: s, Epoch: cfg.Epoch})
		}
	}
}

// commit is the Raft group: what it takes is the truth, and that is looked at.
func (w *courtroom) commit(changes []hashring.StrongChange) {
	if len(changes) == 0 {
		return
	}
	next, err := w.b.st.Apply(w.b.st.Version+1, hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: changes}})
	if err != nil {
		return // another judge was faster
	}
	for p := range next.Partitions {
		part := &next.Partitions[p]
		if part.Strong.Epoch != w.b.st.Partitions[p].Strong.Epoch {
			w.since[p] = w.b.now
		}
		key, fixed := fmt.Sprint(p, " ", part.Strong.Epoch), fmt.Sprint(part.Primary, part.Strong.Sets)
		if was, ok := w.seen[key]; ok && was != fixed {
			w.t.Fatalf("epoch %s was %s, is %s", key, was, fixed)
		}
		w.seen[key] = fixed
	}
	for _, c := range changes {
		part := &next.Partitions[c.Partition]
		if part.Strong.Epoch == w.b.st.Partitions[c.Partition].Strong.Epoch || c.Primary.IsZero() || part.Primary != c.Primary {
			continue
		}
		i := slices.IndexFunc(next.Stores, func(s hashring.Store) bool { return s.SID == c.Primary })
		if state := next.Stores[i].State; !part.Strong.IsMember(c.Primary) || state != hashring.StoreUp && state != hashring.StoreDraining {
			w.t.Fatalf("%+v names a store that is %s:\n%s", c, state, next.Picture())
		}
	}
	w.b.st = next
}

// heal starts every store that is in service, and leaves one judge.
func (w *courtroom) heal() {
	w.two, w.lossy = false, false
	for _, s := range w.b.st.Stores {
		if s.State != hashring.StoreRetired {
			w.start(nameOf(s.SID))
		}
	}
}

// served tells whether every partition has a live, active primary.
func (w *courtroom) served() bool {
	return !slices.ContainsFunc(w.b.st.Partitions, func(p hashring.Partition) bool {
		return !p.Strong.Activated || !w.b.alive(p.Primary)
	})
}
