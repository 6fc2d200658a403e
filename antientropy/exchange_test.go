package antientropy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/quorum/version"
)

// smallSlices makes a replica's loads tiny, so that every cut is reached.
func smallSlices(rng *rand.Rand) func(*Load) (int, int) {
	return func(l *Load) (int, int) { return 1 + rng.IntN(min(7, l.MaxRows)), 1 + rng.IntN(400) }
}

// diverge gives both replicas a common past and then different writes.
func diverge(rng *rand.Rand, a, b *replica, keys int, differ float64) (differing int) {
	w := &writer{}
	for i := range keys {
		key := fmt.Sprint("key", i)
		o := w.write(1, nil, "common", false)
		x, y := o, o
		if rng.Float64() < differ {
			differing++
			switch rng.IntN(6) {
			case 0:
				x = nil
			case 1:
				y = nil
			case 2:
				x = w.write(2, o, "newer here", false)
			case 3:
				y = w.write(3, o, "deleted there", true)
			default: // concurrent
				x, y = w.write(2, o, "one", false), w.write(3, o, "two", rng.IntN(2) == 0)
			}
		}
		if x != nil {
			a.fill(key, x)
		}
		if y != nil {
			b.fill(key, y)
		}
	}
	return differing
}

// The clever exchange against the dumb join of two maps, over a network that loses,
// repeats and reorders, with slices of all sizes: one exchange makes them alike and
// ships differing keys only.
func TestExchangeMakesAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		a, b := newReplica(nil, "a"), newReplica(nil, "b")
		differing := diverge(rng, a, b, rapid.SampledFrom([]int{1, 10, 300}).Draw(t, "keys"), rapid.SampledFrom([]float64{0, 0.1, 1}).Draw(t, "differ"))
		same := map[string]bool{}
		want := map[string]*version.Object{}
		for _, r := range []*replica{a, b} {
			for k, o := range r.objects {
				want[k] = version.Join(want[k], o)
				same[k] = version.Same(a.objects[k], b.objects[k])
			}
		}
		if rapid.Bool().Draw(t, "small slices") {
			a.sizes, b.sizes = smallSlices(rng), smallSlices(rng)
		}
		p := newPairing(nil, a, b)
		p.t = failer{t}
		p.rng = rng
		p.loss = rapid.SampledFrom([]float64{0, 0.2}).Draw(t, "loss")
		cfg := Config{Thorough: rapid.Bool().Draw(t, "thorough"), Resume: uint16(rng.IntN(Leaves))}
		res := p.run(cfg)
		for tries := 0; res.Reason == ReasonTimeout && tries < 1000; tries++ {
			cfg.Resume = res.Resume
			res = p.run(cfg)
		}
		if !res.Complete || res.Reason != ReasonNone {
			t.Fatalf("%s", drawResult(res))
		}
		if p.loss == 0 && (int(res.Differed) != differing || res.Equal != (differing == 0)) {
			t.Fatalf("%d keys differed: %s", differing, drawResult(res))
		}
		for k, o := range want {
			if !version.Same(a.objects[k], o) || !version.Same(b.objects[k], o) {
				t.Fatalf("%s: a has %v, b has %v, want %v", k, a.objects[k], b.objects[k], o)
			}
		}
		for k, n := range p.shipped {
			if same[k] {
				t.Fatalf("%s was the same and was shipped %d times", k, n)
			}
			if p.loss == 0 && n > 2 {
				t.Fatalf("%s was shipped %d times", k, n)
			}
		}
	})
}

// failer lets a pairing fail a property.
type failer struct{ *rapid.T }

func (f failer) Fatalf(format string, args ...any) { f.T.Fatalf(format, args...) }

// traffic is writes that reach the second replica a moment after the first.
type traffic struct {
	rng    *rand.Rand
	p      *pairing
	w      writer
	keys   int
	flight Duration
	rate   float64
	stop   Duration
	air    []flying
	lag    bool // what is staged becomes durable later
}

type flying struct {
	to  *replica
	key string
	o   *version.Object
	at  Duration
}

func (f *traffic) step() {
	p := f.p
	p.now += time.Duration(f.rng.IntN(3)) * time.Millisecond
	for i := 0; i < len(f.air); i++ {
		if m := f.air[i]; m.at <= p.now {
			m.to.merge(m.key, m.o)
			f.air = slices.Delete(f.air, i, i+1)
			i--
		}
	}
	for _, r := range []*replica{p.a, p.b} {
		if f.lag {
			r.sync(f.rng.IntN(4))
		} else {
			r.syncAll()
		}
	}
	if p.now < f.stop && f.rng.Float64() < f.rate {
		at, to, actor := p.a, p.b, version.Actor(10)
		if f.rng.IntN(2) == 0 {
			at, to, actor = p.b, p.a, 11
		}
		key := fmt.Sprint("hot", f.rng.IntN(f.keys))
		o := f.w.write(actor, at.objects[key], "x", f.rng.IntN(4) == 0)
		at.stage(key, o)
		f.air = append(f.air, flying{to, key, o, p.now + time.Duration(f.rng.Int64N(int64(f.flight)))})
	}
}

// E12: differences that are only writes in flight are never acted on: nothing is
// shipped, whatever the moment of the exchange, on empty replicas as on full ones.
func TestWritesInFlightAreNotRepaired(t *testing.T) {
	looked := 0
	rapid.Check(t, func(t *rapid.T) {
		flight := inFlight{seed: rapid.Uint64().Draw(t, "seed"), full: rapid.Bool().Draw(t, "full"), keys: rapid.SampledFrom([]int{1, 30, 5000}).Draw(t, "keys"),
			rate: rapid.Float64Range(0.01, 1).Draw(t, "rate"), lag: rapid.Bool().Draw(t, "lag")}
		seen, wrong := flight.exchanges(failer{t})
		if wrong != "" {
			t.Fatal(wrong)
		}
		looked += seen
	})
	if looked < 10 {
		t.Errorf("a difference was met %d times only", looked)
	}
}

// inFlight are writes on their way between two replicas that are alike but for them.
type inFlight struct {
	seed uint64
	full bool
	keys int
	rate float64
	lag  bool
}

// exchanges runs three of them; it tells how many met a difference, and what was shipped.
func (c *inFlight) exchanges(t failing) (looked int, wrong string) {
	rng := rand.New(rand.NewPCG(c.seed, 1))
	a, b := newReplica(nil, "a"), newReplica(nil, "b")
	if c.full {
		diverge(rng, a, b, 300, 0)
	}
	p := newPairing(nil, a, b)
	p.t, p.rng = t, rng
	f := &traffic{rng: rng, p: p, keys: c.keys, flight: 300 * time.Millisecond, rate: c.rate, stop: time.Hour, lag: c.lag}
	p.between = f.step
	for range rng.IntN(300) {
		f.step()
	}
	for range 3 {
		res := p.run(Config{SecondLook: 600 * time.Millisecond})
		if len(p.shipped) > 0 || res.Sent+res.Received > 0 || res.Reason != ReasonNone {
			return looked, fmt.Sprintf("shipped %v: %s", p.shipped, drawResult(res))
		}
		if res.Differed > 0 {
			looked++
		}
	}
	return looked, ""
}

// Real differences are repaired under traffic too, and traffic is not: what is shipped
// is what differed. When the traffic ends one more exchange leaves both alike.
func TestRepairUnderTraffic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		a, b := newReplica(nil, "a"), newReplica(nil, "b")
		diverge(rng, a, b, 200, 0.3)
		if rapid.Bool().Draw(t, "b is empty") {
			b.wipe()
		}
		real := map[string]bool{}
		for _, r := range []*replica{a, b} {
			for k := range r.objects {
				real[k] = !version.Same(a.objects[k], b.objects[k])
			}
		}
		p := newPairing(nil, a, b)
		p.t, p.rng = failer{t}, rng
		f := &traffic{rng: rng, p: p, keys: rapid.SampledFrom([]int{3, 3000}).Draw(t, "keys"), flight: 300 * time.Millisecond, rate: 0.3, stop: time.Hour}
		p.between = f.step
		p.run(Config{SecondLook: 600 * time.Millisecond})
		for k := range p.shipped {
			if !real[k] {
				t.Fatalf("%s did not differ and was shipped", k)
			}
		}
		for k, differed := range real {
			if differed && !version.Same(a.objects[k], b.objects[k]) {
				t.Fatalf("%s still differs: %v and %v", k, a.objects[k], b.objects[k])
			}
		}
		f.stop = 0
		for len(f.air) > 0 {
			f.step()
		}
		a.syncAll()
		b.syncAll()
		if res := p.run(Config{}); !res.Complete {
			t.Fatalf("%s", drawResult(res))
		}
		if diff := sameObjects(a, b); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A thorough exchange joins what moves as well: whatever one end had at the beginning
// the other has at the end, and it says so (a purge round's pass, a dirty mark).
func TestThoroughLeavesNothingOut(t *testing.T) {
	moved := 0
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		a, b := newReplica(nil, "a"), newReplica(nil, "b")
		diverge(rng, a, b, 40, 1)
		if rng.IntN(2) == 0 {
			b.wipe()
		}
		before := []map[string]*version.Object{maps.Clone(a.objects), maps.Clone(b.objects)}
		p := newPairing(nil, a, b)
		p.t, p.rng = failer{t}, rng
		w := writer{n: 1000}
		p.between = func() { // writes that stay where they are: they never travel but by the exchange
			if rng.IntN(3) == 0 {
				r, actor := a, version.Actor(20)
				if rng.IntN(2) == 0 {
					r, actor = b, 21
				}
				key := fmt.Sprint("key", rng.IntN(40))
				r.stage(key, w.write(actor, r.objects[key], "x", false))
			}
			a.sync(rng.IntN(3))
			b.sync(rng.IntN(3))
			p.now += time.Millisecond
		}
		res := p.run(Config{Thorough: true})
		if !res.Complete {
			t.Fatalf("%s", drawResult(res))
		}
		for i, other := range []*replica{b, a} {
			for k, o := range before[i] {
				if lacks(other.objects[k], o) {
					t.Fatalf("%s: %v never came to %s, which has %v", k, o, other.name, other.objects[k])
				}
			}
		}
		if plain := p.run(Config{}); plain.Moving > 0 && !plain.Complete {
			moved++
		} else if plain.Moving > 0 {
			t.Fatalf("complete though something moved: %s", drawResult(plain))
		}
	})
	if moved == 0 {
		t.Error("nothing ever moved")
	}
}

// Both ends must be in one epoch and one purge generation, all along (E6).
func TestExchangeRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(p *pairing)
		want Reason
	}{
		{"another epoch", func(p *pairing) { p.b.epoch++ }, ReasonEpoch},
		{"another purge generation", func(p *pairing) { p.b.gen++ }, ReasonGeneration},
		{"the other tree is unknown", func(p *pairing) { p.b.tree = NewTree() }, ReasonRebuilding},
		{"this tree is unknown", func(p *pairing) { p.a.tree = NewTree() }, ReasonRebuilding},
		{"the other end is busy", func(p *pairing) { p.b.refuse = ReasonBusy }, ReasonBusy},
		{"the other end is not full", func(p *pairing) { p.b.refuse = ReasonNotFull }, ReasonNotFull},
		{"nobody answers", func(p *pairing) { p.loss = 1 }, ReasonTimeout},
		{"the generation rises midway", func(p *pairing) {
			p.between = func() {
				if p.steps == 5 {
					p.b.gen++
				}
			}
		}, ReasonGeneration},
		{"the generation rises here midway", func(p *pairing) {
			p.between = func() {
				if p.steps == 5 {
					p.lead(p.x.Changed(p.a.epoch, p.a.gen+1))
				}
			}
		}, ReasonGeneration},
		{"the epoch changes here midway", func(p *pairing) {
			p.between = func() {
				if p.steps == 5 {
					p.lead(p.x.Changed(p.a.epoch+1, p.a.gen))
				}
			}
		}, ReasonEpoch},
		{"the other tree is lost midway", func(p *pairing) {
			p.between = func() {
				if p.steps == 5 {
					p.b.tree = NewTree()
				}
			}
		}, ReasonRebuilding},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newReplica(t, "a"), newReplica(t, "b")
			diverge(rand.New(rand.NewPCG(1, 1)), a, b, 2000, 0.5)
			p := newPairing(t, a, b)
			c.do(p)
			res := p.run(Config{})
			if res.Reason != c.want || res.Complete {
				t.Errorf("%s", drawResult(res))
			}
		})
	}
}

// The generation may change between a request and its rows.
func TestServingLooksAgain(t *testing.T) {
	b := newReplica(t, "b")
	b.fill("k", (&writer{}).write(1, nil, "v", false))
	leaf := LeafOf(hashOf("k"))
	m := &Message{Kind: MsgFetch, Epoch: 1, Nodes: []uint16{leaf}, Digests: []Digest{b.tree.Leaf(leaf)}}
	s, do := Serve(b.view(), m)
	b.gen++
	if do = s.Loaded(b.view(), b.load(do.Load)); do.Send == nil || do.Send.Reason != ReasonGeneration || len(do.Send.Rows) > 0 {
		t.Errorf("%+v", do)
	}
}

// A record that cannot be trusted is neither shipped nor replaced nor taken for
// absent, and the exchange is not complete (E1: amnesia is not absence).
func TestDamagedIsNotAbsent(t *testing.T) {
	for _, where := range []string{"a", "b"} {
		for _, other := range []bool{false, true} {
			a, b := newReplica(t, "a"), newReplica(t, "b")
			w := &writer{}
			at, to := a, b
			if where == "b" {
				at, to = b, a
			}
			at.fill("k", w.write(1, nil, "v", false))
			at.damaged["k"] = true
			if other {
				to.fill("k", w.write(2, nil, "w", false))
			}
			p := newPairing(t, a, b)
			if res := p.run(Config{Thorough: true}); len(p.shipped) > 0 || res.Complete || res.Damaged+res.Moving == 0 {
				t.Errorf("damaged at %s, shipped %v: %s", where, p.shipped, drawResult(res))
			}
		}
	}
}

// A peer that says what it cannot mean ends the exchange; nothing else happens.
func TestGarbledReplies(t *testing.T) {
	spoil := []func(m *Message){
		func(m *Message) { m.Digests = m.Digests[:len(m.Digests)/2] },
		func(m *Message) { m.Upto = Pos{} },
		func(m *Message) { m.Limit = 0 },
		func(m *Message) { m.Limit = 60000 },
		func(m *Message) { m.Want = append(m.Want, 60000) },
		func(m *Message) { m.Moving = append(m.Moving, 60000) },
		func(m *Message) { slices.Reverse(m.Rows) },
		func(m *Message) { m.Epoch++ },
		func(m *Message) { m.Generation++ },
		func(m *Message) { m.Kind = KindCount },
		func(m *Message) { m.Step++ },
	}
	ended := map[Reason]int{}
	for i, how := range spoil {
		for at := range 12 {
			a, b := newReplica(t, "a"), newReplica(t, "b")
			diverge(rand.New(rand.NewPCG(1, 1)), a, b, 500, 0.5)
			p := newPairing(t, a, b)
			replies := 0
			p.between = func() {
				if len(p.toA) == 1 && replies <= at {
					if replies++; replies > at {
						how(p.toA[0])
					}
				}
			}
			res := p.run(Config{})
			ended[res.Reason]++
			if res.Reason == ReasonNone && sameObjects(a, b) != "" {
				t.Errorf("spoiled by %d at reply %d it ended well, and %s", i, at, sameObjects(a, b))
			}
		}
	}
	if ended[ReasonGarbled] < 10 || ended[ReasonEpoch] == 0 || ended[ReasonGeneration] == 0 {
		t.Errorf("ends: %v", ended)
	}
}

// Requests that make no sense are refused, whatever is in them.
func TestGarbledRequests(t *testing.T) {
	b := newReplica(t, "b")
	for i := range 10 {
		b.fill(fmt.Sprint(i), (&writer{}).write(1, nil, "v", false))
	}
	many := make([]uint16, BundleLeaves+1)
	for i := range many {
		many[i] = uint16(i)
	}
	row := Row{Bucket: 1, Key: []byte("k"), Hash: 5}
	for _, m := range []Message{
		{Kind: MsgOpen},
		{Kind: MsgDigests, Level: 4},
		{Kind: MsgDigests, Level: 1, Nodes: []uint16{16}},
		{Kind: MsgDigests, Level: 0, Nodes: []uint16{0, 0}},
		{Kind: MsgCompare, Upto: End},
		{Kind: MsgCompare, Upto: End, Nodes: many},
		{Kind: MsgCompare, Upto: End, Nodes: []uint16{2, 1}},
		{Kind: MsgCompare, Upto: End, Nodes: []uint16{Leaves}},
		{Kind: MsgCompare, Nodes: []uint16{1}},
		{Kind: MsgCompare, Upto: End, Nodes: []uint16{5}, Rows: []Row{row, row}},
		{Kind: MsgLook},
		{Kind: MsgLook, Rows: make([]Row, LookKeys+1)},
		{Kind: MsgFetch},
		{Kind: MsgFetch, Nodes: []uint16{1}},
		{Kind: MsgPush},
		{Kind: MsgPush, Rows: make([]Row, LookKeys+1)},
		{Kind: MsgPushReply},
		{Kind: 200},
	} {
		m.Epoch = 1
		if _, do := Serve(b.view(), &m); do.Send == nil || do.Send.Reason != ReasonGarbled {
			t.Errorf("%+v: %+v", m, do)
		}
	}
}

// An exchange that was cut off leaves what it has done done, and the next one begins
// at the leaf where it was.
func TestResume(t *testing.T) {
	a, b := newReplica(t, "a"), newReplica(t, "b")
	diverge(rand.New(rand.NewPCG(1, 1)), a, b, 3000, 1)
	p := newPairing(t, a, b)
	p.between = func() {
		if p.x.Result().Received > 500 && p.result == nil {
			p.lead(p.x.Stop(ReasonStopped))
		}
	}
	first := p.run(Config{})
	if first.Reason != ReasonStopped || first.Complete {
		t.Fatalf("%s", drawResult(first))
	}
	p.between = nil
	second := p.run(Config{Resume: first.Resume})
	if first.Differed+second.Differed < 3000 || second.Differed > 2500 || !second.Complete || first.Resume == 0 {
		t.Errorf("first %s, resume at %d, then %s", drawResult(first), first.Resume, drawResult(second))
	}
	if diff := sameObjects(a, b); diff != "" {
		t.Error(diff)
	}
}

// What waits for a second look is bounded; so is every message.
func TestExchangeBounds(t *testing.T) {
	a, b := newReplica(t, "a"), newReplica(t, "b")
	diverge(rand.New(rand.NewPCG(1, 1)), a, b, 12_000, 1)
	p := newPairing(t, a, b)
	most := 0
	p.trace = func(string, ...any) {
		if p.x != nil {
			most = max(most, len(p.x.pairs))
		}
	}
	p.between = func() {
		for _, m := range append(slices.Clone(p.toA), p.toB...) {
			if m.Size() > SliceBytes+CompareBytes {
				t.Fatalf("%v takes %d bytes", m, m.Size())
			}
			if n := len(m.Rows); n > 2*CompareRows || (m.Kind == MsgPush || m.Kind == MsgFetchReply || m.Kind == MsgLook) && n > LookKeys {
				t.Fatalf("%v", m)
			}
		}
	}
	res := p.run(Config{})
	if most < MaxPairs || most > MaxPairs+2*CompareRows {
		t.Errorf("%d pairs waited at most", most)
	}
	if diff := sameObjects(a, b); diff != "" || !res.Complete {
		t.Errorf("%s: %s", drawResult(res), diff)
	}
}

// A leaf of any size is compared in slices, and what waits stays bounded.
func TestHugeLeaf(t *testing.T) {
	for _, lead := range []string{"few", "many"} {
		few, many := newReplica(t, "few"), newReplica(t, "many")
		w := &writer{}
		few.fill("one/first", w.write(1, nil, "v", false))
		for i := range 9000 {
			many.fill(fmt.Sprint("one/", i), w.write(1, nil, "v", false))
		}
		p := newPairing(t, few, many)
		if lead == "many" {
			p = newPairing(t, many, few)
		}
		most := 0
		p.between = func() { most = max(most, len(p.x.pairs)) }
		res := p.run(Config{})
		if diff := sameObjects(few, many); diff != "" || !res.Complete || most > MaxPairs+2*CompareRows {
			t.Errorf("%s leads, %d pairs waited: %s %s", lead, most, drawResult(res), diff)
		}
	}
}

// A leaf that moves after its second look, while it is being shipped whole, is not
// forgotten: its old differences are found key by key.
func TestLeafMovesWhileShipped(t *testing.T) {
	for _, lead := range []string{"full", "empty"} {
		for _, moment := range []string{"rows", "objects"} {
			full, empty := newReplica(t, "full"), newReplica(t, "empty")
			w := &writer{}
			for i := range 40 {
				full.fill(fmt.Sprint("key", i), w.write(1, nil, "v", false))
				full.fill(fmt.Sprint("one/", i), w.write(1, nil, "v", false))
			}
			p := newPairing(t, full, empty)
			if lead == "empty" {
				p = newPairing(t, empty, full)
			}
			moved := false
			full.sizes = func(l *Load) (int, int) {
				if !moved && p.x.sure && (l.Kind == LoadObjects) == (moment == "objects") {
					moved = true
					for i := 0; i < 40; i += 2 { // a write that lands at both at once
						for _, key := range []string{fmt.Sprint("key", i), fmt.Sprint("one/", i), fmt.Sprint("one/new", i)} {
							o := w.write(9, full.objects[key], "w", false)
							full.merge(key, o)
							empty.merge(key, o)
						}
					}
					full.syncAll()
					empty.syncAll()
				}
				return l.MaxRows, l.MaxBytes
			}
			res := p.run(Config{})
			if diff := sameObjects(full, empty); diff != "" || !res.Complete || !moved {
				t.Errorf("%s leads, moved at the %s: %s %s", lead, moment, drawResult(res), diff)
			}
		}
	}
}
