package strong

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
)

// spares has every primary say what shards say: that a member leads at least two fewer.
func (b *bench) spares(led map[hashring.SID]int) {
	for p := range b.st.Partitions {
		part := &b.st.Partitions[p]
		for _, s := range part.Strong.Members() {
			if part.Strong.Activated && led[part.Primary] >= led[s]+spreadGap {
				b.say(uint32(p), Spare, nameOf(part.Primary), nameOf(s))
				break
			}
		}
	}
}

func (b *bench) led() map[hashring.SID]int {
	led := map[hashring.SID]int{}
	for p := range b.st.Partitions {
		led[b.st.Partitions[p].Primary]++
	}
	return led
}

// However primaries lie, they are spread: not before all has been quiet, a few in a
// second, each move of use, none to a store that is not well, and at the end nobody leads
// two more than another member of its sets.
func TestJudgeSpreads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores := "abcde"[:rapid.IntRange(2, 5).Draw(t, "stores")]
		partitions := rapid.IntRange(1, 40).Draw(t, "partitions")
		b := newBench(t, partitions, 3, stores)
		var lead strings.Builder
		for p := range partitions {
			lead.WriteString(nameOf(rapid.SampledFrom(b.st.Partitions[p].Strong.Members()).Draw(t, "primary")))
		}
		b.lead(lead.String())
		b.j = NewJudge(JudgeOptions{})
		began, moves := b.now, 0
		for b.now < began+90*time.Second {
			led := b.led()
			b.spares(led)
			changes := b.commit()
			for _, c := range changes {
				from := nameOf(b.st.Partitions[c.Partition].Primary)
				if c.Kind != hashring.StrongPrimary || b.now < began+30*time.Second || from != nameOf(c.Primary) {
					t.Fatalf("%+v after %v", c, b.now-began)
				}
			}
			if moves += len(changes); moves > 4+4*max(0, int((b.now-began-30*time.Second)/time.Second)+1) {
				t.Fatalf("%d moves in %v", moves, b.now-began)
			}
			b.activate()
			b.wait(250 * time.Millisecond)
		}
		if moves > partitions {
			t.Fatalf("%d moves of %d partitions", moves, partitions)
		}
		led := b.led()
		for p := range b.st.Partitions {
			part := &b.st.Partitions[p]
			for _, s := range part.Strong.Members() {
				if led[part.Primary] >= led[s]+spreadGap {
					t.Fatalf("%s leads %d, %s %d", nameOf(part.Primary), led[part.Primary], nameOf(s), led[s])
				}
			}
		}
	})
}

// What keeps primaries where they are.
func TestJudgeSpreadsInQuietOnly(t *testing.T) {
	for name, c := range map[string]struct {
		then func(b *bench)
		want string
	}{
		"all is quiet":           {func(*bench) {}, "0:primary b"},
		"said of another epoch":  {func(b *bench) { b.word(Word{Kind: Spare, From: sidOf("a"), Prefer: sidOf("b"), Epoch: 99}) }, ""},
		"said by another":        {func(b *bench) { b.say(0, Spare, "c", "b") }, ""},
		"the store leads as few": {func(b *bench) { b.say(0, Spare, "a", "d") }, ""},
		"it drains":              {func(b *bench) { b.state("b", hashring.StoreDraining) }, ""},
		"its disk hung":          {func(b *bench) { b.say(3, Stalled, "b", "") }, ""},
		"it is dead":             {func(b *bench) { b.dead["b"] = true }, ""},
		"it is suspect":          {func(b *bench) { b.state("b", hashring.StoreSuspect) }, ""},
		"something failed":       {func(b *bench) { b.say(3, AskOut, "c", "a"); b.commit(); b.activate(); b.changes() }, ""},
		"the words are old":      {func(b *bench) { b.wait(3 * time.Second) }, ""},
	} {
		b := newBench(t, 4, 3, "abc")
		b.register("d")
		b.lead("aaac")
		b.say(0, Spare, "a", "b")
		c.then(b)
		if got := b.changes(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
