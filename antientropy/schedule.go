package antientropy

import (
	"cmp"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// Bounds and paces of a schedule.
const (
	MaxLeading  = 16               // exchanges that a shard leads at a time; most of them wait for a second look
	MaxServing  = 16               // and takes part in
	maxPerPeer  = 8                // led with one peer
	idleFor     = 10 * time.Second // between two exchanges of a pair that is alike
	againAfter  = time.Second      // after one that left something
	staggerMost = 3 * againAfter   // more, after one that found the peer busy
	backOffMost = time.Minute      // after failures, doubled from againAfter
	// A peer that asks no more has gone: a question that is not answered comes again after
	// answerWithin.
	servedFor = answerWithin + 2*time.Second
)

// What makes a pair urgent, as the seconds of waiting it outweighs.
const (
	dirtyWeight    = 10 * time.Minute // a dirty mark, or a purge round waits for it
	dangerWeight   = 5 * time.Minute  // for each full owner that cannot be reached
	returnedWeight = 5 * time.Minute  // the peer is back, and was not compared since
	openWeight     = time.Minute      // the last exchange left something
	// MostWeight bounds them all: a pair that has waited so much longer than another
	// goes first, whatever speaks for the other.
	MostWeight = 30 * time.Minute
)

// Pair is a partition's tree of one n, shared with one peer.
type Pair struct {
	Partition uint32
	N         int
	Peer      hashring.SID
}

func (p Pair) compare(o Pair) int {
	return cmp.Or(cmp.Compare(p.Partition, o.Partition), cmp.Compare(p.N, o.N), slices.Compare(p.Peer[:], o.Peer[:]))
}

type pairState struct {
	Pair
	since    Duration // compared last, or when it came
	equal    Duration // beginning of the last complete exchange
	everSame bool
	began    Duration
	ready    Duration // not before
	failures int
	busy     int // times it was put off because one of them was busy
	running  bool
	urgent   uint64 // counts the wishes for a thorough exchange
	serves   uint64 // the wishes that the running one serves
	met      uint64 // and that have been met
	returned bool
	open     bool
	differed uint64
	resume   uint16
}

// Schedule says which pair to compare next: continuously, the most endangered and
// the most recently returned first, and nobody for ever last. The operator has no
// schedule to keep. Deterministic: equal pairs go by partition, n, peer.
type Schedule struct {
	self    hashring.SID
	pairs   []*pairState // sorted
	down    map[hashring.SID]bool
	missing map[uint32]int    // full owners that cannot be reached, by partition
	running []*pairState      // at most MaxLeading
	serving map[uint32]served // by partition
}

type served struct {
	peer  hashring.SID
	until Duration
}

// NewSchedule is one of the shard's store self; Set gives it pairs.
func NewSchedule(self hashring.SID) *Schedule {
	return &Schedule{self: self, down: make(map[hashring.SID]bool), missing: make(map[uint32]int), serving: make(map[uint32]served)}
}

// Set gives the pairs of the ring of now: all full owners that share a tree with this
// store. What is known of pairs that stay is kept; new ones are due at once.
func (s *Schedule) Set(now Duration, pairs []Pair) {
	old := s.pairs
	s.pairs = make([]*pairState, 0, len(pairs))
	for _, p := range pairs {
		if i, ok := slices.BinarySearchFunc(old, p, func(o *pairState, p Pair) int { return o.compare(p) }); ok {
			s.pairs = append(s.pairs, old[i])
		} else {
			s.pairs = append(s.pairs, &pairState{Pair: p, since: now, equal: now, ready: now})
		}
	}
	slices.SortFunc(s.pairs, func(a, b *pairState) int { return a.compare(b.Pair) })
	s.pairs = slices.CompactFunc(s.pairs, func(a, b *pairState) bool { return a.Pair == b.Pair })
	s.running = s.running[:0]
	for _, p := range s.pairs {
		if p.running {
			s.running = append(s.running, p)
		}
	}
}

func (s *Schedule) find(p Pair) *pairState {
	if i, ok := slices.BinarySearchFunc(s.pairs, p, func(o *pairState, p Pair) int { return o.compare(p) }); ok {
		return s.pairs[i]
	}
	return nil
}

// Reachable follows the view of a peer. One that comes back is compared at once.
func (s *Schedule) Reachable(now Duration, peer hashring.SID, yes bool) {
	if yes == !s.down[peer] {
		return
	}
	if !yes {
		s.down[peer] = true
		s.drop(peer)
		return
	}
	delete(s.down, peer)
	for _, p := range s.pairs {
		if p.Peer == peer {
			p.returned, p.ready, p.failures = true, now, 0
		}
	}
}

// Endangered tells how many full owners of a partition cannot be reached.
func (s *Schedule) Endangered(partition uint32, missing int) { s.missing[partition] = missing }

// Want asks for a complete, thorough exchange of the pair that begins from now on: for
// a dirty mark, for a purge round. It gives a ticket; Met tells when it is so.
func (s *Schedule) Want(now Duration, pair Pair) (ticket uint64, ok bool) {
	p := s.find(pair)
	if p == nil {
		return 0, false
	}
	p.urgent++
	p.ready = now
	return p.urgent, true
}

// Met tells whether a complete, thorough exchange has begun after the ticket was given
// and ended.
func (s *Schedule) Met(pair Pair, ticket uint64) bool {
	p := s.find(pair)
	return p != nil && p.met >= ticket
}

// Due is an exchange to begin.
type Due struct {
	Pair
	Thorough bool
	Resume   uint16
}

// Next is the exchange to begin now, if there is one; it counts as running until End.
func (s *Schedule) Next(now Duration) (Due, bool) {
	if len(s.running) >= MaxLeading {
		return Due{}, false
	}
	var best *pairState
	var most Duration
	for _, p := range s.pairs {
		if p.running || p.ready > now {
			continue
		}
		if w := s.weight(now, p); (best == nil || w > most) && s.may(now, p) {
			best, most = p, w
		}
	}
	if best == nil {
		return Due{}, false
	}
	best.running, best.began, best.serves = true, now, best.urgent
	s.running = append(s.running, best)
	return Due{best.Pair, best.urgent > best.met, best.resume}, true
}

// weight is how long the pair has waited, and what speaks for it beside.
func (s *Schedule) weight(now Duration, p *pairState) Duration {
	w := Duration(s.missing[p.Partition]) * dangerWeight
	if p.urgent > p.met {
		w += dirtyWeight
	}
	if p.returned {
		w += returnedWeight
	}
	if p.open {
		w += openWeight
	}
	return now - p.since + min(w, MostWeight)
}

// may tells whether the pair can have an exchange now. A partition has one at a time
// at each store, whoever leads: else an empty replica would be filled by two at once.
func (s *Schedule) may(now Duration, p *pairState) bool {
	if p.running || p.ready > now || s.down[p.Peer] || s.serves(now, p.Partition) {
		return false
	}
	peers := 0
	for _, o := range s.running {
		if o.Partition == p.Partition {
			return false
		}
		if o.Peer == p.Peer {
			peers++
		}
	}
	return peers < maxPerPeer
}

func (s *Schedule) serves(now Duration, partition uint32) bool {
	v, ok := s.serving[partition]
	return ok && v.until > now
}

// Wake is when a pair becomes ready that is not yet, 0: none.
func (s *Schedule) Wake(now Duration) (at Duration) {
	for _, p := range s.pairs {
		if !p.running && p.ready > now && (at == 0 || p.ready < at) {
			at = p.ready
		}
	}
	return at
}

// End takes the result of the exchange that Next gave.
func (s *Schedule) End(now Duration, pair Pair, r Result) {
	p := s.find(pair)
	if p == nil || !p.running {
		return
	}
	p.running = false
	s.running = slices.DeleteFunc(s.running, func(o *pairState) bool { return o == p })
	switch {
	case r.Reason == ReasonNone:
		p.since, p.resume, p.failures = p.began, 0, 0
		p.open = !r.Complete
		p.differed = r.Moving + r.Damaged
		p.ready = now + idleFor
		if p.open {
			p.ready = now + againAfter
		}
		if r.Complete {
			p.equal, p.everSame, p.returned = p.began, true, false
			p.met = max(p.met, p.serves)
		}
	case r.Reason == ReasonBusy || r.Reason == ReasonYielded || r.Reason == ReasonRebuilding:
		// Nothing is wrong with the pair: its turn comes.
		p.ready = now + againAfter + s.stagger(p)
		if r.Resume != 0 {
			p.resume = r.Resume
		}
	default:
		p.open, p.resume = true, r.Resume
		p.differed = max(p.differed, r.Differed) - min(max(p.differed, r.Differed), r.Sent+r.Received)
		p.ready = now + min(againAfter<<min(p.failures, 10), backOffMost)
		p.failures++
	}
	if p.urgent > p.met && r.Reason == ReasonNone {
		p.ready = min(p.ready, now+againAfter)
	}
}

// stagger keeps stores that have met each other busy from meeting again for ever: three
// that each lead one with the next, all at the same time, would. Another one each time,
// and up to a few seconds, since a core looks once a second; no randomness, so that a run
// can be played again.
func (s *Schedule) stagger(p *pairState) Duration {
	p.busy++
	h := uint64(14695981039346656037)
	for _, b := range append(append(append([]byte(nil), s.self[:]...), p.Peer[:]...), byte(p.Partition), byte(p.N), byte(p.busy), byte(p.busy>>8)) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return Duration(h % uint64(staggerMost))
}

// Admit tells whether this store takes part in an exchange that peer leads, asked by
// its open. When both lead one of the same pair the lesser sid's goes on: yield names
// the own one that must be stopped with ReasonYielded.
func (s *Schedule) Admit(now Duration, pair Pair) (why Reason, yield bool) {
	v, served := s.serving[pair.Partition]
	if served && v.until > now && v.peer != pair.Peer {
		return ReasonBusy, false
	}
	for _, o := range s.running {
		if o.Partition != pair.Partition {
			continue
		}
		if o.Pair != pair || slices.Compare(s.self[:], pair.Peer[:]) < 0 {
			return ReasonBusy, false
		}
		yield = true
	}
	if !served && len(s.serving) >= MaxServing && s.expire(now) >= MaxServing {
		return ReasonBusy, false
	}
	s.Touch(now, pair)
	return ReasonNone, yield
}

// drop ends the part this store takes in exchanges of a peer that cannot be reached: the
// partition's others need not wait for it.
func (s *Schedule) drop(peer hashring.SID) {
	for partition, v := range s.serving { // order-free: each by itself
		if v.peer == peer {
			delete(s.serving, partition)
		}
	}
}

func (s *Schedule) expire(now Duration) int {
	for partition, v := range s.serving { // order-free: each by itself
		if v.until <= now {
			delete(s.serving, partition)
		}
	}
	return len(s.serving)
}

// Serves tells whether a request other than an open belongs to an exchange admitted
// here, and keeps it alive.
func (s *Schedule) Serves(now Duration, pair Pair) bool {
	v, ok := s.serving[pair.Partition]
	if !ok || v.peer != pair.Peer || v.until <= now {
		return false
	}
	s.Touch(now, pair)
	return true
}

// Touch notes that the peer's exchange goes on.
func (s *Schedule) Touch(now Duration, pair Pair) {
	s.serving[pair.Partition] = served{pair.Peer, now + servedFor}
}

// Served: the peer's exchange is over, as an open that was answered equal tells.
func (s *Schedule) Served(pair Pair) {
	if s.serving[pair.Partition].peer == pair.Peer {
		delete(s.serving, pair.Partition)
	}
}

// Debt is what a partition owes, for metrics and `quorate repair status`.
type Debt struct {
	Partition uint32
	Keys      uint64   // about, known to differ and not repaired
	Behind    Duration // since the beginning of the last complete exchange with every peer
	Never     bool     // with one of them there was none since the start
	Running   bool
	Dirty     bool // a thorough exchange is wanted
}

// Debts are those of all partitions, in order.
func (s *Schedule) Debts(now Duration) (out []Debt) {
	for _, p := range s.pairs {
		if len(out) == 0 || out[len(out)-1].Partition != p.Partition {
			out = append(out, Debt{Partition: p.Partition})
		}
		d := &out[len(out)-1]
		d.Keys = max(d.Keys, p.differed)
		d.Behind = max(d.Behind, now-p.equal)
		d.Never = d.Never || !p.everSame
		d.Running = d.Running || p.running
		d.Dirty = d.Dirty || p.urgent > p.met
	}
	return out
}

// PairDebt is what one pair owes.
type PairDebt struct {
	Pair
	Keys        uint64
	Behind      Duration
	Never       bool
	Running     bool
	Dirty       bool
	Unreachable bool
	Failures    int // exchanges one after the other that were cut off
}

// Pairs are those of all pairs, in order.
func (s *Schedule) Pairs(now Duration) []PairDebt {
	out := make([]PairDebt, len(s.pairs))
	for i, p := range s.pairs {
		out[i] = PairDebt{Pair: p.Pair, Keys: p.differed, Behind: now - p.equal, Never: !p.everSame,
			Running: p.running, Dirty: p.urgent > p.met, Unreachable: s.down[p.Peer], Failures: p.failures}
	}
	return out
}

// Progress updates the keys that a running exchange knows to differ.
func (s *Schedule) Progress(pair Pair, keys uint64) {
	if p := s.find(pair); p != nil && p.running {
		p.differed = keys
	}
}
