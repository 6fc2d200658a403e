package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

// authority is the Raft group's place: it commits ring commands while it has a
// quorum, and its states reach each node when they do.
type authority struct {
	w       *World
	state   *hashring.State
	rings   map[uint64]*hashring.Ring
	outage  int           // >0: nothing is committed and nobody hears of it
	moved   int           // epochs
	late    []string      // buckets made while the run goes on
	staged  time.Duration // when an owner was last replaced or filled
	leaders leaders
	tame    bool               // judges only activate
	purges  map[uint32]purgeOf // by partition: the newest clock, as contexts are
}

// feature is the level of all nodes.
const feature = max(wire.ProtocolMax, hashring.FeatureBuilding)

const (
	bootPoll   = 250 * time.Millisecond // a start asks so often to be confirmed
	learnPoll  = 500 * time.Millisecond // a node that cannot hear the authority asks again
	gossipTick = time.Second
)

func (a *authority) init(w *World) {
	a.w, a.rings, a.purges = w, map[uint64]*hashring.Ring{}, map[uint32]purgeOf{}
	var id hashring.ClusterID
	binary.BigEndian.PutUint64(id[:], w.opt.Seed|1<<63)
	a.must(hashring.Command{Kind: hashring.KindInit, Init: &hashring.Init{Cluster: id, Replicas: w.draw.Replicas, Feature: feature}})
	var sids []hashring.SID
	for _, n := range w.nodes {
		a.must(hashring.Command{Kind: hashring.KindRegister, Register: &hashring.Register{Store: n.registration()}})
		sids = append(sids, n.sid)
	}
	a.must(hashring.Command{Kind: hashring.KindFirstRing, FirstRing: &hashring.FirstRing{Partitions: w.draw.Partitions, Stores: sids}})
	for _, b := range buckets {
		a.must(hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &b})
	}
	if w.draw.Strong.On {
		a.must(hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: strongBucket, Mode: hashring.Strong}})
		w.strong.bucket = a.state.Buckets[strongBucket].ID
		a.lead()
	}
	for _, n := range w.nodes {
		n.eng.ring = a.state.Version
	}
}

// buckets are there from the start; their N is the ring's.
var buckets = []hashring.Bucket{
	{Name: "sloppy", Sloppy: true},
	{Name: "strict"},
	{Name: "lww", Conflict: hashring.LWW, Sloppy: true},
	{Name: "lwwstrict", Conflict: hashring.LWW},
	{Name: "ttl", Sloppy: true, TTL: 20 * time.Second},
	{Name: "one", Sloppy: true, R: 1, W: 1},
}

func (n *node) registration() hashring.Store {
	return hashring.Store{SID: n.sid, Node: n.name, API: n.name + ":1", Gossip: n.name + ":2", Peer: n.name + ":3",
		Boot: max(1, n.eng.boots), Nonce: n.nonce, State: hashring.StoreUp, FeatureMax: feature}
}

// must applies a command of the set-up.
func (a *authority) must(c hashring.Command) {
	if err := a.apply(c); err != nil {
		a.w.violate(Violation{Check: "authority", Kind: "SETUP", Detail: err.Error()})
	}
}

func (a *authority) apply(c hashring.Command) error {
	version := uint64(1)
	if a.state != nil {
		version = a.state.Version + 1
	}
	next, err := a.state.Apply(version, c)
	if err != nil {
		return err
	}
	a.publish(next)
	a.happened(&c)
	return nil
}

func (a *authority) publish(s *hashring.State) {
	a.state = s
	a.rings[s.Version] = nil // computed when somebody asks
	a.w.strong.published(s)
	for _, n := range a.w.nodes {
		n.learnSoon()
	}
}

// ringAt is a committed state with its lookups; nil: there is none.
func (a *authority) ringAt(version uint64) *hashring.Ring {
	if version == 0 {
		return nil
	}
	r := a.rings[version]
	if r == nil && version == a.state.Version {
		r = hashring.NewRing(a.state)
		a.rings[version] = r
	}
	return r
}

// serves tells whether n reaches a quorum of the group, and the group has one.
func (a *authority) serves(n *node) bool {
	if a.outage > 0 || n.deaf > 0 {
		return false
	}
	return a.reachable(n)
}

// reachable is serves for what a machine does without its shards.
func (a *authority) reachable(n *node) bool {
	if a.outage > 0 || n.deaf > 0 || n.gone || n.paused > 0 {
		return false
	}
	reached := 1
	for _, o := range a.w.nodes {
		if o != n && o.running() && a.w.passes(n, o) && a.w.passes(o, n) {
			reached++
		}
	}
	return reached >= hashring.Majority(len(a.w.nodes))
}

// learnSoon has the node hear of the newest state after a while.
func (n *node) learnSoon() {
	if n.up {
		n.later(evLearn, between(n.w.ctlRand, time.Millisecond, 50*time.Millisecond))
	}
}

// learn takes the newest state, or a given one from a peer; a node that cannot hear
// of it asks again.
func (n *node) learn(version uint64) {
	a := &n.w.auth
	if version == 0 {
		if n.ring != nil && n.ring.Version >= a.state.Version {
			return
		}
		if !n.running() || !a.serves(n) {
			n.later(evLearn, learnPoll)
			return
		}
		version = a.state.Version
	}
	r := a.ringAt(version)
	if r == nil {
		return
	}
	if n.ring != nil && n.ring.Version >= version { // an answer that was overtaken: the core must not care
		n.w.probe.hit(pRingOvertaken)
		n.tell(core.Event{Ring: r})
		return
	}
	if old := n.ring; old != nil && n.w.ctlRand.IntN(5) == 0 { // it was asked for twice, and the older answer comes last
		n.w.after(between(n.w.ctlRand, 0, 500*time.Millisecond), event{kind: evLearn, n: n, inc: n.inc, x: uint32(old.Version)})
	}
	n.w.note("%s learns ring %d", n.name, version)
	n.ring = r
	n.eng.ring = version
	n.tell(core.Event{Ring: r})
}

// fetchRing gets a newer state from a peer that knows it.
func (n *node) fetchRing(version uint64, from hashring.SID) {
	o := n.w.holder(from)
	if o == nil || o == n || !n.w.talks(n, o) || o.ring == nil || n.ring != nil && o.ring.Version <= n.ring.Version {
		return
	}
	n.w.probe.hit(pRingFetched)
	n.w.after(between(n.w.ctlRand, time.Millisecond, 20*time.Millisecond), event{kind: evLearn, n: n, inc: n.inc, x: uint32(o.ring.Version)})
}

// boot has the start confirmed: registered through the authority, or accepted by a
// majority of the other stores (D6).
func (n *node) boot() {
	n.later(evBoot, between(n.w.ctlRand, 5*time.Millisecond, bootPoll))
}

func (n *node) tryConfirm() {
	w := n.w
	if n.registered || !n.running() {
		return
	}
	a := &w.auth
	st, known := a.ringAt(a.state.Version).Store(n.sid)
	switch {
	case !known:
		n.takePlace()
		return
	case a.serves(n):
		n.register(st)
		return
	}
	if n.confirmed { // by its peers; it is registered as soon as that can be
		n.later(evBoot, bootPoll)
		return
	}
	others, yes := 0, 0
	for _, o := range w.nodes {
		if o != n {
			others++
			if w.talks(n, o) && n.ring != nil && o.ring != nil && o.accepts(n) && o.ring.Version <= n.ring.Version {
				yes++
			}
		}
	}
	if mine, ok := n.registeredHere(); ok && mine.Boot < n.eng.boots && others > 0 && yes >= hashring.Majority(others) {
		w.probe.hit(pPeersConfirm)
		n.confirm()
	}
	n.later(evBoot, bootPoll)
}

// register has the start registered, or learns that it is not this directory's start
// that is (D6).
func (n *node) register(st *hashring.Store) {
	w, a := n.w, &n.w.auth
	switch {
	case st.Boot == n.eng.boots && (st.Nonce == n.nonce || st.Nonce == 0): // of the set-up, or its answer was lost
		n.registered = true
		n.confirm()
	case n.eng.foreign(st):
		w.note("%s: boot %d does not remember the registered %d", n.name, n.eng.boots, st.Boot)
		w.probe.hit(pRolledBack)
		if n.original != nil { // the copy of a store that lives elsewhere ends with a clear message
			n.kill(false)
			return
		}
		n.doubt("rolled back")
	default:
		if err := a.apply(hashring.Command{Kind: hashring.KindRegister, Register: &hashring.Register{Store: n.registration(), Expects: st.Boot, ExpectsNonce: st.Nonce}}); err != nil {
			w.violate(Violation{Check: "authority", Kind: "REGISTER", Detail: n.name + ": " + err.Error()})
		}
		if w.ctlRand.IntN(10) == 0 { // and the answer is lost
			n.later(evBoot, bootPoll)
			return
		}
		n.registered = true
		n.confirm()
	}
}

// foreign tells whether a registered start was one of another directory.
func (e *engine) foreign(st *hashring.Store) bool {
	return st.Boot > e.boots || st.Nonce != 0 && !slices.Contains(e.starts, st.Nonce)
}

// introduced is a start as a process has heard of it.
type introduced struct{ boot, nonce uint64 }

func (n *node) registeredHere() (*hashring.Store, bool) {
	if n.ring == nil {
		return nil, false
	}
	return n.ring.Store(n.sid)
}

// accepts tells whether n takes the start of another for one of the store it knows.
func (n *node) accepts(of *node) bool {
	st, ok := n.ring.Store(of.sid)
	if !ok || of.ring.Version <= n.ring.Version && of.eng.foreign(st) {
		return false
	}
	if s := n.seen[of.sid]; s.boot > st.Boot && !slices.Contains(of.eng.starts, s.nonce) {
		return false
	}
	n.seen[of.sid] = introduced{of.eng.boots, of.nonce}
	return true
}

func (n *node) confirm() {
	if n.confirmed {
		return
	}
	n.confirmed = true
	n.w.note("%s is confirmed", n.name)
	n.tell(core.Event{Confirmed: true})
}

// viewOf is what gossip tells one node.
type viewOf struct {
	heard map[*node]time.Duration
	alive map[hashring.SID]bool
	lies  map[*node]bool // forced by a fault
}

// gossip looks at the members: dead is who has not been heard of, directly or through
// another, for a while.
func (n *node) gossip() {
	w := n.w
	if n.paused > 0 {
		return // resume looks again
	}
	v := &n.view
	if v.heard == nil {
		v.heard = map[*node]time.Duration{}
	}
	changed := false
	next := make(map[hashring.SID]bool, len(w.nodes))
	for _, o := range w.nodes {
		alive := true
		if o != n {
			if n.hears(o) {
				v.heard[o] = w.now
			}
			last, known := v.heard[o]
			if !known {
				continue
			}
			alive = w.now-last <= w.draw.DeadAfter
			if lie, ok := v.lies[o]; ok {
				alive = lie
			}
		}
		next[o.sid] = alive
		old, known := v.alive[o.sid]
		changed = changed || !known || old != alive
	}
	if changed {
		if w.telling() {
			w.note("%s sees alive: %s", n.name, w.drawView(next))
		}
		v.alive = next
		n.tell(core.Event{View: &core.View{Alive: next}})
	}
	n.later(evGossip, gossipTick)
}

func (n *node) hears(o *node) bool {
	w := n.w
	if w.talks(n, o) {
		return true
	}
	if !o.running() {
		return false
	}
	for _, via := range w.nodes { // an indirect probe
		if via != n && via != o && w.talks(n, via) && w.talks(via, o) {
			return true
		}
	}
	return false
}
