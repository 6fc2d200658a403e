package version

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLiveShowsWhatAReaderMaySee(t *testing.T) {
	one, two := RequestID{1}, RequestID{2}
	object := func(s ...Sibling) *Object {
		o := &Object{}
		for i := range s {
			s[i].Dot = Dot{Actor(i + 1), 1}
			o = Write(o, nil, s[i])
		}
		return o
	}
	for _, c := range []struct {
		name string
		o    *Object
		want string
	}{
		{"absent", nil, ""},
		{"newest first", object(Sibling{HLC: 1, Value: []byte("a")}, Sibling{HLC: 3, Value: []byte("b")}, Sibling{HLC: 2, Value: []byte("c")}), "b c a"},
		{"ties by dot", object(Sibling{HLC: 1, Value: []byte("a")}, Sibling{HLC: 1, Value: []byte("b")}), "b a"},
		{"no tombstones", object(Sibling{HLC: 9, Tombstone: true}, Sibling{HLC: 1, Value: []byte("a")}), "a"},
		{"only a tombstone", object(Sibling{HLC: 9, Tombstone: true}), ""},
		{"expired at its moment", object(Sibling{ExpiryMS: 1000, Value: []byte("a")}, Sibling{ExpiryMS: 1001, Value: []byte("b")}), "b"},
		{"one request minted twice", object(Sibling{HLC: 1, Request: one, Value: []byte("a")}, Sibling{HLC: 2, Request: one, Value: []byte("a2")}), "a2"},
		{"thrice, newest in the middle", object(Sibling{HLC: 1, Request: one, Value: []byte("a")}, Sibling{HLC: 5, Request: one, Value: []byte("a2")}, Sibling{HLC: 3, Request: one, Value: []byte("a3")}), "a2"},
		{"two requests", object(Sibling{HLC: 1, Request: one, Value: []byte("a")}, Sibling{HLC: 2, Request: two, Value: []byte("b")}), "b a"},
		{"no request is not one request", object(Sibling{HLC: 1, Value: []byte("a")}, Sibling{HLC: 2, Value: []byte("b")}), "b a"},
		{"an expired twin hides nothing", object(Sibling{HLC: 2, Request: one, ExpiryMS: 1, Value: []byte("a")}, Sibling{HLC: 1, Request: one, Value: []byte("b")}), "b"},
	} {
		var got []string
		for _, s := range c.o.Live(1000) {
			got = append(got, string(s.Value))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %q, want %q", c.name, g, c.want)
		}
	}
}

// The clock never goes back, not over crashes that lose everything but the durable
// bound, with a wall clock that jumps as it likes; the bound is above every stamp.
func TestClockNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var durable, last HLC
		c := NewClock(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "crash") == 0 {
				c = NewClock(durable)
			}
			seen := HLC(0)
			if rapid.Bool().Draw(t, "hasSeen") {
				seen = last + HLC(rapid.Uint64Range(0, 1<<26).Draw(t, "seen"))
			}
			h, reserve := c.Next(rapid.Int64Range(0, 5000).Draw(t, "wall"), seen)
			if reserve {
				durable = c.Bound()
			}
			if h <= last {
				t.Fatalf("%d after %d", h, last)
			}
			if h >= durable {
				t.Fatalf("%d is not below the durable bound %d", h, durable)
			}
			last = h
		}
	})
}

func TestClockReservesSeldom(t *testing.T) {
	c, reserved := NewClock(0), 0
	for i := range int64(1000) { // one stamp a millisecond, for a second
		if _, reserve := c.Next(1_000_000+i, 0); reserve {
			reserved++
		}
	}
	if reserved < 2 || reserved > 5 {
		t.Errorf("the bound was written %d times in a second", reserved)
	}
	if h := HLCFromMS(1234); h.MS() != 1234 {
		t.Errorf("1234 ms became %d", h.MS())
	}
}

func contexts() *rapid.Generator[Context] {
	return rapid.Custom(func(t *rapid.T) Context {
		c := Context{Bucket: rapid.Uint64().Draw(t, "bucket"), KeyHash: rapid.Uint64().Draw(t, "hash"), HLC: HLC(rapid.Uint64().Draw(t, "hlc"))}
		for range rapid.IntRange(0, 5).Draw(t, "actors") {
			c.Seen = c.Seen.With(Dot{Actor(rapid.Uint64().Draw(t, "actor")), rapid.Uint64Range(1, 1<<40).Draw(t, "counter")})
		}
		return c
	})
}

func TestContextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := contexts().Draw(t, "context")
		got, err := ParseContext(c.Token())
		if err != nil || got.Bucket != c.Bucket || got.KeyHash != c.KeyHash || got.HLC != c.HLC || !got.Seen.Equal(c.Seen) {
			t.Fatalf("%+v came back as %+v, %v", c, got, err)
		}
	})
}

// Every change of a single byte is refused, the unused bits of the last base64
// digit included; so is every cut and every byte more.
func TestContextRefusesEveryCorruption(t *testing.T) {
	full := Context{Bucket: 7, KeyHash: 0xfeed, HLC: 1 << 40, Seen: Vector{{3, 1}, {9, 400}}}
	for _, c := range []Context{{}, {Bucket: 300}, {Bucket: 1 << 20}, full} { // all lengths modulo 3
		token := c.Token()
		for i := range token {
			for b := range 256 {
				bad := []byte(token)
				if bad[i] = byte(b); string(bad) == token {
					continue
				}
				if got, err := ParseContext(string(bad)); err == nil {
					t.Fatalf("byte %d of %s as %q: accepted as %+v", i, token, bad[i], got)
				}
			}
			if _, err := ParseContext(token[:i]); err == nil {
				t.Errorf("%d bytes of %s: accepted", i, token)
			}
		}
		for _, more := range []string{"A", "AAAA", "=", "\n"} {
			if _, err := ParseContext(token + more); err == nil {
				t.Errorf("%s and %q: accepted", token, more)
			}
		}
	}
}

// A key that was written through too many process starts still gets a token, but
// one beyond the bound is refused as input, without an allocation for its count.
func TestContextActorsAreBounded(t *testing.T) {
	var c Context
	for i := range MaxContextActors {
		c.Seen = append(c.Seen, Dot{Actor(i + 1), 1})
	}
	if _, err := ParseContext(c.Token()); err != nil {
		t.Errorf("%d actors: %v", len(c.Seen), err)
	}
	c.Seen = append(c.Seen, Dot{MaxContextActors + 1, 1})
	if _, err := ParseContext(c.Token()); err == nil {
		t.Errorf("%d actors: accepted", len(c.Seen))
	}
	for _, broken := range []Vector{{{2, 1}, {1, 1}}, {{1, 0}}, {{1, 1}, {1, 2}}} {
		if _, err := ParseContext(Context{Seen: broken}.Token()); err == nil {
			t.Errorf("%v: accepted", broken)
		}
	}
}

func FuzzParseContext(f *testing.F) {
	f.Add("")
	f.Add(Context{}.Token())
	f.Add(Context{Bucket: 7, KeyHash: 0xfeed, HLC: 1 << 40, Seen: Vector{{3, 1}, {9, 400}}}.Token())
	f.Add("AQAAAAAAAAAAAAD_____DwAAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := ParseContext(token)
		if err != nil {
			if err != ErrContext {
				t.Errorf("error %v", err)
			}
			return
		}
		if !c.Seen.Valid() || len(c.Seen) > MaxContextActors {
			t.Errorf("accepted %v", c.Seen)
		}
		if again, err := ParseContext(c.Token()); err != nil || !bytes.Equal(again.AppendToken(nil), c.AppendToken(nil)) {
			t.Errorf("%+v does not survive a round trip: %v", c, err)
		}
	})
}
