package strong

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// follow plays the stores: primaries activate, live learners are ready, until the Judge
// wants nothing more of partition 0. It gives the configurations that came about.
func (b *bench) follow(ready string) string {
	b.tb.Helper()
	var out []string
	for range 200 {
		for p := range b.st.Partitions {
			part := &b.st.Partitions[p]
			if lead := nameOf(part.Primary); !b.dead[lead] {
				if !part.Strong.Activated {
					b.say(uint32(p), Activate, lead, "")
				}
				for _, s := range part.Strong.Learners {
					if strings.Contains(ready, nameOf(s)) {
						b.say(uint32(p), LearnerReady, lead, nameOf(s))
					}
				}
			}
		}
		b.commit()
		if now := b.config(0); len(out) == 0 || out[len(out)-1] != now {
			out = append(out, now)
		}
		b.wait(100 * time.Millisecond)
	}
	return strings.Join(out, ", ")
}

func TestJudgeReplacesMembers(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(b *bench)
		ready string
		want  string
	}{
		{"nothing to do", func(*bench) {}, "", "a of abc"},
		{"a wiped member", func(b *bench) { b.dead["c"] = true; b.replace("c", "C") }, "C",
			"a of abc+C, a of abc-abC, a of abC"},
		{"a wiped member that is not caught up", func(b *bench) { b.dead["c"] = true; b.replace("c", "C") }, "", "a of abc+C"},
		{"the wiped primary", func(b *bench) { b.dead["a"] = true; b.replace("a", "A") }, "A",
			"b of abc, b of abc+A, b of abc-Abc, b of Abc"},
		{"a new store that dies while it learns stays a learner", func(b *bench) { b.replace("c", "C"); b.dead["C"] = true }, "", "a of abc+C"},
	} {
		b := newBench(t, 1, 3, "abc")
		b.lead("a")
		list := b.st.Partitions[0].Replicas
		c.setup(b)
		got := b.follow(c.ready)
		want := c.want
		// The sets keep the order of the list, which the claim has chosen.
		order := func(set string) string {
			var out []string
			for _, s := range list {
				for _, r := range []string{nameOf(s), strings.ToUpper(nameOf(s))} {
					if strings.Contains(set, r) {
						out = append(out, r)
					}
				}
			}
			return strings.Join(out, "")
		}
		for _, set := range []string{"abc", "abC", "Abc"} {
			want = strings.ReplaceAll(want, set, order(set))
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", c.name, got, want)
		}
	}
}

// A joint configuration that nobody activates, whoever is named, or whose new store is
// gone, is given up; the store learns again.
func TestJudgeAborts(t *testing.T) {
	b := newBench(t, 1, 3, "abc")
	b.lead("a")
	b.replace("c", "C")
	b.commit()
	b.wait(time.Second)
	b.say(0, LearnerReady, "a", "C")
	b.want("ready", "0:joint  "+namesOf(b.st.Partitions[0].Replicas))
	b.wait(sayAgain)
	b.commit()
	began, kinds := b.now, ""
	for len(b.st.Partitions[0].Strong.Sets) == 2 && b.now < began+time.Minute {
		for _, c := range b.commit() {
			kinds += string(c.Kind) + " "
		}
		b.wait(100 * time.Millisecond)
	}
	if took := b.now - began; took < 20*time.Second || took > 22*time.Second || !strings.HasSuffix(kinds, "primary abort ") {
		t.Errorf("%s in %v", kinds, took)
	}
	b.activate()
	b.wait(time.Minute)
	if b.commit(); b.config(0)[5:] != "abc+C" {
		t.Error(b.config(0))
	}
	b.say(0, LearnerReady, b.config(0)[:1], "C")
	b.commit()
	b.wait(time.Second)
	b.say(0, LearnerReady, b.config(0)[:1], "C")
	b.commit()
	b.state("C", hashring.StoreSuspect)
	b.wait(time.Second)
	b.want("gone for good", "0:abort")
}

// A cluster of one that grows to three goes there in one step; one that stays two takes
// the second in.
func TestJudgeFollowsAListThatGrows(t *testing.T) {
	b := newBench(t, 1, 3, "a")
	b.register("b")
	b.grow("b")
	b.filled("b")
	if got := b.follow("b"); got != "a of a, a of a+b, a of a-ab, a of ab" {
		t.Errorf("two stores: %s", got)
	}
	b.register("c")
	b.grow("c")
	b.filled("c")
	if got := b.follow("c"); got != "a of ab+c, a of ab-abc, a of abc" {
		t.Errorf("then three: %s", got)
	}
	b = newBench(t, 1, 3, "a")
	b.register("b")
	b.register("c")
	b.grow("b")
	b.want("the third is there and waited for", "")
	b.filled("b")
	b.grow("c")
	if got := b.follow("bc"); got != "a of a, a of a+bc, a of a-abc, a of abc" {
		t.Errorf("three at once: %s", got)
	}
}

func (b *bench) grow(name string) {
	b.tb.Helper()
	b.apply(hashring.Command{Kind: hashring.KindGrow, Grow: &hashring.Grow{Places: []hashring.Place{{Epoch: b.st.Partitions[0].PlanEpoch(), SID: sidOf(name)}}}})
}

func (b *bench) filled(name string) {
	b.tb.Helper()
	part := &b.st.Partitions[0]
	b.apply(hashring.Command{Kind: hashring.KindFilled, Filled: &hashring.Filled{Places: []hashring.Place{{Epoch: part.PlanEpoch(), SID: sidOf(name), Session: part.Session}}}})
}

// After a forced recovery the others learn anew, but for those that may hold what is not
// committed any more.
func TestJudgeLeavesLostStoresOut(t *testing.T) {
	b := newBench(t, 1, 3, "abc")
	b.lead("a")
	b.apply(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: []hashring.StrongChange{
		{Epoch: b.st.Partitions[0].Strong.Epoch, Kind: hashring.StrongRecover, Primary: sidOf("b"), Stores: []hashring.SID{sidOf("b")}}}}})
	b.replace("c", "C")
	if got := b.follow("aC"); got != "b of b, b of b+C, b of b-bC, b of bC" && got != "b of b, b of b+C, b of b-Cb, b of Cb" {
		t.Errorf("%s\n%s", got, b.st.Picture())
	}
}

// The settled set may not have the primary: another is named with it, one that lives.
func TestJudgeSettlesOnALivePrimary(t *testing.T) {
	b := newBench(t, 1, 3, "abc")
	b.lead("c")
	for _, s := range []string{"d", "e"} {
		b.register(s)
	}
	b.apply(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: []hashring.StrongChange{
		{Epoch: b.st.Partitions[0].Strong.Epoch, Kind: hashring.StrongJoint, Stores: []hashring.SID{sidOf("a"), sidOf("d"), sidOf("e")}}}}})
	b.say(0, Activate, "c", "")
	b.commit()
	b.dead["a"], b.dead["d"] = true, true
	b.wait(time.Second)
	b.want("c is not in V'", "0:settle e")
}

// Many partitions that need a new member take turns: each learner pulls a snapshot.
func TestJudgeBoundsLearning(t *testing.T) {
	b := newBench(t, 200, 3, "abc")
	b.replace("c", "C")
	most, rounds := 0, 0
	for !settled(b.st) && rounds < 400 {
		rounds++
		busy := 0
		for p := range b.st.Partitions {
			part := &b.st.Partitions[p]
			lead := nameOf(part.Primary)
			if lead == "c" { // it is gone, and nobody hears of it
				for _, s := range "ab" {
					b.say(uint32(p), Silent, string(s), "")
				}
				continue
			}
			if !part.Strong.Activated {
				b.say(uint32(p), Activate, lead, "")
			}
			for _, s := range part.Strong.Learners {
				b.say(uint32(p), LearnerReady, lead, nameOf(s))
			}
			if len(part.Strong.Learners) > 0 || len(part.Strong.Sets) == 2 {
				busy++
			}
		}
		most = max(most, busy)
		changes := b.commit()
		joint := 0
		for _, c := range changes {
			if c.Kind == hashring.StrongJoint {
				joint++
			}
		}
		if joint > 32 {
			t.Fatalf("%d joint configurations at once", joint)
		}
		b.wait(100 * time.Millisecond)
	}
	if !settled(b.st) || most > 64 || most < 32 {
		t.Errorf("%d partitions at once, %d rounds\n%s", most, rounds, b.config(0))
	}
	t.Logf("200 partitions in %v, %d at once", time.Duration(rounds)*100*time.Millisecond, most)
}

func settled(st *hashring.State) bool {
	return !slices.ContainsFunc(st.Partitions, func(p hashring.Partition) bool {
		return len(p.Strong.Sets) != 1 || len(p.Strong.Learners) > 0 || !sameStores(p.Strong.Sets[0], p.Replicas) || !p.Strong.Activated
	})
}

// Sets never get shorter than the list on the way: a store that leaves stays until its
// place is taken.
func TestJudgeKeepsSetsLong(t *testing.T) {
	b := newBench(t, 1, 5, "abcde")
	b.lead("a")
	b.replace("d", "D")
	b.replace("e", "E")
	if got := b.follow("D"); !strings.HasSuffix(got, "+DE") {
		t.Errorf("a live learner is waited for: %s", got)
	}
	b.dead["E"], b.dead["d"], b.dead["e"] = true, true, true
	got := b.follow("D")
	if !strings.HasPrefix(got, "a of abcde-") || !strings.HasSuffix(got, "+E") {
		t.Errorf("a dead one is not: %s", got)
	}
	if c := b.st.Partitions[0].Strong; len(c.Sets) != 1 || len(c.Sets[0]) != 5 || !c.IsMember(sidOf("D")) || c.IsMember(sidOf("e")) == c.IsMember(sidOf("d")) {
		t.Errorf("%s\n%s", got, b.st.Picture())
	}
	delete(b.dead, "E")
	b.follow("E")
	if c := b.st.Partitions[0].Strong; len(c.Sets) != 1 || len(c.Sets[0]) != 5 || !c.IsMember(sidOf("E")) || c.IsMember(sidOf("e")) {
		t.Errorf("then\n%s", b.st.Picture())
	}
}
