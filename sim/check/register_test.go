package check

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// seeded takes many bytes for the seed: rapid's numbers are mostly small, and would
// give the same histories again and again.
func seeded(t *rapid.T) *rand.Rand {
	return rand.New(rand.NewChaCha8([32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))))
}

func clean(t interface {
	Helper()
	Fatalf(string, ...any)
}, h []Op, found []Violation) {
	t.Helper()
	if len(found) > 0 {
		t.Fatalf("%v\n%s", found[0], draw(h, found[0].Ops))
	}
}

// draw lists the operations on the key of the first of at.
func draw(h []Op, at []int) string {
	var b strings.Builder
	for i := range h {
		if len(at) == 0 || h[i].Ref() == h[at[0]].Ref() {
			fmt.Fprintf(&b, "%4d %s\n", i, h[i].String())
		}
	}
	return b.String()
}

func TestRegistersBlameNoLegalHistory(t *testing.T) {
	unknown, windows := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		r := seeded(t)
		for range 30 {
			h := registerHistory(r, rapid.IntRange(1, 120).Draw(t, "ops"), rapid.IntRange(1, 6).Draw(t, "clients"), 2)
			clean(t, h, VersionOrder(h))
			for _, o := range []RegisterOptions{{}, {MaxOps: 15, MaxWindows: 100}, {MaxOps: 6, MaxWindows: 100}, {Plain: true, AnyStart: true}} {
				o.MaxSteps = 20_000
				report := SearchRegisters(unversioned(h), o)
				clean(t, h, report.Violations)
				unknown, windows = unknown+report.Unknown, windows+report.Windows
			}
		}
	})
	if unknown*10 > windows {
		t.Errorf("%d of %d searches ran out of steps", unknown, windows)
	}
}

// The clever and the dumb agree: what versions show to be in order, a search finds an
// order for; and what a search refuses without versions, versions refuse too.
func TestVersionOrderAgreesWithSearch(t *testing.T) {
	bad, both := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		r := seeded(t)
		for range 10 {
			h := registerHistory(r, 40, 4, 1)
			if slices.ContainsFunc(h, func(o Op) bool { return o.Kind == Delete && o.Outcome == Unknown }) {
				continue // absences can hide behind it: see VersionOrder
			}
			for range 1 + r.IntN(2) {
				disturb(r, h)
			}
			byVersion := VersionOrder(h)
			report := SearchRegisters(unversioned(h), RegisterOptions{MaxSteps: 50_000})
			if len(report.Violations) > 0 {
				bad++
				if len(byVersion) > 0 {
					both++
				} else {
					t.Fatalf("found by search alone: %v\n%s", report.Violations, draw(h, nil))
				}
			}
		}
	})
	if bad < 20 || both < bad {
		t.Errorf("%d histories refused by a search, %d of them by versions", bad, both)
	}
	t.Logf("%d refused by a search, %d by versions too", bad, both)
}

// disturb swaps the answers of two reads, or moves an operation in time.
func disturb(r *rand.Rand, h []Op) {
	a, b := &h[r.IntN(len(h))], &h[r.IntN(len(h))]
	switch {
	case a.Kind == Read && b.Kind == Read && a.Outcome == OK && b.Outcome == OK:
		a.Read, b.Read = b.Read, a.Read
		a.Version, b.Version = b.Version, a.Version
	case a.Outcome != Unknown && a.Kind != CAS:
		length := a.Return - a.Call
		a.Call = max(0, a.Call-60*ms+Time(r.IntN(120))*ms)
		a.Return = a.Call + length
	}
	if a.Kind == Write || a.Kind == CAS { // nobody compares with what is not yet written
		for i := range h {
			if h[i].Kind == CAS && slices.Contains(h[i].Context, a.Value) && h[i].Call < a.Call {
				a.Call = h[i].Call
				a.Return = max(a.Return, a.Call)
			}
		}
	}
}

func TestVersionOrderFindsEveryMutation(t *testing.T) {
	found := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		r := seeded(t)
		for range 5 {
			legal := registerHistory(r, 80, 4, 1)
			for _, name := range slices.Sorted(maps.Keys(registerMutations)) {
				h := slices.Clone(legal)
				if !registerMutations[name](r, h) {
					continue
				}
				found[name]++
				if len(VersionOrder(h)) == 0 {
					t.Fatalf("%s was not found\n%s", name, draw(h, nil))
				}
			}
		}
	})
	for name := range registerMutations {
		if found[name] < 20 {
			t.Errorf("%s was tried %d times only", name, found[name])
		}
	}
}

// registerMutations spoil a history if they find the place for it.
var registerMutations = map[string]func(*rand.Rand, []Op) bool{
	"two reads swapped": func(r *rand.Rand, h []Op) bool {
		return pairs(r, h, func(a, b *Op) bool {
			if a.Kind != Read || b.Kind != Read || len(a.Read) == 0 || len(b.Read) == 0 || a.Version == b.Version || a.Return >= b.Call {
				return false
			}
			a.Read, b.Read, a.Version, b.Version = b.Read, a.Read, b.Version, a.Version
			return true
		})
	},
	"two writes swapped": func(r *rand.Rand, h []Op) bool {
		return pairs(r, h, func(a, b *Op) bool {
			if a.Kind != Write || b.Kind != Write || a.Outcome != OK || b.Outcome != OK || a.Return >= b.Call {
				return false
			}
			a.Version, b.Version = b.Version, a.Version
			return true
		})
	},
	"version used twice": func(r *rand.Rand, h []Op) bool {
		return pairs(r, h, func(a, b *Op) bool {
			if a == b || !a.applicable() || !b.applicable() || a.Version == "" || b.Version == "" {
				return false
			}
			a.Version = b.Version
			return true
		})
	},
	"stale read": func(r *rand.Rand, h []Op) bool {
		return pairs(r, h, func(a, b *Op) bool {
			if a.Kind != Write || a.Outcome != OK || b.Kind != Read || len(b.Read) == 0 || a.Return >= b.Call || b.Read[0] == a.Value {
				return false
			}
			for i := range h { // something between them
				if c := &h[i]; c.applicable() && c.Outcome == OK && c.Version != "" && c.Call > a.Return && c.Return < b.Call {
					b.Read, b.Version = []string{a.Value}, a.Version
					return true
				}
			}
			return false
		})
	},
	"value invented": func(r *rand.Rand, h []Op) bool {
		return pairs(r, h, func(a, _ *Op) bool {
			if a.Kind != Read || len(a.Read) == 0 {
				return false
			}
			a.Read = []string{"invented"}
			return true
		})
	},
	"refused write seen": func(r *rand.Rand, h []Op) bool {
		return pairs(r, h, func(a, b *Op) bool {
			if a.Kind != Write || a.Outcome != NotApplied || b.Kind != Read || len(b.Read) == 0 {
				return false
			}
			b.Read = []string{a.Value}
			return true
		})
	},
	"lost update": func(r *rand.Rand, h []Op) bool {
		return pairs(r, h, func(a, b *Op) bool {
			if a.Kind != CAS || a.Outcome != OK || len(a.Context) == 0 || b.Kind != Write || b.Outcome != OK || b.Call > a.Call || b.Value == a.Context[0] {
				return false
			}
			if !slices.ContainsFunc(h, func(o Op) bool { return o.Value == a.Context[0] && o.Version != "" }) {
				return false // without it nobody knows that there was a version between
			}
			a.Context = []string{b.Value}
			return true
		})
	},
}

// pairs tries pairs of operations in a random order until do has done it.
func pairs(r *rand.Rand, h []Op, do func(a, b *Op) bool) bool {
	for _, i := range r.Perm(len(h)) {
		for _, j := range r.Perm(len(h)) {
			if do(&h[i], &h[j]) {
				return true
			}
		}
	}
	return false
}
