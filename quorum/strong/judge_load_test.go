package strong

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// busy is a cluster in which every store lives and is starved: each is not scheduled for
// 2 to 4 seconds now and then, takes a while to take a role, and is called silent when the
// others have not heard it for two seconds.
type busy struct {
	*bench
	rng     *rand.Rand
	asleep  map[string]time.Duration // until
	active  []time.Duration          // when a partition's primary will have taken its role
	changes int
}

const busyStep = 100 * time.Millisecond

func newBusy(t *testing.T, seed uint64, partitions int) *busy {
	w := &busy{bench: newBench(t, partitions, 3, "abc"), rng: rand.New(rand.NewPCG(seed, 1)), asleep: map[string]time.Duration{}, active: make([]time.Duration, partitions)}
	w.wait(time.Minute)
	w.bench.changes()
	return w
}

func (w *busy) step() {
	w.wait(busyStep)
	for _, s := range []string{"a", "b", "c"} {
		if w.now > w.asleep[s] && w.rng.IntN(60) == 0 {
			w.asleep[s] = w.now + 2500*time.Millisecond + time.Duration(w.rng.IntN(1500))*time.Millisecond
		}
	}
	for p := range w.st.Partitions {
		w.speak(p, &w.st.Partitions[p])
	}
	for _, c := range w.commit() {
		if c.Kind == hashring.StrongPrimary {
			w.changes++
			w.active[c.Partition] = w.now + time.Duration(w.rng.IntN(6000))*time.Millisecond
		}
	}
}

func (w *busy) speak(p int, part *hashring.Partition) {
	lead := nameOf(part.Primary)
	left := w.asleep[lead] - w.now
	for _, s := range []string{"a", "b", "c"} {
		switch {
		case w.now <= w.asleep[s]:
		case s == lead:
			if !part.Strong.Activated && w.now >= w.active[p] && w.rng.IntN(3) == 0 {
				w.say(uint32(p), Activate, s, "")
			}
		case left > 0 && left < 1900*time.Millisecond && w.rng.IntN(10) == 0: // silent for two seconds
			w.say(uint32(p), Silent, s, "")
		}
	}
}

// Stores that are slow and alive must not be deposed again and again: each change costs
// more work than it saves, so that all of them get slower still. It was six changes of
// every partition in 80 s.
func TestJudgeDoesNotThrash(t *testing.T) {
	for seed := range uint64(5) {
		w := newBusy(t, seed, 64)
		for range 80 * time.Second / busyStep {
			w.step()
		}
		t.Logf("seed %d: %d changes", seed, w.changes)
		if w.changes > 150 {
			t.Errorf("seed %d: %d changes of 64 partitions in 80 s", seed, w.changes)
		}
	}
}

// A primary that is really gone is replaced while the others are as slow as that.
func TestJudgeReplacesTheDeadUnderLoad(t *testing.T) {
	w := newBusy(t, 1, 64)
	for range 40 * time.Second / busyStep {
		w.step()
	}
	w.dead["a"], w.asleep["a"] = true, w.now+time.Hour
	for range 60 * time.Second / busyStep {
		w.step()
		for p := range w.st.Partitions {
			if part := &w.st.Partitions[p]; part.Primary == sidOf("a") {
				for _, s := range []string{"b", "c"} {
					if w.now > w.asleep[s] && w.rng.IntN(10) == 0 {
						w.say(uint32(p), Silent, s, "")
					}
				}
			}
		}
	}
	for p := range w.st.Partitions {
		if w.st.Partitions[p].Primary == sidOf("a") {
			t.Errorf("partition %d is led by a dead store", p)
		}
	}
}

// A store that was deposed and had lived all the time is waited for the next time, twice
// as long after each false alarm; not one that had died, and has restarted since.
func TestJudgeDoubts(t *testing.T) {
	for name, c := range map[string]struct {
		since func(b *bench) // what is heard of a, deposed
		want  time.Duration
	}{
		"it is not heard of":       {func(b *bench) { b.dead["a"] = true }, 0},
		"it speaks":                {func(b *bench) { b.say(1, Silent, "a", "") }, 2 * time.Second},
		"gossip has it alive":      {func(b *bench) {}, 2 * time.Second},
		"it has started since":     {func(b *bench) { b.restart("a"); b.say(1, Silent, "a", "") }, 0},
		"it speaks, and is forgot": {func(b *bench) { b.say(1, Silent, "a", ""); b.changes(); b.wait(alarmCalm) }, 0},
	} {
		b := newBench(t, 2, 3, "abc")
		b.lead("ab")
		if took := b.silenced("bc"); took != 0 {
			t.Fatalf("%s: at first %v", name, took)
		}
		b.activate()
		c.since(b)
		b.changes()
		b.wait(alarmAfter)
		b.changes()
		delete(b.dead, "a")
		b.apply(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: []hashring.StrongChange{
			{Partition: 0, Epoch: b.st.Partitions[0].Strong.Epoch, Kind: hashring.StrongPrimary, Primary: sidOf("a")}}}})
		b.activate()
		b.changes()
		b.wait(8 * time.Second) // no spacing is left of these changes
		if took := b.silenced("bc"); took != c.want {
			t.Errorf("%s: deposed after %v, want %v", name, took, c.want)
		}
	}
}

// silenced has stores call the primary of partition 0 silent until another one is named,
// and gives how long that took.
func (b *bench) silenced(by string) time.Duration {
	for began := b.now; ; b.wait(100 * time.Millisecond) {
		for _, s := range by {
			b.say(0, Silent, string(s), "")
		}
		for _, c := range b.commit() {
			if c.Partition == 0 && c.Kind == hashring.StrongPrimary {
				return b.now - began
			}
		}
		if b.now > began+time.Minute {
			b.tb.Fatal("nobody is named")
		}
	}
}

// restart registers another start of a store.
func (b *bench) restart(name string) {
	st := storeOf(name)
	for i := range b.st.Stores {
		if b.st.Stores[i].SID == st.SID {
			st.Boot = b.st.Stores[i].Boot + 1
		}
	}
	b.apply(hashring.Command{Kind: hashring.KindRegister, Register: &hashring.Register{Store: st}})
}
