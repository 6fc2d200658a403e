//go:build planted

package strong

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// trials are small cases, each of which goes wrong with one planted bug of the judge, and
// with no other cause.
var trials = map[plant.Bug]func(t *testing.T) (wrong bool){
	plant.JudgeOneSet: func(t *testing.T) bool {
		b := newBench(t, 1, 3, "abc")
		b.lead("a")
		b.register("d")
		b.register("e")
		b.apply(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: []hashring.StrongChange{
			{Epoch: b.st.Partitions[0].Strong.Epoch, Kind: hashring.StrongJoint, Stores: []hashring.SID{sidOf("a"), sidOf("d"), sidOf("e")}}}}})
		b.changes()
		b.wait(time.Second)
		b.silent("de")
		return b.changes() != ""
	},
	plant.JudgeOldWords: func(t *testing.T) bool {
		b := newBench(t, 1, 3, "abc")
		b.lead("a")
		b.silent("bc")
		b.wait(3 * time.Second)
		return b.changes() != ""
	},
	plant.JudgeLongestLog: func(t *testing.T) bool {
		b := newBench(t, 1, 3, "abc")
		b.lead("a")
		b.word(Word{Kind: Silent, From: sidOf("b"), Last: Position{1, 9}, Full: true})
		b.word(Word{Kind: Silent, From: sidOf("c"), Last: Position{2, 3}, Full: true})
		return b.changes() != "0:primary c"
	},
	plant.JudgeNoCoolOff: func(t *testing.T) bool {
		b := newBench(t, 2, 3, "abc")
		b.lead("aa")
		b.say(1, Stalled, "b", "")
		b.word(Word{Kind: Silent, From: sidOf("b"), Last: Position{1, 9}, Full: true})
		b.word(Word{Kind: Silent, From: sidOf("c"), Last: Position{1, 3}, Full: true})
		return b.changes() != "0:primary c"
	},
	plant.JudgeUnspaced: func(t *testing.T) bool {
		b := newBench(t, 1, 3, "abc")
		b.lead("a")
		return b.fails() != 0 || b.fails() < 250*time.Millisecond
	},
	plant.JudgeCalmAlways: func(t *testing.T) bool {
		b := newBench(t, 1, 3, "abc")
		b.lead("a")
		for range 5 { // nobody takes the role
			b.fails()
			b.wait(8 * time.Second)
		}
		b.fails()
		return b.fails() < 2*time.Second
	},
	plant.JudgeNeverDoubts: func(t *testing.T) bool {
		w := newBusy(t, 0, 64)
		for range 80 * time.Second / busyStep {
			w.step()
		}
		return w.changes > 150
	},
	plant.JudgeUnready: func(t *testing.T) bool {
		b := newBench(t, 1, 3, "abc")
		b.lead("a")
		b.replace("c", "d")
		b.commit()
		b.wait(time.Second)
		return strings.Contains(b.changes(), string(hashring.StrongJoint))
	},
	plant.JudgeSpreadsEven: func(t *testing.T) bool {
		b := newBench(t, 3, 3, "abc")
		b.lead("aab")
		b.changes()
		b.wait(time.Minute)
		b.say(0, Spare, "a", "b")
		return b.changes() != ""
	},
}

// silent has stores call the primary of partition 0 silent.
func (b *bench) silent(by string) {
	for _, s := range by {
		b.say(0, Silent, string(s), "")
	}
}

// fails has the primary of partition 0 die, and gives how long it takes until another one
// is named.
func (b *bench) fails() time.Duration {
	clear(b.j.suspects)
	return b.silenced(strings.Trim("abc", nameOf(b.st.Partitions[0].Primary)))
}

// Every planted bug of the judge is found, and the judge without it is right.
func TestPlantedJudge(t *testing.T) {
	defer plant.Set(plant.None)
	for _, bug := range plant.Judge() {
		wrong := trials[bug]
		if wrong == nil {
			t.Errorf("%s has no trial", bug)
			continue
		}
		for _, b := range []plant.Bug{plant.None, bug} {
			plant.Set(b)
			if got := wrong(t); got != (b != plant.None) {
				t.Errorf("%s, planted %v: went wrong: %v", bug, b != plant.None, got)
			}
		}
	}
	for bug := range trials {
		if !slices.Contains(plant.Judge(), bug) {
			t.Errorf("%s is in no list", bug)
		}
	}
}
