package hashring

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawClock(t *rapid.T, label string) Clock {
	m := rapid.MapOfN(rapid.Uint64Range(0, 6), rapid.Uint64Range(1, 1<<40), 0, 5).Draw(t, label)
	return clockOf(m)
}

func clockOf(m map[uint64]uint64) Clock {
	out := Clock{}
	for _, actor := range slices.Sorted(maps.Keys(m)) {
		out = append(out, Dot{actor, m[actor]})
	}
	return out
}

func (c Clock) dumb() map[uint64]uint64 {
	m := map[uint64]uint64{}
	for _, d := range c {
		m[d.Actor] = d.Counter
	}
	return m
}

// A clock against a map: join, cover, size, text.
func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawClock(t, "a"), drawClock(t, "b")
		before := slices.Clone(a)
		want := a.dumb()
		for actor, n := range b.dumb() {
			want[actor] = max(want[actor], n)
		}
		got := a.Join(b)
		if !slices.Equal(got, clockOf(want)) || got.check() != nil {
			t.Fatalf("%v joined with %v is %v", a, b, got)
		}
		d := Dot{rapid.Uint64Range(0, 6).Draw(t, "actor"), rapid.Uint64Range(1, 1<<40).Draw(t, "counter")}
		if got.Covers(d) != (d.Counter <= want[d.Actor]) || got.Counter(d.Actor) != want[d.Actor] {
			t.Fatalf("%v covers %v: %t", got, d, got.Covers(d))
		}
		if !slices.Equal(a, before) {
			t.Fatal("a join wrote into its receiver")
		}
		text, err := got.MarshalText()
		var back Clock
		if err != nil || back.UnmarshalText(text) != nil || !slices.Equal(back, got) {
			t.Fatalf("%v came back as %v, %v", got, back, err)
		}
		if n := len(text) * 3 / 4; n != got.Bytes() {
			t.Fatalf("%d bytes encoded, Bytes says %d", n, got.Bytes())
		}
	})
}

func TestClockRules(t *testing.T) {
	for name, c := range map[string]Clock{
		"counter 0":   {{1, 0}},
		"actor twice": {{1, 2}, {1, 3}},
		"unsorted":    {{2, 2}, {1, 3}},
	} {
		if c.check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	c := Clock{{1, 2}, {1 << 63, 3}}
	if n := testing.AllocsPerRun(100, func() {
		if c.Covers(Dot{1 << 63, 4}) {
			sink++
		}
	}); n != 0 {
		t.Errorf("%v allocations in the guard of every write", n)
	}
	if clockShare(0) != MaxClockBytes || clockShare(64) != MaxClockBytes || clockShare(MaxPartitions)*MaxPartitions != MaxPurgeBytes {
		t.Error("the shares of the purge clocks")
	}
}

func FuzzClockText(f *testing.F) {
	for _, c := range []Clock{{}, {{1, 1}}, {{1, 1 << 60}, {1 << 60, 5}}} {
		text, _ := c.MarshalText()
		f.Add(text)
	}
	f.Add([]byte("AAAA"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c, again Clock
		if c.UnmarshalText(text) != nil {
			return
		}
		b, err := c.MarshalText()
		if err != nil || again.UnmarshalText(b) != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%q is %v, then %q: %v", text, c, b, err)
		}
		if len(b) > len(text) && !bytes.Equal(b, text) {
			t.Fatalf("%q grew to %q", text, b)
		}
	})
}
