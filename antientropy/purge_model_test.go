package antientropy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// A little model of one partition: three owners and two stores that stand in, writes
// and deletes, hints, crashes that lose what was not synced, messages that are late or
// come twice, and purge rounds amid all of it. What it demands in the end: no value
// that was overwritten or deleted is back, and no value is lost that was not.

type pstore struct {
	id      int
	boot    uint64
	actor   version.Actor
	minted  uint64
	stoodIn bool

	objects, durObjects map[string]*version.Object
	hints, durHints     map[hintName]*version.Object
	gen                 uint64 // of the purge clock that it has applied
	clock               version.Vector
}

type hintName struct {
	target int
	key    string
}

func (s *pstore) owner() bool { return s.id < 3 }

type pmsg struct {
	to      int
	key     string
	object  *version.Object
	target  int  // -1: as an owner
	late    bool // very
	deliver func()
}

// broken switches single rules off, to show that the model sees it.
type broken struct {
	noGuard, noHintWait, noPull, noSpread, clockAbove, seenLate, dropsChanged, fallbackKeepsActor bool
}

type pmodel struct {
	rng    *rand.Rand
	stores []*pstore
	air    []pmsg
	actors version.Actor

	round   *Round
	lead    int
	exch    []pexchange
	commits []*Commit
	purged  int
	rounds  uint32
	broken  broken

	// Rates of this run, so that some runs are calm and some are not.
	writes, standIns, crashes, lateness, drain int

	covers  map[version.Dot]version.Vector // what a write's client had seen
	sibling map[version.Dot]version.Sibling
	keyOf   map[version.Dot]string
	safe    map[version.Dot]bool // some store has synced it
}

type pexchange struct {
	with     int
	ask      uint64
	keys     []string
	a, b     uint64 // incarnations at its begin
	gen      uint64
	complete bool
}

func newPModel(rng *rand.Rand) *pmodel {
	m := &pmodel{rng: rng, writes: 1 + rng.IntN(15), standIns: rng.IntN(3) * rng.IntN(15), crashes: rng.IntN(2) * rng.IntN(3), lateness: 1 + rng.IntN(8), drain: 1 + rng.IntN(14), covers: map[version.Dot]version.Vector{}, sibling: map[version.Dot]version.Sibling{}, keyOf: map[version.Dot]string{}, safe: map[version.Dot]bool{}}
	for i := range 5 {
		s := &pstore{id: i, objects: map[string]*version.Object{}, hints: map[hintName]*version.Object{}}
		m.stores = append(m.stores, s)
		m.restart(s)
	}
	return m
}

// restart loses what is not synced, and draws a new actor (E1).
func (m *pmodel) restart(s *pstore) {
	s.boot++
	s.objects, s.hints = maps.Clone(s.durObjects), maps.Clone(s.durHints)
	if s.objects == nil {
		s.objects, s.hints = map[string]*version.Object{}, map[hintName]*version.Object{}
	}
	m.fresh(s)
}

func (m *pmodel) fresh(s *pstore) {
	m.actors++
	s.actor, s.minted, s.stoodIn = m.actors, 0, false
}

func (m *pmodel) sync(s *pstore) {
	s.durObjects, s.durHints = maps.Clone(s.objects), maps.Clone(s.hints)
	for _, o := range s.durObjects {
		m.nowSafe(o)
	}
	for _, o := range s.durHints {
		m.nowSafe(o)
	}
}

func (m *pmodel) nowSafe(o *version.Object) {
	for i := range o.Siblings {
		m.safe[o.Siblings[i].Dot] = true
	}
}

func (m *pmodel) key() string { return fmt.Sprint("k", m.rng.IntN(3)) }

// write is E2: any store may coordinate; a client without a context takes the local one.
func (m *pmodel) write() {
	s := m.stores[m.rng.IntN(3)]
	if m.rng.IntN(100) < m.standIns {
		s = m.stores[3+m.rng.IntN(2)]
	}
	key := m.key()
	var local *version.Object
	if s.owner() {
		local = s.objects[key]
	} else {
		for t := range 3 {
			local = version.Join(local, s.hints[hintName{t, key}])
		}
	}
	var seen version.Vector
	if local != nil && m.rng.IntN(4) > 0 {
		seen = local.Context
	}
	if local != nil && !seen.Covers(version.Dot{Actor: s.actor, Counter: local.Context.Get(s.actor)}) {
		m.fresh(s) // an unseen sibling of this actor: another one mints
	}
	s.minted++
	d := version.Dot{Actor: s.actor, Counter: s.minted}
	sib := version.Sibling{Dot: d, HLC: version.HLC(len(m.covers) + 1), Tombstone: m.rng.IntN(2) == 0, Value: []byte("v")}
	o := version.Write(local, seen, sib)
	m.covers[d], m.sibling[d], m.keyOf[d] = seen, sib, key
	cutOff := !s.owner() && m.rng.IntN(2) == 0 // it reaches nobody
	if s.owner() {
		s.objects[key] = o
	} else {
		s.stoodIn = true
		for t := range 3 {
			s.hints[hintName{t, key}] = version.Join(s.hints[hintName{t, key}], o)
		}
		m.sync(s) // its own hints are all it has
	}
	for t := range 3 {
		if t == s.id || cutOff {
			continue
		}
		msg := pmsg{to: t, key: key, object: o, target: -1, late: m.rng.IntN(8) == 0}
		switch p := m.rng.IntN(100); {
		case p < 20:
			continue // lost; anti-entropy finds it
		case p < 20+m.standIns:
			msg.to, msg.target = 3+m.rng.IntN(2), t // unreachable: a hint
		}
		m.air = append(m.air, msg)
	}
}

func (m *pmodel) receive(msg pmsg) {
	if msg.deliver != nil {
		msg.deliver()
		return
	}
	s := m.stores[msg.to]
	if msg.target >= 0 {
		n := hintName{msg.target, msg.key}
		s.hints[n] = version.Join(s.hints[n], msg.object)
	} else {
		m.merge(s, msg.key, msg.object)
	}
	if m.rng.IntN(2) == 0 {
		m.sync(s)
	}
}

// merge is what an owner does with what comes, guarded (E6).
func (m *pmodel) merge(s *pstore, key string, in *version.Object) {
	if !m.broken.noGuard {
		in = Strip(in, s.objects[key], s.clock)
	}
	if in != nil {
		s.objects[key] = version.Join(s.objects[key], in)
	}
}

// handOff delivers one hint: merged and synced at the target, then dropped (E3).
func (m *pmodel) handOff() {
	s := m.stores[3+m.rng.IntN(2)]
	for _, n := range slices.SortedFunc(maps.Keys(s.hints), func(a, b hintName) int { return slices.Compare([]byte(fmt.Sprint(a)), []byte(fmt.Sprint(b))) }) {
		if m.rng.IntN(2) == 0 {
			continue
		}
		t := m.stores[n.target]
		m.merge(t, n.key, s.hints[n])
		m.sync(t)
		delete(s.hints, n)
		if s.stoodIn && !m.broken.fallbackKeepsActor {
			m.fresh(s) // E1b
		}
		m.sync(s)
		return
	}
}

func psid(i int) hashring.SID { return hashring.SID{byte(i + 1)} }

func (m *pmodel) members(n int) (out []Member) {
	for _, s := range m.stores[:n] {
		out = append(out, Member{psid(s.id), s.boot})
	}
	return out
}

func (m *pmodel) beginRound() {
	m.lead = m.rng.IntN(3)
	for _, s := range m.stores[:3] {
		if s.gen != m.stores[m.lead].gen {
			return
		}
	}
	var do RoundDo
	m.round, do = NewRound(RoundConfig{Round: m.rounds, Epoch: 1, Generation: m.stores[m.lead].gen, Self: psid(m.lead), Owners: m.members(3), Stores: m.members(5)}, 0)
	m.exch = nil
	m.rounds++
	m.do(do)
}

func (m *pmodel) do(do RoundDo) {
	r := m.round
	for _, sid := range do.Report {
		s := m.stores[sid[0]-1]
		m.air = append(m.air, pmsg{deliver: func() { // the request comes; the answer leaves after the sync
			m.sync(s)
			rep := Report{Ask: do.Ask, Boot: s.boot, Epoch: 1, Generation: s.gen, Hints: uint64(len(s.hints)), WallMS: int64(s.id)}
			if !s.owner() {
				rep.Generation = r.cfg.Generation
			}
			if s.minted > 0 {
				rep.Cut = version.Vector{{Actor: s.actor, Counter: s.minted}}
			}
			if m.broken.noHintWait {
				rep.Hints = 0
			}
			m.air = append(m.air, pmsg{deliver: func() {
				if m.round != nil { // this one or a later one
					m.do(m.round.Reported(0, sid, rep))
				}
			}, late: m.rng.IntN(10) == 0})
		}})
	}
	for _, sid := range do.Confirm {
		s := m.stores[sid[0]-1]
		m.air = append(m.air, pmsg{deliver: func() {
			c := Confirmation{Ask: do.Ask, Boot: s.boot, Epoch: 1, Generation: s.gen}
			for _, o := range s.objects {
				c.Seen = c.Seen.Join(o.Context)
			}
			m.sync(s)
			m.air = append(m.air, pmsg{deliver: func() {
				if m.round != nil {
					if m.broken.seenLate && m.round.phase == Confirming {
						m.round.seen = m.round.seen.Join(c.Seen)
					}
					m.do(m.round.Confirmed(0, sid, c))
				}
			}})
		}})
	}
	for _, sid := range do.Exchange {
		e := pexchange{ask: do.Ask, with: int(sid[0] - 1), keys: []string{"k0", "k1", "k2"}, complete: true}
		e.a, e.b, e.gen = m.stores[m.lead].boot, m.stores[e.with].boot, r.cfg.Generation
		if m.broken.noPull && r.phase == Pulling || m.broken.noSpread && r.phase == Spreading {
			e.keys = nil
		}
		m.exch = append(m.exch, e)
	}
	if do.Propose != nil {
		for i := range do.Propose.Clock {
			if m.broken.clockAbove {
				do.Propose.Clock[i].Counter += 3
			}
		}
		m.commits = append(m.commits, do.Propose)
		m.purged++
		m.do(r.Committed(0, true))
	}
	if do.Done {
		m.round, m.exch = nil, nil
	}
}

// exchangeStep joins one key of a running thorough exchange, both ways.
func (m *pmodel) exchangeStep() {
	if len(m.exch) == 0 {
		return
	}
	i := m.rng.IntN(len(m.exch))
	e := &m.exch[i]
	a, b := m.stores[m.lead], m.stores[e.with]
	if a.boot != e.a || b.boot != e.b || a.gen != e.gen || b.gen != e.gen {
		e.complete, e.keys = false, nil
	}
	if len(e.keys) == 0 {
		ask, with, complete := e.ask, e.with, e.complete
		m.exch = slices.Delete(m.exch, i, i+1)
		m.do(m.round.Passed(0, ask, psid(with), complete))
		return
	}
	k := m.rng.IntN(len(e.keys))
	key := e.keys[k]
	e.keys = slices.Delete(e.keys, k, k+1)
	x, y := a.objects[key], b.objects[key]
	m.merge(a, key, y)
	m.merge(b, key, x)
	m.sync(a)
	m.sync(b)
}

// apply raises the purge clock at an owner (E8's T is not modelled here).
func (m *pmodel) apply(s *pstore) {
	if !s.owner() || s.gen >= uint64(len(m.commits)) {
		return
	}
	c := m.commits[s.gen]
	s.gen, s.clock = s.gen+1, s.clock.Join(c.Clock)
	for key, o := range s.objects {
		drop := Purgeable(o, s.clock)
		if m.broken.dropsChanged {
			drop = true
			for _, sib := range o.Siblings {
				drop = drop && sib.Tombstone
			}
		}
		if drop {
			delete(s.objects, key)
		}
	}
	m.sync(s)
}

func (m *pmodel) step() {
	switch p := m.rng.IntN(100); {
	case p < m.writes:
		m.write()
	case p < m.writes+m.drain:
		m.handOff()
	case p < 30: // nothing happens
	case p < 34:
		m.apply(m.stores[m.rng.IntN(3)])
	case p < 34+m.crashes:
		s := m.stores[m.rng.IntN(5)]
		m.restart(s)
		if m.round != nil && m.rng.IntN(2) == 0 { // the ring may tell late
			m.do(m.round.Changed(0, 1, m.round.cfg.Generation, m.members(3), m.members(5)))
		}
	case p < 40:
		m.sync(m.stores[m.rng.IntN(5)])
	case p < 70 && len(m.air) > 0:
		i := m.rng.IntN(len(m.air))
		if msg := m.air[i]; msg.deliver == nil && m.rng.IntN(m.lateness) > 0 || msg.late && m.rng.IntN(30) > 0 {
			return
		}
		msg := m.air[i]
		if msg.deliver != nil || m.rng.IntN(5) > 0 { // else it comes again
			m.air = slices.Delete(m.air, i, i+1)
		}
		m.receive(msg)
	case m.round == nil:
		m.beginRound()
	case m.round.block.Why == HintsWait || len(m.exch) == 0 && m.rng.IntN(20) == 0:
		m.do(m.round.Wake(m.round.wake))
	default:
		m.exchangeStep()
	}
}

// settle heals everything: late messages come, hints are handed off, owners apply all
// commits and exchange.
func (m *pmodel) settle() {
	m.round, m.exch = nil, nil
	if m.rng.IntN(2) == 0 {
		for i := range 3 * len(m.commits) {
			m.apply(m.stores[i%3])
		}
	}
	for len(m.air) > 0 {
		msg := m.air[0]
		m.air = m.air[1:]
		if msg.deliver == nil {
			m.receive(msg)
		}
	}
	for i := 0; len(m.stores[3].hints)+len(m.stores[4].hints) > 0 && i < 10_000; i++ {
		m.handOff()
	}
	for _, s := range m.stores[:3] {
		for range m.commits {
			m.apply(s)
		}
	}
	for range 3 {
		for _, a := range m.stores[:3] {
			for _, b := range m.stores[:3] {
				for _, key := range []string{"k0", "k1", "k2"} {
					m.merge(a, key, b.objects[key])
				}
			}
		}
	}
	for _, s := range m.stores[:3] {
		m.sync(s)
	}
}

// verdict compares what the owners hold with what every write meant.
func (m *pmodel) verdict() string {
	dead := map[version.Dot]bool{}
	for d := range m.covers {
		if !m.safe[d] {
			continue
		}
		for o := range m.covers {
			if m.keyOf[o] == m.keyOf[d] && m.covers[d].Covers(o) {
				dead[o] = true
			}
		}
	}
	for _, s := range m.stores[:3] {
		for d, sib := range m.sibling {
			has := holds(s.objects[m.keyOf[d]], d)
			switch {
			case sib.Tombstone:
			case has && dead[d]:
				return fmt.Sprintf("RESURRECTED: %v of %s at %d", d, m.keyOf[d], s.id)
			case !has && !dead[d] && m.safe[d]:
				return fmt.Sprintf("LOST: %v of %s at %d", d, m.keyOf[d], s.id)
			}
		}
		if !maps.EqualFunc(s.objects, m.stores[0].objects, func(a, b *version.Object) bool { return version.Same(a, b) }) {
			return fmt.Sprintf("%d holds %v, 0 holds %v", s.id, s.objects, m.stores[0].objects)
		}
	}
	return ""
}

func playPurge(seed uint64, b broken) (*pmodel, string) {
	m := newPModel(rand.New(rand.NewPCG(seed, 9)))
	m.broken = b
	if b.noHintWait { // what it breaks needs many hints that wait long
		m.standIns, m.drain = 40, 1
	}
	for range 600 {
		m.step()
	}
	m.settle()
	return m, m.verdict()
}

// Whatever happens in whatever order, a purge brings nothing back and loses nothing.
func TestPurgeNeverResurrects(t *testing.T) {
	rounds := 0
	for seed := range uint64(1500) {
		m, trouble := playPurge(seed, broken{})
		if trouble != "" {
			t.Fatalf("seed %d: %s", seed, trouble)
		}
		rounds += m.purged
	}
	t.Logf("%d rounds were committed", rounds)
	if rounds < 500 {
		t.Errorf("only %d rounds were committed", rounds)
	}
}

// Each rule is needed: the model finds its absence.
func TestPurgeModelFindsBrokenRules(t *testing.T) {
	for name, b := range map[string]broken{
		"no guard":                     {noGuard: true},
		"hints are not waited for":     {noHintWait: true},
		"the lead pulls from nobody":   {noPull: true},
		"the lead spreads to nobody":   {noSpread: true},
		"a clock above the cut":        {clockAbove: true},
		"what is seen late is the cut": {seenLate: true},
		"changed keys are dropped too": {dropsChanged: true},
		"a fallback keeps its actor":   {fallbackKeepsActor: true},
	} {
		found := ""
		seed := uint64(0)
		for ; found == "" && seed < 4000; seed++ {
			_, found = playPurge(seed, b)
		}
		if found == "" {
			t.Errorf("%s: not found", name)
		} else {
			t.Logf("%s: seed %d, %s", name, seed-1, found)
		}
	}
}
