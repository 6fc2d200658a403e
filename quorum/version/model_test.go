package version

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the dumb twin of an Object: plain sets of dots. Seen holds every dot a
// replica knows of, one by one, where a Vector only keeps the highest.
type model struct {
	seen map[Dot]bool
	live map[Dot]bool
}

func newModel() model { return model{seen: map[Dot]bool{}, live: map[Dot]bool{}} }

func (m model) clone() model {
	out := newModel()
	for d := range m.seen {
		out.seen[d] = true
	}
	for d := range m.live {
		out.live[d] = true
	}
	return out
}

func (m model) join(o model) model {
	out := newModel()
	for _, side := range []model{m, o} {
		for d := range side.seen {
			out.seen[d] = true
		}
	}
	for d := range out.seen {
		switch inM, inO := m.live[d], o.live[d]; {
		case inM && inO, inM && !o.seen[d], inO && !m.seen[d]:
			out.live[d] = true
		}
	}
	return out
}

func (m model) write(seen map[Dot]bool, d Dot) model {
	out := m.clone()
	for s := range seen {
		out.seen[s] = true
		delete(out.live, s)
	}
	out.seen[d], out.live[d] = true, true
	return out
}

// replica is an object, its model and the actor that mints there. Actors mint
// only on their own replica, as E1 wants it.
type replica struct {
	object *Object
	model  model
	actor  Actor
	minted uint64
}

// history plays random writes and merges on a few replicas of one key and checks
// that object and model agree after every step. Contexts given to writes are what
// some replica held at some time, like those of clients.
type history struct {
	replicas []replica
	contexts []clientContext
	causal   bool // stamps above all that the write has seen, as E9 gives them
	conflict func(*Object) *Object
}

type clientContext struct {
	vector Vector
	seen   map[Dot]bool
	hlc    HLC
}

func newHistory(n int) *history {
	h := &history{contexts: []clientContext{{seen: map[Dot]bool{}}}, conflict: func(o *Object) *Object { return o }}
	for i := range n {
		h.replicas = append(h.replicas, replica{model: newModel(), actor: Actor(10 * (i + 1))})
	}
	return h
}

func (h *history) step(t *rapid.T) {
	at := rapid.IntRange(0, len(h.replicas)-1).Draw(t, "at")
	r := &h.replicas[at]
	switch rapid.SampledFrom([]string{"read", "write", "merge", "merge"}).Draw(t, "op") {
	case "read":
		if r.object != nil {
			h.contexts = append(h.contexts, clientContext{r.object.Context, r.model.clone().seen, r.object.MaxHLC()})
		}
	case "write":
		c := rapid.SampledFrom(h.contexts).Draw(t, "context")
		r.minted++
		d := Dot{r.actor, r.minted}
		s := Sibling{Dot: d, HLC: h.stamp(t, r, c), Tombstone: rapid.Bool().Draw(t, "tombstone")}
		r.object = h.conflict(Write(r.object, c.vector, s))
		r.model = r.model.write(c.seen, d)
	case "merge":
		o := &h.replicas[rapid.IntRange(0, len(h.replicas)-1).Draw(t, "from")]
		r.object = h.conflict(Join(r.object, o.object))
		r.model = r.model.join(o.model)
	}
}

func (h *history) stamp(t *rapid.T, r *replica, c clientContext) HLC {
	if h.causal {
		least := max(r.object.MaxHLC(), c.hlc) + 1
		return least + HLC(rapid.IntRange(0, 20).Draw(t, "ahead"))
	}
	return HLC(rapid.IntRange(1, 5).Draw(t, "hlc")) // ties too
}

func (m model) String() string { return fmt.Sprintf("seen %v live %v", len(m.seen), m.live) }

// A sibling set is exactly what the model keeps, and the context covers exactly
// what the model has seen.
func agree(t *rapid.T, o *Object, m model) {
	if o == nil {
		if len(m.seen) != 0 {
			t.Fatalf("absent, and the model has %v", m)
		}
		return
	}
	if !o.Valid() {
		t.Fatalf("invalid object %v", o)
	}
	if len(o.Siblings) != len(m.live) {
		t.Fatalf("object %v, model %v", o, m)
	}
	for _, s := range o.Siblings {
		if !m.live[s.Dot] {
			t.Fatalf("object %v holds %v, model %v", o, s.Dot, m)
		}
	}
	for d := range m.seen {
		if !o.Context.Covers(d) {
			t.Fatalf("object %v has not seen %v", o, d)
		}
	}
}

func TestObjectsAgreeWithSetsOfDots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(3)
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			h.step(t)
			for i := range h.replicas {
				agree(t, h.replicas[i].object, h.replicas[i].model)
			}
		}
	})
}

// objects are some that can meet: replicas of one key after a random history.
func objects(t *rapid.T, n int) []*Object {
	h := newHistory(n)
	for range rapid.IntRange(n, 25).Draw(t, "steps") {
		h.step(t)
	}
	out := make([]*Object, n)
	for i := range h.replicas {
		out[i] = h.replicas[i].object
	}
	return out
}

func TestJoinLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := objects(t, 3)
		a, b, c := o[0], o[1], o[2]
		ab := Join(a, b)
		if ba := Join(b, a); !Same(ab, ba) {
			t.Fatalf("not commutative: %v and %v give %v or %v", a, b, ab, ba)
		}
		if l, r := Join(ab, c), Join(a, Join(b, c)); !Same(l, r) {
			t.Fatalf("not associative: %v or %v", l, r)
		}
		if aa := Join(a, a); !Same(aa, a) {
			t.Fatalf("not idempotent: %v gives %v", a, aa)
		}
		if again := Join(ab, b); !Same(again, ab) {
			t.Fatalf("joining twice changes: %v, then %v", ab, again)
		}
		for _, part := range []*Object{a, b} {
			if part != nil && !ab.Context.Dominates(part.Context) {
				t.Fatalf("the context went back: %v, then %v", part, ab)
			}
		}
	})
}

func TestJoinLeavesItsInputsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := objects(t, 2)
		before := [2]string{o[0].String(), o[1].String()}
		j := Join(o[0], o[1])
		if j != nil {
			Write(j, j.Context, Sibling{Dot: Dot{999, 1}})
			Write(j, nil, Sibling{Dot: Dot{1, 1}})
		}
		if after := [2]string{o[0].String(), o[1].String()}; after != before {
			t.Fatalf("%v became %v", before, after)
		}
	})
}

func TestVectorLaws(t *testing.T) {
	vectors := rapid.Custom(func(t *rapid.T) Vector {
		var v Vector
		for _, a := range rapid.SliceOfNDistinct(rapid.Uint64Range(1, 6), 0, 5, rapid.ID[uint64]).Draw(t, "actors") {
			v = v.With(Dot{Actor(a), rapid.Uint64Range(1, 4).Draw(t, "counter")})
		}
		return v
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := vectors.Draw(t, "a"), vectors.Draw(t, "b"), vectors.Draw(t, "c")
		ab := a.Join(b)
		if !ab.Valid() || !ab.Equal(b.Join(a)) || !ab.Join(c).Equal(a.Join(b.Join(c))) || !a.Join(a).Equal(a) {
			t.Fatalf("join of %v and %v is %v", a, b, ab)
		}
		for actor := range Actor(8) {
			if ab.Get(actor) != max(a.Get(actor), b.Get(actor)) {
				t.Fatalf("join of %v and %v is %v at %d", a, b, ab, actor)
			}
		}
		if !ab.Dominates(a) || !ab.Dominates(b) || a.Dominates(b) != a.Join(b).Equal(a) {
			t.Fatalf("order of %v and %v", a, b)
		}
		d := Dot{Actor(rapid.Uint64Range(1, 7).Draw(t, "actor")), rapid.Uint64Range(1, 5).Draw(t, "n")}
		if w := a.With(d); !w.Valid() || !w.Equal(a.Join(Vector{d})) || !w.Covers(d) {
			t.Fatalf("%v with %v is %v", a, d, w)
		}
	})
}

func TestVectorValid(t *testing.T) {
	for _, c := range []struct {
		v  Vector
		ok bool
	}{
		{nil, true},
		{Vector{{1, 1}}, true},
		{Vector{{1, 1}, {2, 9}}, true},
		{Vector{{1, 0}}, false},
		{Vector{{2, 1}, {1, 1}}, false},
		{Vector{{1, 1}, {1, 2}}, false},
	} {
		if c.v.Valid() != c.ok {
			t.Errorf("%v: valid is %v", c.v, !c.ok)
		}
	}
}

func TestObjectValid(t *testing.T) {
	seen := Vector{{1, 3}, {2, 1}}
	for name, c := range map[string]struct {
		o  Object
		ok bool
	}{
		"empty":              {Object{}, true},
		"two siblings":       {Object{seen, []Sibling{{Dot: Dot{1, 3}}, {Dot: Dot{2, 1}}}}, true},
		"two by one actor":   {Object{seen, []Sibling{{Dot: Dot{1, 2}}, {Dot: Dot{1, 3}}}}, true},
		"out of order":       {Object{seen, []Sibling{{Dot: Dot{2, 1}}, {Dot: Dot{1, 3}}}}, false},
		"twice":              {Object{seen, []Sibling{{Dot: Dot{1, 3}}, {Dot: Dot{1, 3}}}}, false},
		"not in the context": {Object{seen, []Sibling{{Dot: Dot{1, 4}}}}, false},
		"counter 0":          {Object{seen, []Sibling{{Dot: Dot{1, 0}}}}, false},
		"broken context":     {Object{Vector{{1, 0}}, nil}, false},
	} {
		if c.o.Valid() != c.ok {
			t.Errorf("%s: valid is %v", name, !c.ok)
		}
	}
}

// E10 with E9's stamps: replicas of a last-write-wins bucket that reduce after
// every merge, whatever the order, end with one value: that of the join of all.
func TestLWWConvergesInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(4)
		h.causal = true
		h.conflict = func(o *Object) *Object { o, _ = ReduceLWW(o); return o }
		for range rapid.IntRange(4, 25).Draw(t, "steps") {
			at := rapid.IntRange(0, 9).Draw(t, "kind")
			h.lwwStep(t, at)
		}
		var first *Object
		for round := range 3 {
			order := rapid.Permutation([]int{0, 1, 2, 3}).Draw(t, fmt.Sprint("order", round))
			var o *Object
			for _, i := range order {
				o = h.conflict(Join(o, h.replicas[i].object))
			}
			if o != nil && len(o.Siblings) != 1 {
				t.Fatalf("%v has not one value", o)
			}
			if round == 0 {
				first = o
			} else if !Same(o, first) {
				t.Fatalf("merged to %v and to %v", first, o)
			}
		}
	})
}

// lwwStep is step without the model, which knows no last-write-wins.
func (h *history) lwwStep(t *rapid.T, kind int) {
	r := &h.replicas[rapid.IntRange(0, len(h.replicas)-1).Draw(t, "at")]
	switch {
	case kind < 5:
		c := clientContext{}
		switch {
		case kind < 2 && r.object != nil: // without a context: the replica's own
			c = clientContext{vector: r.object.Context, hlc: r.object.MaxHLC()}
		case kind < 4:
			c = rapid.SampledFrom(h.contexts).Draw(t, "context")
		}
		r.minted++
		r.object = h.conflict(Write(r.object, c.vector, Sibling{Dot: Dot{r.actor, r.minted}, HLC: h.stamp(t, r, c)}))
	case kind < 6 && r.object != nil:
		h.contexts = append(h.contexts, clientContext{vector: r.object.Context, hlc: r.object.MaxHLC()})
	default:
		o := &h.replicas[rapid.IntRange(0, len(h.replicas)-1).Draw(t, "from")]
		r.object = h.conflict(Join(r.object, o.object))
	}
}

func TestReduceLWWBreaksTiesByDot(t *testing.T) {
	o := &Object{Vector{{1, 1}, {2, 1}, {3, 1}}, []Sibling{{Dot: Dot{1, 1}, HLC: 7}, {Dot: Dot{2, 1}, HLC: 7}, {Dot: Dot{3, 1}, HLC: 6}}}
	out, dropped := ReduceLWW(o)
	if dropped != 2 || len(out.Siblings) != 1 || out.Siblings[0].Dot != (Dot{2, 1}) || !out.Context.Equal(o.Context) {
		t.Errorf("%v, %d dropped", out, dropped)
	}
	if same, dropped := ReduceLWW(out); same != out || dropped != 0 {
		t.Errorf("reduced again: %v, %d dropped", same, dropped)
	}
	if none, dropped := ReduceLWW(nil); none != nil || dropped != 0 {
		t.Errorf("absent became %v", none)
	}
}

// Equal versions hash alike, others do not (by 64 bits), and absence is 0.
func TestHashIsTheVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := objects(t, 3)
		o = append(o, Join(o[0], o[1]), Join(o[1], o[0]), Join(o[1], o[2]))
		for i, a := range o {
			if (a == nil) != (a.Hash() == 0) {
				t.Fatalf("%v hashes to %d", a, a.Hash())
			}
			for _, b := range o[:i] {
				if Same(a, b) != (a.Hash() == b.Hash()) {
					t.Fatalf("%v and %v: same %v, hashes %x %x", a, b, Same(a, b), a.Hash(), b.Hash())
				}
			}
		}
	})
}

func TestHashTellsContextFromSiblings(t *testing.T) {
	one := &Object{Vector{{1, 1}, {2, 1}}, []Sibling{{Dot: Dot{1, 1}}}}
	other := &Object{Vector{{1, 1}, {2, 1}}, []Sibling{{Dot: Dot{2, 1}}}}
	none := &Object{Vector{{1, 1}, {2, 1}}, nil}
	if one.Hash() == other.Hash() || one.Hash() == none.Hash() {
		t.Error("siblings do not tell in the hash")
	}
	if (&Object{}).Hash() == 0 {
		t.Error("an empty object hashes like an absent one")
	}
}

func TestNewestAndMaxHLC(t *testing.T) {
	var absent *Object
	if absent.Newest() != nil || absent.MaxHLC() != 0 || absent.Size() != 0 || absent.String() != "absent" {
		t.Error("an absent object has something")
	}
	o := &Object{Vector{{1, 1}, {2, 1}}, []Sibling{{Dot: Dot{1, 1}, HLC: 9, Value: []byte("v")}, {Dot: Dot{2, 1}, HLC: 3, Tombstone: true}}}
	if o.Newest() != &o.Siblings[0] || o.MaxHLC() != 9 {
		t.Errorf("newest of %v is %v", o, o.Newest())
	}
	if !slices.Equal([]byte(o.String()), []byte(`[00000000:1 00000000:1] 00000000:1="v" 00000000:1=x`)) {
		t.Errorf("drawn as %s", o)
	}
}
