package antientropy

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/quorum/version"
)

// newTestRound has two owners and one store beside.
func newTestRound(round uint32) (*Round, RoundDo) {
	all := []Member{{sid(1), 1}, {sid(2), 1}, {sid(3), 1}}
	return NewRound(RoundConfig{Round: round, Epoch: 1, Self: sid(1), Owners: all[:2], Stores: all}, 0)
}

// Answers to an older round, or to an earlier question of this one, are not taken:
// they say nothing about what was handed out since. Nor is an exchange of the pull
// taken for one of the spread.
func TestOldAnswersAreNotTaken(t *testing.T) {
	_, old := newTestRound(1)
	r, do := newTestRound(2)
	for i := range 2 {
		r.Confirmed(0, sid(1+i), Confirmation{Ask: old.Ask, Boot: 1, Epoch: 1})
	}
	if r.Phase() != Surveying {
		t.Fatalf("%v: confirmations of another round were taken", r)
	}
	for i := range 2 {
		do = r.Confirmed(0, sid(1+i), Confirmation{Ask: do.Ask, Boot: 1, Epoch: 1}).orElse(do)
	}
	first := do
	r.Reported(0, sid(3), Report{Ask: do.Ask, Boot: 1, Epoch: 1, Hints: 1})
	do = r.Wake(time.Hour)
	for i := range 3 {
		r.Reported(0, sid(1+i), Report{Ask: first.Ask, Boot: 1, Epoch: 1})
	}
	if r.Phase() != Gathering || do.Ask == first.Ask {
		t.Fatalf("%v: reports of the first gathering were taken", r)
	}
	for i := range 3 {
		do = r.Reported(0, sid(1+i), Report{Ask: do.Ask, Boot: 1, Epoch: 1}).orElse(do)
	}
	pull := do.Ask
	do = r.Passed(0, pull, sid(2), true)
	r.Passed(0, pull, sid(2), true)
	if r.Phase() != Spreading {
		t.Fatalf("%v: an exchange of the pull was taken for one of the spread", r)
	}
	do = r.Passed(0, do.Ask, sid(2), true)
	r.Confirmed(0, sid(1), Confirmation{Ask: do.Ask, Boot: 1, Epoch: 1})
	r.Confirmed(0, sid(2), Confirmation{Ask: old.Ask, Boot: 1, Epoch: 1})
	if r.Phase() != Confirming {
		t.Fatalf("%v", r)
	}
}

// orElse keeps the question that still stands.
func (d RoundDo) orElse(last RoundDo) RoundDo {
	if d.Ask == 0 {
		return last
	}
	return d
}

// Another incarnation, epoch or generation in an answer ends the round.
func TestAnswersOfOthersEndTheRound(t *testing.T) {
	for name, c := range map[string]Confirmation{
		"boot":       {Boot: 2, Epoch: 1},
		"epoch":      {Boot: 1, Epoch: 2},
		"generation": {Boot: 1, Epoch: 1, Generation: 1},
	} {
		r, do := newTestRound(1)
		c.Ask = do.Ask
		if do := r.Confirmed(0, sid(2), c); !do.Done || r.Phase() != Aborted || r.Blocked().Why != MembersMoved {
			t.Errorf("%s: %v", name, r)
		}
		r, do = newTestRound(1)
		for i := range 2 {
			do = r.Confirmed(0, sid(1+i), Confirmation{Ask: do.Ask, Boot: 1, Epoch: 1}).orElse(do)
		}
		if do := r.Reported(0, sid(3), Report{Ask: do.Ask, Boot: c.Boot, Epoch: c.Epoch, Generation: c.Generation}); !do.Done {
			t.Errorf("%s in a report: %v", name, r)
		}
	}
	r, _ := newTestRound(1)
	all := []Member{{sid(1), 1}, {sid(2), 1}, {sid(3), 1}}
	if do := r.Changed(0, 1, 0, all[:2], all); do.Done {
		t.Error("nothing changed, and the round ended")
	}
	if do := r.Changed(0, 1, 1, all[:2], all); !do.Done {
		t.Error("a purge by another lead does not end the round")
	}
}

// The guard and the purge, by cases.
func TestStripAndPurgeable(t *testing.T) {
	dot := func(a version.Actor, c uint64) version.Dot { return version.Dot{Actor: a, Counter: c} }
	object := func(ctx version.Vector, tomb bool, dots ...version.Dot) *version.Object {
		o := &version.Object{Context: ctx}
		for _, d := range dots {
			o.Siblings = append(o.Siblings, version.Sibling{Dot: d, Tombstone: tomb})
		}
		return o
	}
	clock := version.Vector{dot(1, 5), dot(2, 3)}
	both := object(version.Vector{dot(1, 5), dot(2, 4)}, false, dot(1, 5), dot(2, 4))
	if got := Strip(both, nil, clock); len(got.Siblings) != 1 || got.Siblings[0].Dot != dot(2, 4) || !got.Context.Equal(both.Context) || len(both.Siblings) != 2 {
		t.Errorf("%v", got)
	}
	if got := Strip(both, object(clock, false, dot(1, 5)), clock); got != both {
		t.Errorf("what is held was stripped: %v", got)
	}
	old := object(version.Vector{dot(1, 5)}, false, dot(1, 5))
	if Strip(old, nil, clock) != nil || Strip(old, nil, nil) != old || Strip(nil, nil, clock) != nil {
		t.Error("an old object for an absent key")
	}
	if got := Strip(old, object(version.Vector{dot(2, 9)}, false, dot(2, 9)), clock); got == nil || len(got.Siblings) != 0 || got.Context.Get(1) != 5 {
		t.Errorf("%v: the context must stay", got)
	}
	for i, c := range []struct {
		o    *version.Object
		want bool
	}{
		{nil, false},
		{object(clock, true, dot(1, 5)), true},
		{object(clock, false, dot(1, 5)), false},
		{object(version.Vector{dot(1, 6), dot(2, 3)}, true, dot(2, 3)), false}, // something was seen since
		{object(version.Vector{dot(1, 6)}, true, dot(1, 6)), false},
		{object(version.Vector{dot(3, 1)}, true, dot(3, 1)), false}, // an actor in no cut
		{object(clock, true), true},
	} {
		if got := Purgeable(c.o, clock); got != c.want {
			t.Errorf("case %d: %v", i, got)
		}
	}
}

// E8: expiry by T gives the same object whoever joined what before, and no dot goes.
func TestExpireIsTheSameEverywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all, x, y *version.Object
		for i := range rapid.IntRange(1, 4).Draw(t, "siblings") {
			d := version.Dot{Actor: version.Actor(i + 1), Counter: 1}
			o := &version.Object{Context: version.Vector{d}, Siblings: []version.Sibling{{Dot: d, ExpiryMS: rapid.Int64Range(0, 4).Draw(t, "expiry"), Value: []byte("v")}}}
			all = version.Join(all, o)
			switch rapid.IntRange(0, 2).Draw(t, "where") {
			case 0:
				x = version.Join(x, o)
			case 1:
				y = version.Join(y, o)
			default:
				x, y = version.Join(x, o), version.Join(y, o)
			}
		}
		at := rapid.Int64Range(0, 4).Draw(t, "T")
		got, want := version.Join(Expire(x, at), Expire(y, at)), Expire(all, at)
		if !version.Same(got, want) || !version.Same(want, all) || want.Hash() != all.Hash() {
			t.Fatalf("%v, want %v", got, want)
		}
		for i, s := range got.Siblings {
			e := all.Siblings[i].ExpiryMS
			if dead := e != 0 && e <= at; s.Tombstone != dead || dead == (s.Value != nil) || s.Tombstone != want.Siblings[i].Tombstone {
				t.Fatalf("expiry %d at %d: %+v", e, at, s)
			}
		}
		if Expire(want, at) != want {
			t.Fatal("a second time it changes")
		}
	})
	if Expire(nil, 5) != nil {
		t.Error("an absent key")
	}
}

// A lone owner needs no exchange; a round asks a bounded number of times.
func TestRoundAlone(t *testing.T) {
	one := []Member{{sid(1), 1}}
	r, do := NewRound(RoundConfig{Epoch: 1, Self: sid(1), Owners: one, Stores: one}, 0)
	do = r.Confirmed(0, sid(1), Confirmation{Ask: do.Ask, Boot: 1, Epoch: 1, Seen: version.Vector{{Actor: 5, Counter: 4}, {Actor: 7, Counter: 2}}})
	do = r.Reported(0, sid(1), Report{Ask: do.Ask, Boot: 1, Epoch: 1, Cut: version.Vector{{Actor: 7, Counter: 3}, {Actor: 8, Counter: 9}}, WallMS: 9})
	do = r.Confirmed(0, sid(1), Confirmation{Ask: do.Ask, Boot: 1, Epoch: 1})
	if do.Propose == nil || !do.Propose.Clock.Equal(version.Vector{{Actor: 5, Counter: 4}, {Actor: 7, Counter: 2}}) || do.Propose.ExpireMS != 9 || do.Propose.Generation != 1 {
		t.Fatalf("%v: %+v", r, do)
	}
	now := Duration(0)
	for i := 0; !do.Done; i++ {
		if i > maxPurgeAsks {
			t.Fatal("it asks for ever")
		}
		now = do.Wake
		if do = r.Wake(now); !do.Done && do.Propose == nil {
			t.Fatalf("%+v", do)
		}
	}
	if r.Blocked().Why != GaveUp || r.Wake(now+time.Hour).Done || r.Down(now, sid(1)).Done {
		t.Errorf("%v", r)
	}
	r, do = newTestRound(1)
	for i := range 2 {
		do = r.Confirmed(0, sid(1+i), Confirmation{Ask: do.Ask, Boot: 1, Epoch: 1}).orElse(do)
	}
	for i := 0; ; i++ {
		if i > maxGatherings {
			t.Fatal("it gathers for ever")
		}
		if do = r.Reported(now, sid(3), Report{Ask: do.Ask, Boot: 1, Epoch: 1, Hints: 1}); do.Done {
			break
		}
		now = do.Wake
		do = r.Wake(now)
	}
}
