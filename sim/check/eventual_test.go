package check

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawStore(t *rapid.T, blindMax int) *store {
	return runStore(seeded(t), storeOptions{steps: rapid.IntRange(20, 250).Draw(t, "steps"), clients: rapid.IntRange(1, 6).Draw(t, "clients"),
		keys: rapid.IntRange(1, 2).Draw(t, "keys"), blind: rapid.IntRange(0, blindMax).Draw(t, "blind"), resend: rapid.Bool().Draw(t, "resend")})
}

func TestEventualBlamesNoLegalHistory(t *testing.T) {
	reads, siblings, sessions := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		for range 30 {
			s := drawStore(t, 10)
			values, ids := s.left()
			for _, found := range [][]Violation{Eventual(s.h, values), Causal(s.h, ids), Durability(s.h, values), StrictReads(s.h), Sessions(s.h), SiblingCaps(s.h, 1000)} {
				clean(t, s.h, found)
			}
			for _, o := range s.h {
				if o.Kind == Read && o.Outcome == OK {
					reads++
					if len(o.Read) > 1 {
						siblings++
					}
					if o.Level == Session {
						sessions++
					}
				}
			}
		}
	})
	if reads < 10_000 || siblings < reads/20 || sessions < reads/50 {
		t.Errorf("%d reads, %d with siblings, %d with a token: not much of a test", reads, siblings, sessions)
	}
}

// Whatever Eventual finds in a spoiled end, Causal finds; and without blind writes
// Eventual finds every acked value that was dropped and every one brought back.
func TestEventualFindsSpoiledEnds(t *testing.T) {
	var dropped, droppedFound, back, backFound, blindDropped, blindFound int
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			blindMax := rapid.SampledFrom([]int{0, 0, 6}).Draw(t, "blindMax")
			s := drawStore(t, blindMax)
			values, ids := s.left()
			r := seeded(t)
			i := r.IntN(max(1, len(s.h)))
			if len(s.h) == 0 || s.h[i].Kind != Write || len(s.h[i].Mints) == 0 {
				continue
			}
			o := &s.h[i]
			k := o.Ref()
			spoiled, spoiledIDs := maps.Clone(values), maps.Clone(ids)
			if at := slices.Index(values[k], o.Value); at >= 0 {
				spoiled[k] = slices.Delete(slices.Clone(values[k]), at, at+1)
				spoiledIDs[k] = slices.DeleteFunc(slices.Clone(ids[k]), func(id string) bool {
					return slices.ContainsFunc(o.Mints, func(m Mint) bool { return m.ID == id })
				})
			} else {
				spoiled[k] = append(slices.Clone(values[k]), o.Value)
				spoiledIDs[k] = append(slices.Clone(ids[k]), o.Mints[0].ID)
			}
			found, exact := Eventual(s.h, spoiled), Causal(s.h, spoiledIDs)
			if len(found) > 0 && len(exact) == 0 {
				t.Fatalf("only clients find %v\n%s", found, draw(s.h, nil))
			}
			replaced := slices.ContainsFunc(s.h, func(x Op) bool { return x.Outcome == OK && slices.Contains(x.Context, o.Value) })
			switch {
			case slices.Contains(values[k], o.Value):
				if o.Outcome != OK || o.Resent { // another of its versions may have been replaced, which will do
					continue
				}
				if blindMax > 0 {
					blindDropped++
					blindFound += len(found)
				} else if !slices.ContainsFunc(s.h, func(x Op) bool { return x.applicable() && slices.Contains(x.Context, o.Value) }) {
					dropped++
					droppedFound += kinds(found, Lost)
				}
				if len(exact) != 1 || exact[0].Kind != Lost {
					t.Fatalf("%s dropped, and Causal says %v", o.Value, exact)
				}
			case replaced && !o.Resent:
				back++
				backFound += kinds(found, Resurrected)
				if kinds(exact, Resurrected) != 1 {
					t.Fatalf("%s brought back, and Causal says %v", o.Value, exact)
				}
			}
		}
	})
	t.Logf("dropped %d found %d, brought back %d found %d, dropped among blind writes %d found %d", dropped, droppedFound, back, backFound, blindDropped, blindFound)
	if dropped < 30 || droppedFound != dropped || back < 30 || backFound != back {
		t.Errorf("%d of %d losses and %d of %d resurrections found", droppedFound, dropped, backFound, back)
	}
	if blindFound*4 < blindDropped {
		t.Errorf("only %d of %d losses among blind writes found", blindFound, blindDropped)
	}
}

func kinds(found []Violation, kind string) (n int) {
	for _, v := range found {
		if v.Kind == kind {
			n++
		}
	}
	return n
}

// A value that nothing has replaced is taken out of an answer that had to show it.
func TestReadsThatForgetAreFound(t *testing.T) {
	tried := map[Level]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			s := drawStore(t, 0)
			for i := range s.h {
				o := &s.h[i]
				if o.Kind != Read || o.Outcome != OK || len(o.Read) == 0 {
					continue
				}
				v := o.Read[len(o.Read)-1]
				w := s.h[slices.IndexFunc(s.h, func(x Op) bool { return x.Value == v })]
				due := o.Level == Session && slices.Contains(o.Session, v) ||
					o.Level == Strict && w.Level == Strict && w.Outcome == OK && w.Return < o.Call
				if !due || slices.ContainsFunc(s.h, func(x Op) bool { return slices.Contains(x.Context, v) }) {
					continue
				}
				h := slices.Clone(s.h)
				h[i].Read = h[i].Read[:len(o.Read)-1]
				check, kind := StrictReads, Stale
				if o.Level == Session {
					check, kind = Sessions, SessionBroken
				}
				if found := check(h); kinds(found, kind) == 0 || !slices.Contains(found[0].Ops, i) {
					t.Fatalf("read %d forgets %s, found %v\n%s", i, v, found, draw(h, nil))
				}
				tried[o.Level]++
			}
		}
	})
	if tried[Strict] < 50 || tried[Session] < 50 {
		t.Errorf("tried %v", tried)
	}
}

// What eventual consistency allows is mostly no register: that is why it has its own
// checkers, and why a strong mode is a mode.
func TestEventualHistoriesAreNoRegisters(t *testing.T) {
	all, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := runStore(seeded(t), storeOptions{steps: 250, clients: 4, keys: 1, blind: 10})
		values, _ := s.left()
		clean(t, s.h, Eventual(s.h, values))
		all++
		if len(Registers(s.h, RegisterOptions{Plain: true, MaxSteps: 20_000})) > 0 {
			refused++
		}
	})
	if refused*2 < all {
		t.Errorf("only %d of %d are no registers", refused, all)
	}
	t.Logf("%d of %d are no registers", refused, all)
}
