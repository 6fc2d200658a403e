package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// at builds an operation on one key between two milliseconds.
func at(call, back int, k Kind) Op {
	return Op{Kind: k, Bucket: "b", Key: "k", Call: Time(call) * ms, Return: Time(back) * ms}
}

func (o Op) ver(v string) Op          { o.Version = v; return o }
func (o Op) over(v ...string) Op      { o.Context, o.HasContext = v, true; return o }
func (o Op) ended(as Outcome) Op      { o.Outcome = as; return o }
func (o Op) on(l Level) Op            { o.Level = l; return o }
func (o Op) token(v ...string) Op     { o.Session, o.Level = v, Session; return o }
func (o Op) tokenGone(v ...string) Op { o.SessionGone, o.Level = v, Session; return o }

func put(call, back int, v string) Op { o := at(call, back, Write); o.Value = v; return o }
func cas(call, back int, v string) Op {
	o := at(call, back, CAS)
	o.Value, o.HasContext = v, true
	return o
}
func get(call, back int, v ...string) Op { o := at(call, back, Read); o.Read = v; return o }
func inc(call, back int, delta, count int64) Op {
	o := at(call, back, Add)
	o.Delta, o.Count = delta, count
	return o
}
func total(call, back int, count int64) Op  { o := at(call, back, Total); o.Count = count; return o }
func lock(call, back int, holder string) Op { return cas(call, back, holder) }
func del(call, back int) Op                 { return at(call, back, Delete) }

var onlyKey = KeyRef{"b", "k"}

func eventualLeaving(left ...string) func([]Op) []Violation {
	return func(h []Op) []Violation { return Eventual(h, map[KeyRef][]string{onlyKey: left}) }
}

func durableLeaving(left ...string) func([]Op) []Violation {
	return func(h []Op) []Violation { return Durability(h, map[KeyRef][]string{onlyKey: left}) }
}

func registers(h []Op) []Violation { return Registers(h, RegisterOptions{}) }

// Small histories by hand, the bad ones beside the like that are fine (kind "").
var planted = []struct {
	name, kind string
	check      func([]Op) []Violation
	h          []Op
}{
	{"read after write", "", registers, []Op{put(0, 1, "x"), get(2, 3, "x")}},
	{"sloppy write, then an owner that has not got it", NotLinearizable, registers, []Op{put(0, 1, "x"), get(2, 3)}},
	{"stale read", NotLinearizable, registers, []Op{put(0, 1, "x"), put(2, 3, "y"), get(4, 5, "x")}},
	{"a read may go either way while a write is under way", "", registers, []Op{put(0, 1, "x"), put(2, 9, "y"), get(3, 4, "x"), get(5, 6, "y")}},
	{"backwards", NotLinearizable, registers, []Op{put(0, 1, "x"), put(2, 9, "y"), get(3, 4, "y"), get(5, 6, "x")}},
	{"two siblings are no register", NotLinearizable, registers, []Op{put(0, 1, "x"), put(0, 1, "y"), get(2, 3, "x", "y")}},
	{"an open write may come late", "", registers, []Op{put(0, 1, "x"), put(2, 3, "y").ended(Unknown), get(4, 5, "x"), get(6, 7, "y")}},
	{"an open write does not come twice", NotLinearizable, registers, []Op{put(0, 1, "y").ended(Unknown), get(2, 3, "y"), put(4, 5, "x"), get(6, 7, "x"), get(8, 9, "y")}},
	{"two winners", NotLinearizable, registers, []Op{cas(0, 5, "x"), cas(0, 5, "y")}},
	{"one winner", "", registers, []Op{cas(0, 5, "x"), cas(0, 5, "y").ended(Mismatch)}},
	{"no winner", NotLinearizable, registers, []Op{cas(0, 5, "x").ended(Mismatch), cas(0, 5, "y").ended(Mismatch)}},
	{"refused, and yet seen", NotLinearizable, registers, []Op{put(0, 1, "x").ended(NotApplied), get(2, 3, "x")}},

	{"in order", "", VersionOrder, []Op{put(0, 1, "x").ver("1.1"), put(2, 3, "y").ver("1.2"), get(4, 5, "y").ver("1.2")}},
	{"version went back", Disorder, VersionOrder, []Op{put(0, 1, "x").ver("1.2"), put(2, 3, "y").ver("1.1")}},
	{"numbers, not text", "", VersionOrder, []Op{put(0, 1, "x").ver("1.9"), put(2, 3, "y").ver("1.10")}},
	{"stale by version", Stale, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), put(2, 3, "y").ver("1.2"), get(4, 5, "x").ver("1.1")}},
	{"stale beside an unread key", Stale, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), get(2, 3)}},
	{"absent before the write ended", "", VersionOrder, []Op{put(0, 3, "x").ver("1.1"), get(2, 4)}},
	{"absent by a delete that may have happened", "", VersionOrder, []Op{put(0, 1, "x").ver("1.1"), del(2, 3).ended(Unknown), get(4, 5)}},
	{"two values under one version", Duplicate, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), put(0, 1, "y").ver("1.1")}},
	{"one write under two versions", Duplicate, VersionOrder, []Op{put(0, 1, "x").ended(Unknown), get(2, 3, "x").ver("1.1"), get(4, 5, "x").ver("1.3")}},
	{"a version nobody wrote", Duplicate, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), get(2, 3, "x").ver("1.4")}},
	{"a deletion nobody asked for", Phantom, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), get(2, 3).ver("1.2")}},
	{"a value nobody wrote", Phantom, VersionOrder, []Op{get(2, 3, "x").ver("1.1")}},
	{"a value from the future", Phantom, VersionOrder, []Op{get(2, 3, "x").ver("1.1"), put(4, 5, "x").ver("1.1")}},
	{"refused by version, and seen", RefusedYetSeen, VersionOrder, []Op{put(0, 1, "x").ended(NotApplied), get(2, 3, "x").ver("1.1")}},
	{"lost update", LostUpdate, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), cas(2, 9, "y").over("x").ver("1.2"), cas(2, 9, "z").over("x").ver("1.3")}},
	{"create twice", LostUpdate, VersionOrder, []Op{cas(0, 9, "x").ver("1.1"), cas(0, 9, "y").ver("1.2")}},
	{"create after a delete", "", VersionOrder, []Op{cas(0, 1, "x").ver("1.1"), del(2, 3).ver("1.2"), cas(4, 5, "y").ver("1.3")}},
	{"refused for its own version", FalseMismatch, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), cas(2, 3, "y").over("x").ver("1.1").ended(Mismatch)}},
	{"a strong key shows siblings", TooManySiblings, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), put(0, 1, "y").ver("1.2"), get(2, 3, "x", "y").ver("1.2")}},

	{"acked and left", "", eventualLeaving("x"), []Op{put(0, 1, "x")}},
	{"acked and gone", Lost, eventualLeaving(), []Op{put(0, 1, "x")}},
	{"unknown and gone", "", eventualLeaving(), []Op{put(0, 1, "x").ended(Unknown)}},
	{"unknown and there after all", "", eventualLeaving("x"), []Op{put(0, 1, "x").ended(Unknown)}},
	{"replaced", "", eventualLeaving("y"), []Op{put(0, 1, "x"), put(2, 3, "y").over("x")}},
	{"replaced by one that had not seen it", Lost, eventualLeaving("y"), []Op{put(0, 1, "x"), put(2, 3, "y").over()}},
	{"replaced by a blind write", "", eventualLeaving("y"), []Op{put(0, 1, "x"), put(2, 3, "y")}},
	{"a blind write before it does not replace it", Lost, eventualLeaving("y"), []Op{put(0, 1, "y"), put(2, 3, "x")}},
	{"shown beside the blind write", Lost, eventualLeaving("y"), []Op{put(0, 1, "x"), put(0, 3, "y"), get(4, 5, "x", "y")}},
	{"replaced by a lost one", Lost, eventualLeaving(), []Op{put(0, 1, "x"), put(2, 3, "y").over("x")}},
	{"deleted", "", eventualLeaving(), []Op{put(0, 1, "x"), del(2, 3).over("x")}},
	{"deleted, by a delete that may have happened", "", eventualLeaving(), []Op{put(0, 1, "x"), del(2, 3).over("x").ended(Unknown)}},
	{"deleted, by a delete that was refused", Lost, eventualLeaving(), []Op{put(0, 1, "x"), del(2, 3).over("x").ended(NotApplied)}},
	{"deleted, and back", Resurrected, eventualLeaving("x"), []Op{put(0, 1, "x"), del(2, 3).over("x")}},
	{"back after a delete of unknown outcome", "", eventualLeaving("x"), []Op{put(0, 1, "x"), del(2, 3).over("x").ended(Unknown)}},
	{"replaced, and back beside it", Resurrected, eventualLeaving("x", "y"), []Op{put(0, 1, "x"), put(2, 3, "y").over("x")}},
	{"back, and what replaced it was replaced", Resurrected, eventualLeaving("x", "z"), []Op{put(0, 1, "x"), put(2, 3, "y").over("x").ended(Unknown), put(4, 5, "z").over("y")}},
	{"a read shows what is replaced", Resurrected, eventualLeaving("y"), []Op{put(0, 1, "x"), put(2, 3, "y").over("x"), get(4, 5, "x", "y")}},
	{"a stale read is fine", "", eventualLeaving("y"), []Op{put(0, 1, "x"), put(2, 3, "y").over("x"), get(4, 5, "x"), get(4, 5)}},
	{"invented", Phantom, eventualLeaving("x"), []Op{get(0, 1)}},
	{"refused, and left", RefusedYetSeen, eventualLeaving("x"), []Op{put(0, 1, "x").ended(NotApplied)}},
	{"read before it was written", Phantom, eventualLeaving("x"), []Op{get(0, 1, "x"), put(2, 3, "x")}},

	{"a power cut, all there", "", durableLeaving("x", "y"), []Op{put(0, 1, "x"), put(0, 1, "y")}},
	{"a power cut took one", Lost, durableLeaving("y"), []Op{put(0, 1, "x").over(), put(0, 1, "y").over()}},
	{"durability does not judge what is back", "", durableLeaving("x", "y"), []Op{put(0, 1, "x"), put(2, 3, "y").over("x")}},

	{"strict", "", StrictReads, []Op{put(0, 1, "x").on(Strict), get(2, 3, "x").on(Strict)}},
	{"strict, stale", Stale, StrictReads, []Op{put(0, 1, "x").on(Strict), get(2, 3).on(Strict)}},
	{"strict, but the write was not", "", StrictReads, []Op{put(0, 1, "x"), get(2, 3).on(Strict)}},
	{"strict, backwards", Stale, StrictReads, []Op{put(0, 1, "x"), get(2, 3, "x").on(Strict), get(4, 5).on(Strict)}},
	{"strict, replaced meanwhile", "", StrictReads, []Op{put(0, 1, "x").on(Strict), put(2, 9, "y").over("x"), get(3, 4, "y").on(Strict)}},
	{"strict, shows what is replaced", Stale, StrictReads, []Op{put(0, 1, "x"), put(2, 3, "y").over("x").on(Strict), get(4, 5, "x", "y").on(Strict)}},

	{"reads its write", "", Sessions, []Op{put(0, 1, "x"), get(2, 3, "x").token("x")}},
	{"does not read its write", SessionBroken, Sessions, []Op{put(0, 1, "x"), get(2, 3).token("x")}},
	{"reads what replaced its write", "", Sessions, []Op{put(0, 1, "x"), put(2, 3, "y").over("x"), get(4, 5, "y").token("x")}},
	{"what replaced it is not there either", SessionBroken, Sessions, []Op{put(0, 1, "x"), put(2, 3, "y").over("x"), get(4, 5).token("x")}},
	{"goes back before its write", SessionBroken, Sessions, []Op{put(0, 1, "x"), put(2, 3, "y").over("x"), get(4, 5, "x", "y").token("y")}},
	{"sees what it deleted", SessionBroken, Sessions, []Op{put(0, 1, "x"), del(2, 3).over("x"), get(4, 5, "x").tokenGone("x")}},
	{"without a token it may be stale", "", Sessions, []Op{put(0, 1, "x"), get(2, 3)}},

	{"too many siblings", TooManySiblings, func(h []Op) []Violation { return SiblingCaps(h, 2) }, []Op{get(0, 1, "x", "y", "z")}},
	{"as many siblings as may be", "", func(h []Op) []Violation { return SiblingCaps(h, 2) }, []Op{get(0, 1, "x", "y")}},
	{"one sibling twice", TooManySiblings, func(h []Op) []Violation { return SiblingCaps(h, 2) }, []Op{get(0, 1, "x", "x")}},

	{"returned before it was called", BrokenHistory, Validate, []Op{put(2, 1, "x")}},
	{"one value twice", BrokenHistory, Validate, []Op{put(0, 1, "x"), put(2, 3, "x")}},
	{"malformed version", BrokenHistory, Validate, []Op{put(0, 1, "x").ver("1.x")}},
	{"versions of two shapes", BrokenHistory, Validate, []Op{put(0, 1, "x").ver("1.1"), put(2, 3, "y").ver("2")}},
	{"acked without a version among versions", BrokenHistory, Validate, []Op{put(0, 1, "x").ver("1.1"), put(2, 3, "y")}},
	{"context of nothing", BrokenHistory, Validate, []Op{put(0, 1, "x").over("z")}},
	{"context from the future", BrokenHistory, Validate, []Op{put(0, 1, "x").over("y"), put(2, 3, "y")}},
	{"a read refused", BrokenHistory, Validate, []Op{get(0, 1).ended(NotApplied)}},
	{"a write failed like a read", BrokenHistory, Validate, []Op{put(0, 1, "x").ended(Failed)}},
	{"a write of nothing", BrokenHistory, Validate, []Op{put(0, 1, "")}},
	{"a value that a read invented is the store's fault", "", Validate, []Op{get(0, 1, "z"), put(2, 3, "x").over("z")}},
	{"a read of the past", "", VersionOrder, []Op{put(0, 1, "x").ver("1.1"), put(2, 3, "y").ver("1.2"), get(4, 5, "x").ver("1.1").on(Past), get(4, 5).on(Past)}},
	{"and the same of the present", Stale, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), put(2, 3, "y").ver("1.2"), get(4, 5, "x").ver("1.1")}},
	{"the past shows what nobody wrote", Phantom, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), get(4, 5, "z").ver("1.2").on(Past)}},
	{"the past shows what the present lost", Stale, VersionOrder, []Op{put(0, 1, "x").ver("1.1"), put(2, 3, "y").ver("1.2").ended(Unknown), get(4, 5, "y").ver("1.2").on(Past), get(6, 7, "x").ver("1.1")}},
	{"a register's past", "", registers, []Op{put(0, 1, "x"), put(2, 3, "y"), get(4, 5, "x").on(Past)}},
	{"a counter", "", Counters, []Op{inc(0, 1, 1, 1).ver("1.1"), inc(2, 3, 2, 3).ver("1.2"), total(4, 5, 3).ver("1.2")}},
	{"an open increment may be in it", "", Counters, []Op{inc(0, 1, 1, 1), inc(2, 3, 2, 0).ended(Unknown), total(4, 5, 1), inc(6, 7, 4, 7)}},
	{"an increment is lost", Miscount, Counters, []Op{inc(0, 1, 1, 1), inc(2, 3, 2, 2)}},
	{"an increment is in it twice", Miscount, Counters, []Op{inc(0, 1, 1, 0).ended(Unknown), total(4, 5, 2)}},
	{"twice, unseen but by powers of two", Miscount, Counters, []Op{inc(0, 1, 1, 0).ended(Unknown), inc(0, 9, 2, 4), inc(0, 9, 8, 0).ended(Unknown)}},
	{"a refused increment is in it", Miscount, Counters, []Op{inc(0, 1, 1, 0).ended(NotApplied), total(4, 5, 1)}},
	{"a counter goes back", Disorder, Counters, []Op{inc(0, 1, 1, 0).ended(Unknown), total(2, 3, 1), total(4, 5, 0)}},
	{"a counter goes back from version to version", Disorder, Counters, []Op{inc(0, 9, 1, 1).ver("1.2"), inc(0, 9, 2, 3).ver("1.1")}},
	{"one version, two sums", Duplicate, Counters, []Op{inc(0, 9, 1, 1).ver("1.1"), inc(0, 9, 2, 3).ver("1.1")}},
	{"a lock", "", Locks, []Op{lock(0, 1, "x").ver("1.1"), cas(2, 3, "").over("x").ver("1.2"), lock(2, 4, "y").ver("1.3")}},
	{"two holders", TwoHolders, Locks, []Op{lock(0, 1, "x").ver("1.1"), lock(2, 4, "y").ver("1.3")}},
	{"somebody else's release", TwoHolders, Locks, []Op{lock(0, 1, "x"), cas(2, 3, "").over("x").ended(Unknown), lock(4, 5, "y"), lock(6, 7, "z")}},
	{"a token goes back", Disorder, Locks, []Op{lock(0, 1, "x").ver("1.4"), cas(2, 3, "").over("x").ver("1.5"), lock(4, 5, "y").ver("1.3")}},
}

func TestPlantedHistories(t *testing.T) {
	for _, c := range planted {
		found := c.check(c.h)
		switch {
		case c.kind == "" && len(found) > 0:
			t.Errorf("%s: false alarm %v", c.name, found)
		case c.kind != "" && (len(found) == 0 || slices.ContainsFunc(found, func(v Violation) bool { return v.Kind != c.kind })):
			t.Errorf("%s: want %s, found %v", c.name, c.kind, found)
		}
		for _, v := range found {
			if v.Check == "" || v.Bucket != "b" || v.Key != "k" || v.Detail == "" {
				t.Errorf("%s: half a violation: %v", c.name, v)
			}
		}
	}
}

// A broken history gets no other verdict from anybody.
func TestBrokenHistoriesAreCalledBroken(t *testing.T) {
	h := []Op{put(0, 1, "x").ver("1.1"), put(2, 3, "x").ver("1.1"), get(5, 4)}
	for _, found := range [][]Violation{registers(h), VersionOrder(h), eventualLeaving()(h), durableLeaving()(h), Causal(h, nil), StrictReads(h), Sessions(h), SiblingCaps(h, 0)} {
		if len(found) != 2 || found[0].Kind != BrokenHistory || found[1].Kind != BrokenHistory {
			t.Errorf("found %v", found)
		}
	}
}

func TestCausalSeesInside(t *testing.T) {
	x, y := put(0, 1, "x"), put(0, 3, "y") // y is blind: clients cannot know whether it replaced x
	x.Mints = []Mint{{ID: "A1", Acked: true}}
	y.Mints = []Mint{{ID: "B1", Acked: true}}
	refused := put(4, 5, "z").ended(NotApplied)
	refused.Mints = []Mint{{ID: "C1"}}
	for name, c := range map[string]struct {
		h    []Op
		left []string
		want string
	}{
		"siblings":       {[]Op{x, y}, []string{"A1", "B1"}, ""},
		"lost":           {[]Op{x, y}, []string{"B1"}, Lost},
		"phantom":        {[]Op{x, y}, []string{"A1", "B1", "D1"}, Phantom},
		"refused":        {[]Op{x, refused}, []string{"A1"}, RefusedYetSeen},
		"acked, no mint": {[]Op{put(0, 1, "x")}, nil, Lost},
		"nothing to do":  {[]Op{del(0, 1)}, nil, ""},
	} {
		found := Causal(c.h, map[KeyRef][]string{onlyKey: c.left})
		if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 || found[0].Kind != c.want) {
			t.Errorf("%s: want %q, found %v", name, c.want, found)
		}
	}
	if found := eventualLeaving("y")([]Op{x, y}); len(found) > 0 {
		t.Errorf("from outside this is no loss: %v", found)
	}
}

func TestConvergence(t *testing.T) {
	same := map[KeyRef]map[string][]string{onlyKey: {"n1": {"x", "y"}, "n2": {"y", "x"}}, {"b", "l"}: {"n1": nil, "n2": {}}}
	if found := Convergence(same); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	same[onlyKey]["n3"] = []string{"x"}
	if found := Convergence(same); len(found) != 1 || found[0].Kind != Diverged || found[0].Key != "k" {
		t.Errorf("found %v", found)
	}
}

func TestViolationsAreBounded(t *testing.T) {
	var h []Op
	for i := range 3 * MaxViolations {
		h = append(h, put(i, i, fmt.Sprint("v", i)).over())
	}
	found := eventualLeaving()(h)
	if len(found) != MaxViolations || !strings.Contains(found[MaxViolations-1].Detail, "200 more") {
		t.Errorf("%d found, the last is %v", len(found), found[len(found)-1])
	}
}

func TestStepsAreBounded(t *testing.T) {
	var h []Op
	for i := range 60 { // everything at once, and no order of it
		h = append(h, put(0, 1000, fmt.Sprint("v", i)), get(0, 1000, fmt.Sprint("v", i)))
	}
	h = append(h, get(0, 1000, "nothing"))
	report := SearchRegisters(h, RegisterOptions{MaxSteps: 5000})
	if report.Unknown != 1 || len(report.Violations) > 0 || report.Ops != len(h) {
		t.Errorf("%+v", report)
	}
}

func TestVisualize(t *testing.T) {
	h := []Op{put(0, 1, "first"), put(2, 3, "second"), get(4, 5, "first")}
	var page bytes.Buffer
	if err := Visualize(&page, h, onlyKey, RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<html", "read: [first]", "write second"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if Visualize(&page, h, KeyRef{"b", "other"}, RegisterOptions{}) == nil || Visualize(&page, append(h, h[0]), onlyKey, RegisterOptions{}) == nil {
		t.Error("a picture of nothing, or of a broken history")
	}
}

func TestHistoriesSurviveJSON(t *testing.T) {
	h := []Op{cas(0, 1, "x").ver("1.1").on(Strict), get(2, 3, "x").token("x"), put(1, 2, "y").ended(Unknown)}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back []Op
	if err := json.Unmarshal(text, &back); err != nil || fmt.Sprintf("%+v", back) != fmt.Sprintf("%+v", h) {
		t.Errorf("%v: %s", err, text)
	}
	if err := json.Unmarshal([]byte(`[{"Kind":"guess"}]`), &back); err == nil {
		t.Error("an unknown kind was read")
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"1.2", "0", "", "1..2", "+1", "01", "18446744073709551616", "1.2.3.4", "1.2.3.4.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, parts, ok := parseVersion(s); ok && FormatVersion(v[:parts]...) != s {
			t.Errorf("%q became %v", s, v)
		}
	})
}
