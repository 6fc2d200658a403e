package strong

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

func TestJudgeActivates(t *testing.T) {
	b := newBench(t, 1, 3, "abc")
	b.lead("a")
	b.apply(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: []hashring.StrongChange{
		{Partition: 0, Epoch: b.st.Partitions[0].Strong.Epoch, Kind: hashring.StrongPrimary, Primary: sidOf("b")}}}})
	b.say(0, Activate, "a", "")
	b.want("said by another", "")
	b.word(Word{Kind: Activate, From: sidOf("b"), Epoch: b.st.Partitions[0].Strong.Epoch - 1})
	b.want("said of another epoch", "")
	b.say(0, Activate, "b", "")
	b.want("said by the primary", "0:activate")
	b.want("said once", "")
	if b.j.Next() != b.now+sayAgain {
		t.Errorf("next at %v", b.j.Next()-b.now)
	}
	b.wait(sayAgain)
	b.want("not committed", "0:activate")
	b.wait(sayAgain)
	b.commit()
	b.want("committed", "")
	b.say(0, Activate, "b", "")
	b.want("active already", "")
}

// T1 needs a majority of EVERY set, of the present epoch, of now.
func TestJudgeCountsSilence(t *testing.T) {
	for name, c := range map[string]struct {
		said  string // who calls the primary, a, silent
		joint string // V' beside abc
		late  time.Duration
		epoch uint64
		want  string
	}{
		"nobody":                    {},
		"one of three":              {said: "b"},
		"one of three, twice":       {said: "bb"},
		"one and a stranger":        {said: "bx"},
		"one and a store outside":   {said: "bd"},
		"a majority":                {said: "bc", want: "0:primary b"},
		"a majority, long ago":      {said: "bc", late: 2 * time.Second},
		"a majority, a while ago":   {said: "bc", late: 1900 * time.Millisecond, want: "0:primary b"},
		"of an epoch that is over":  {said: "bc", epoch: 1},
		"of an epoch to come":       {said: "bc", epoch: 99},
		"joint, of the old set":     {said: "bc", joint: "ade"},
		"joint, of the new set":     {said: "de", joint: "ade"},
		"joint, of both":            {said: "bcde", joint: "ade", want: "0:primary b"},
		"joint, one counts in both": {said: "bce", joint: "ace", want: "0:primary b"},
	} {
		b := newBench(t, 1, 3, "abc")
		b.lead("a")
		b.register("d")
		b.register("e")
		if c.joint != "" {
			change := hashring.StrongChange{Epoch: b.st.Partitions[0].Strong.Epoch, Kind: hashring.StrongJoint}
			for _, s := range strings.Split(c.joint, "") {
				change.Stores = append(change.Stores, sidOf(s))
			}
			b.apply(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: []hashring.StrongChange{change}}})
		}
		b.changes() // it has seen this epoch
		b.wait(time.Second)
		for _, s := range strings.Split(c.said, "") {
			b.word(Word{From: sidOf(s), Kind: Silent, Epoch: c.epoch})
		}
		b.wait(c.late)
		b.want(name, c.want)
	}
}

// Who is named. Partition 0 is led by a; words say "b7": b's log goes to 1.7, "b7!": and
// it has forgotten something, "b2.7": to 2.7.
func TestJudgeChooses(t *testing.T) {
	for name, c := range map[string]struct {
		heard, dead string
		kind        ProposalKind // of a's own word, if any
		prefer      string
		states      map[string]hashring.StoreState
		want        string
	}{
		"the longest log":                        {heard: "b7 c9 d8", want: "c"},
		"epoch before length":                    {heard: "b7 c2.3 d9", want: "c"},
		"one that gossip calls dead (F05)":       {heard: "b7 c9 d8", dead: "acd", want: "c"},
		"not one that has forgotten":             {heard: "b7 c9! d8", want: "d"},
		"equal logs: who leads least":            {heard: "b9 c9 d9", want: "d"},
		"not one that is suspect":                {heard: "b7 c9 d8", states: map[string]hashring.StoreState{"c": hashring.StoreSuspect}, want: "d"},
		"not one that is down":                   {heard: "b7 c9 d8", states: map[string]hashring.StoreState{"c": hashring.StoreDown}, want: "d"},
		"one that leaves only without others":    {heard: "b7 c9 d8", states: map[string]hashring.StoreState{"c": hashring.StoreDraining}, want: "d"},
		"asked out: a live one that leads least": {kind: AskOut, want: "d"},
		"asked out: not a dead one":              {kind: AskOut, dead: "d", want: "b"},
		"asked out for one":                      {kind: AskOut, prefer: "c", want: "c"},
		"asked out for one that is dead":         {kind: AskOut, prefer: "c", dead: "c", want: "d"},
		"asked out for one that is behind":       {kind: AskOut, prefer: "c", heard: "b9 c7", want: "b"},
		"asked out for one that is as far":       {kind: AskOut, prefer: "c", heard: "b9 c9 d9", want: "c"},
		"asked out, nobody alive":                {kind: AskOut, dead: "bcde", want: ""},
		"asked out, nobody else":                 {kind: AskOut, dead: "de", heard: "b9! c9!", want: "a"},
		"its disk hangs":                         {kind: Stalled, want: "d"},
		"its disk hangs, nobody else":            {kind: Stalled, dead: "de", heard: "b9! c9!", want: ""},
		"out of service":                         {states: map[string]hashring.StoreState{"a": hashring.StoreSuspect}, want: "d"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 3, 5, "abcde")
			b.lead("abc") // partition 1 is led by b, 2 by c
			b.dead["e"] = true
			for _, s := range strings.Split(c.dead, "") {
				b.dead[s] = true
			}
			for s, state := range c.states {
				b.state(s, state)
			}
			for _, word := range strings.Fields(c.heard) {
				w := Word{From: sidOf(word[:1]), Kind: Silent, Full: true}
				text, forgot := strings.CutSuffix(word[1:], "!")
				w.Full = !forgot
				if _, err := fmt.Sscanf(text, "%d.%d", &w.Last.Epoch, &w.Last.Index); err != nil {
					w.Last.Epoch = 1
					_, _ = fmt.Sscanf(text, "%d", &w.Last.Index)
				}
				b.word(w)
			}
			if c.kind != 0 {
				b.say(0, c.kind, "a", c.prefer)
			}
			got := ""
			for _, c := range b.commit() {
				if c.Partition == 0 {
					got = nameOf(c.Primary)
				}
			}
			if got != c.want {
				t.Errorf("%q is named, want %q", got, c.want)
			}
		})
	}
}

// F27, F28: a store whose disk hangs gives up all that it leads at once, and is not
// named again until it has been well for a while, unless there is nobody else.
func TestJudgeLeavesHangingDisksOut(t *testing.T) {
	b := newBench(t, 6, 3, "abc")
	b.say(0, Stalled, "a", "")
	for _, c := range b.commit() {
		if c.Kind != hashring.StrongPrimary || c.Primary == sidOf("a") {
			t.Errorf("%+v", c)
		}
	}
	for p := range b.st.Partitions {
		if b.st.Partitions[p].Primary == sidOf("a") {
			t.Errorf("a still leads partition %d", p)
		}
	}
	b.activate()
	b.wait(10 * time.Second)
	p := slices.IndexFunc(b.st.Partitions, func(p hashring.Partition) bool { return p.Primary == sidOf("b") })
	fail := func() {
		for _, s := range []string{"a", "c"} {
			last := Position{1, 10}
			if s == "a" {
				last.Index = 99
			}
			b.word(Word{Partition: uint32(p), Kind: Silent, From: sidOf(s), Last: last, Full: true})
		}
	}
	fail()
	b.want("within the cool-off the longer log does not count", fmt.Sprintf("%d:primary c", p))
	b.wait(20 * time.Second)
	clear(b.j.suspects) // b has lived all the time, and was called silent
	fail()
	b.want("after it", fmt.Sprintf("%d:primary a", p))
	// Nobody else can be named: c's word is of a store that has forgotten.
	b.say(0, Stalled, "a", "")
	b.wait(sayAgain)
	b.word(Word{Partition: uint32(p), Kind: Silent, From: sidOf("a"), Last: Position{1, 10}, Full: true})
	b.word(Word{Partition: uint32(p), Kind: Silent, From: sidOf("c"), Last: Position{1, 9}})
	b.dead["b"] = true
	clear(b.j.suspects)
	b.want("nobody else", fmt.Sprintf("%d:primary a", p))
}

// F41: a node with 1,000 primaries dies. All are named anew within a second, in commands
// that fit, never faster than the rate allows.
func TestJudgeBoundsFailovers(t *testing.T) {
	b := newBench(t, 4000, 3, "abcd")
	var lost []uint32
	for p := range b.st.Partitions {
		if b.st.Partitions[p].Primary == sidOf("a") {
			lost = append(lost, uint32(p))
		}
	}
	if len(lost) < 900 {
		t.Fatalf("a leads %d partitions", len(lost))
	}
	b.dead["a"] = true
	b.wait(3 * time.Second) // the dead say nothing any more
	began, named, at := b.now, 0, []int{}
	led := map[hashring.SID]int{}
	for named < len(lost) {
		for _, p := range lost {
			if part := &b.st.Partitions[p]; part.Primary == sidOf("a") {
				for _, s := range part.Strong.Sets[0] {
					if s != part.Primary {
						b.say(p, Silent, nameOf(s), "")
					}
				}
			}
		}
		changes := b.commit()
		for i, c := range changes {
			led[c.Primary]++
			if c.Kind != hashring.StrongPrimary || i > 0 && changes[i-1].Partition >= c.Partition {
				t.Fatalf("%+v after %+v", c, changes[max(0, i-1)])
			}
		}
		named += len(changes)
		at = append(at, named)
		if most := 512 + int((b.now-began)*512/time.Second) + 1; named > most {
			t.Fatalf("%d named in %v", named, b.now-began)
		}
		if b.now > began+1200*time.Millisecond {
			t.Fatalf("%d of %d named in %v", named, len(lost), b.now-began)
		}
		b.wait(50 * time.Millisecond)
	}
	t.Logf("%d primaries in %v: %v; then %v", len(lost), b.now-began-50*time.Millisecond, at[:3], led)
	for _, s := range []string{"b", "c", "d"} {
		if n := led[sidOf(s)]; n < len(lost)/4 || n > len(lost)/2 {
			t.Errorf("%s got %d of %d", s, n, len(lost))
		}
	}
}

// The first failover never waits; a partition that fails again and again waits longer and
// longer, and no longer once it has been quiet.
func TestJudgeSpacesChanges(t *testing.T) {
	b := newBench(t, 1, 3, "abc")
	fail := func() {
		for _, s := range "abc" {
			if sidOf(string(s)) != b.st.Partitions[0].Primary {
				b.say(0, Silent, string(s), "")
			}
		}
		clear(b.j.suspects) // the next one is dead
	}
	// waited is how long the next change takes, asked every 10 ms.
	waited := func() time.Duration {
		began := b.now
		for {
			fail()
			if len(b.commit()) > 0 {
				return b.now - began
			}
			b.wait(10 * time.Millisecond)
		}
	}
	var waits []time.Duration
	for range 9 {
		waits = append(waits, waited())
	}
	if waits[0] != 0 || waits[1] != 250*time.Millisecond || waits[2] != 500*time.Millisecond {
		t.Errorf("waits %v", waits)
	}
	for i := 1; i < len(waits); i++ {
		if waits[i] < waits[i-1] && waits[i-1] < 4*time.Second || waits[i] > 8*time.Second {
			t.Errorf("waits %v", waits)
		}
	}
	b.wait(time.Minute)
	if w := waited(); w != 8*time.Second && w != 0 { // since: it has failed all the time
		t.Errorf("after a minute in which it was not served: %v", w)
	}
	serve := func() { b.activate(); b.changes() }
	serve()
	b.wait(time.Minute)
	if w := waited(); w != 0 {
		t.Errorf("after a quiet minute: %v", w)
	}
	serve()
	b.wait(30 * time.Second)
	for range 20 { // a kill every Tfail and Calm
		b.wait(6 * time.Second)
		if w := waited(); w > 0 {
			t.Fatalf("a failover every six seconds waits %v", w)
		}
		serve()
	}
}

// An epoch that nobody activates goes to another store, as long as a majority lives.
func TestJudgeEndsWhatIsStuck(t *testing.T) {
	b := newBench(t, 1, 3, "abc")
	b.lead("a")
	b.say(0, AskOut, "a", "b")
	b.commit()
	b.want("just named", "")
	b.wait(4900 * time.Millisecond)
	b.want("not yet", "")
	b.dead["a"], b.dead["c"] = true, true
	b.wait(100 * time.Millisecond)
	b.want("no majority lives", "")
	delete(b.dead, "c")
	b.want("stuck", "0:primary c")
	b.wait(sayAgain)
	b.say(0, Activate, "b", "")
	b.want("it has come after all", "0:activate")
}

func TestJudgeMoves(t *testing.T) {
	b := newBench(t, 1, 3, "abc")
	b.lead("a")
	b.register("d")
	b.j.Move(b.now, 0, sidOf("c"))
	b.want("by hand", "0:primary c")
	b.wait(sayAgain)
	b.commit()
	b.activate()
	b.want("done", "")
	b.j.Move(b.now, 0, sidOf("d"))
	b.want("not a member", "")
	b.j.Move(b.now, 0, sidOf("b"))
	b.dead["b"] = true
	b.want("dead", "")
	b.wait(moveFor)
	delete(b.dead, "b")
	b.want("too late", "")
	for want, err := range map[string]error{
		"in no set":               CheckMove(b.st, 0, sidOf("d")),
		"no strong configuration": CheckMove(b.st, 1, sidOf("a")),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	b.state("b", hashring.StoreSuspect)
	if err := CheckMove(b.st, 0, sidOf("b")); err == nil || !strings.Contains(err.Error(), "suspect") {
		t.Error(err)
	}
	if err := CheckMove(b.st, 0, sidOf("a")); err != nil {
		t.Error(err)
	}
}

// What garbage may come costs a bounded memory, and whatever is found fits a command.
func TestJudgeIsBounded(t *testing.T) {
	b := newBench(t, 4, 3, "abc")
	for i := range 5000 {
		b.word(Word{Partition: uint32(i), Kind: ProposalKind(i % 9), From: sidOf(fmt.Sprint("x", i)), Prefer: sidOf(fmt.Sprint("y", i)), Epoch: uint64(i)})
		b.word(Word{Partition: 0, Kind: ProposalKind(i % 9), From: sidOf(fmt.Sprint("x", i)), Prefer: sidOf(fmt.Sprint("y", i)), Epoch: 99})
		b.j.Move(b.now, uint32(i), sidOf("x"))
	}
	if len(b.j.dockets) > hashring.MaxPartitions || len(b.j.stalled) > hashring.MaxStores {
		t.Errorf("%d dockets, %d stalls", len(b.j.dockets), len(b.j.stalled))
	}
	if d := b.j.dockets[0]; len(d.heard) > maxVoices || len(d.ready) > hashring.MaxReplicas {
		t.Errorf("%d voices, %d ready", len(d.heard), len(d.ready))
	}
	b.wait(time.Minute)
	b.changes()
	if len(b.j.stalled) != 0 {
		t.Errorf("%d stalls after a minute", len(b.j.stalled))
	}
	c := &court{Judge: b.j, now: b.now}
	var all []finding
	for p := range uint32(hashring.MaxPartitions) {
		f := finding{hashring.StrongChange{Partition: p, Epoch: 1<<64 - 1, Kind: hashring.StrongLearners}, toLearn}
		for i := range hashring.MaxReplicas {
			f.Stores = append(f.Stores, sidOf(fmt.Sprintf("%016d", i)))
		}
		b.j.docket(p)
		all = append(all, f)
	}
	changes := c.fit(all)
	text, err := hashring.EncodeCommand(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: changes}})
	if err != nil || len(text) < hashring.MaxCommandBytes*8/10 {
		t.Errorf("%d changes, %d bytes: %v", len(changes), len(text), err)
	}
}

// A cluster of one: its store restarts, and is named again for all that it leads.
func TestJudgeNamesTheOnlyStoreAgain(t *testing.T) {
	b := newBench(t, 2, 3, "a")
	b.say(1, AskOut, "a", "")
	b.want("restarted", "1:primary a")
}
