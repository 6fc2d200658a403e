package strong

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// What keeps the values of the replicas equal (D5). Each keeps a sum over its live
// values; the primary tells its own with every Append, and a follower that has applied
// just as much compares and says by how much it is off: a number that stays, since the
// effects add the same everywhere. Besides, a slow scrub adds up what a store really
// has (scrub.go), and that is its sum from then on.
//
// Who is wrong? If a majority of every set is off by nothing, a follower that is off is;
// the primary tells it so. If a majority of a set is off by the same, and the primary's
// own scrub does not bring it there too, the primary is. Sums can be wrong and values
// right: an effect is told what it replaces by a primary, whose value may have changed
// by itself. Then the scrubs bring all to the same sum.
//
// A store that is wrong is *diverged*. Its log stands: every entry has its checksum, and
// what it has acked is there; so it goes on to ack and to attest. But nothing is
// answered from its values and it does not lead, until it has pulled them anew from the
// primary. One that is off and not judged yet holds still in the same way.
type trust struct {
	// At the step's end: broken, diverge: a value could not be read, or others judge so.
	// astray: if primary, resign: the others are to be compared with another sum.
	broken, astray bool
	err            error // of the read

	at, sum   uint64 // the primary's sum, to be compared when at is applied
	epoch     uint64 // of the primary that was compared with
	off       uint64 // this store's sum less the primary's
	checked   uint64 // where that was seen
	strayed   uint64 // see stray.go
	pulled    uint64 // the epoch whose primary the values were pulled from because of it
	pulledAt  time.Duration
	askedAt   time.Duration // last begin of a pull
	conflicts uint64
	rebuilds  uint64
}

// differing tells that the values here are known not to be the primary's.
func (r *Replica) differing() bool {
	return r.hard.Diverged || r.trust.off != 0 && r.trust.epoch == r.cfg.Epoch
}

// trusted tells that reads may be answered from the values here.
func (r *Replica) trusted() bool {
	return !r.suspect && (!r.trust.broken && !r.differing() || plant.Is(plant.StrongDivergedServes))
}

// fit tells that this store may lead: it has forgotten nothing, and its values add up.
// One that is off from a primary long gone may be what is left of the truth.
func (r *Replica) fit() bool {
	return r.trusted() || !r.suspect && !r.hard.Diverged && r.now.Mono >= r.heardAt+2*r.opts.Silence
}

// takeSum takes the primary's sum from an Append, and its judgement.
func (r *Replica) takeSum(m *Message) {
	t := &r.trust
	if m.Epoch != r.cfg.Epoch || r.hard.Diverged || plant.Is(plant.StrongSumIgnored) {
		return
	}
	if m.SumAt >= r.hard.Applied {
		t.at, t.sum = m.SumAt, m.Sum
		r.compareSum()
	}
	if m.Differs && r.differing() && (t.pulled != r.cfg.Epoch || r.now.Mono >= t.pulledAt+r.opts.Doubt) {
		t.broken = true
	}
}

// compareSum looks at the primary's sum if just as much is applied here.
func (r *Replica) compareSum() {
	t := &r.trust
	if t.at != r.hard.Applied || t.at == 0 || r.hard.Diverged {
		return
	}
	off := r.hard.Sum - t.sum
	if off != 0 && (off != t.off || t.epoch != r.cfg.Epoch) {
		t.conflicts++
		r.hurryScrub()
	}
	t.off, t.epoch, t.checked, t.at = off, r.cfg.Epoch, t.at, 0
}

// scrubEnds takes what a scrub has found: by how much the values differ from their sum.
// From then on that is the sum.
func (r *Replica) scrubEnds(off uint64) {
	t := &r.trust
	blamed := r.blamed()
	switch {
	case blamed != 0 && off != blamed:
		t.broken = true
	case off == 0:
		return
	}
	t.astray = true
	t.stray(off)
	t.conflicts++
	if t.epoch != r.cfg.Epoch {
		t.off, t.epoch = 0, r.cfg.Epoch
	}
	if r.lead == nil {
		t.off, t.checked = t.off+off, r.hard.Applied
	}
	r.hard.Sum += off
	r.hardDirty = true
}

// tellOff says in an ack what came of it.
func (r *Replica) tellOff(ack *Message) {
	ack.Differs = r.differing()
	if t := &r.trust; !r.hard.Diverged && t.epoch == ack.Epoch {
		ack.SumAt, ack.Sum = t.checked, t.off
	}
}

// damaged: a value cannot be read.
func (r *Replica) damaged(err error) { r.trust.broken, r.trust.err = true, err }

// diverge draws the conclusion. A partition with one store has nobody to pull from;
// what can be read of it, is.
func (r *Replica) diverge() {
	t := &r.trust
	if t.broken && !r.hard.Diverged && len(r.members) > 1 {
		r.hard.Diverged, r.hardDirty = true, true
		r.scrub = scrub{rounds: r.scrub.rounds}
		r.forfeit = r.cfg.Primary == r.self
	}
	if (r.hard.Diverged && !plant.Is(plant.StrongDivergedLeads) || t.astray && len(r.members) > 1) && r.lead != nil {
		r.resign()
	}
	if len(r.members) <= 1 && t.err != nil {
		r.out.Err = t.err
	}
	t.broken, t.astray, t.err = false, false, nil
	if !r.hard.Diverged || r.install != nil || r.suspect || r.cfg.Primary == r.self || !r.cfg.Holds(r.self) || r.hard.Promised != r.cfg.Epoch {
		return
	}
	if t.askedAt == 0 || r.due(t.askedAt, r.opts.Retry) {
		t.askedAt = r.now.Mono
		r.install = &install{epoch: r.cfg.Epoch, source: r.cfg.Primary, generation: r.newID(), askNow: true}
	}
}

// settleFor: the only store that is left of a partition, as after a forced recovery (T5),
// has nobody to pull its values from. It goes on with what it has, once it is added up.
func (r *Replica) settleFor() {
	if r.hard.Diverged && len(r.members) == 1 && r.cfg.Primary == r.self {
		r.dropInstall()
		r.hard.Diverged, r.hardDirty = false, true
		r.hurryScrub()
	}
}

// pulledAnew: the values are what the primary has.
func (r *Replica) pulledAnew(in *install) {
	t := &r.trust
	if r.hard.Diverged {
		t.pulled, t.pulledAt = in.epoch, r.now.Mono
		t.rebuilds++
	}
	r.hard.Diverged = false
	t.at, t.off, t.checked, t.strayed = 0, 0, 0, 0
}

// resign gives the role up: another epoch must name another primary, or this store again.
func (r *Replica) resign() {
	r.propose(AskOut, hashring.SID{})
	r.stepDown()
	r.forfeit = true
}

// weigh takes what a follower says of its values. If somebody differs, this primary
// looks at its own.
func (r *Replica) weigh(p *peer, m *Message) {
	p.differs, p.compared, p.off = m.Differs, m.SumAt > 0, m.Sum
	if l := r.lead; p.differs && !r.scrub.hurry && (l.doubtAt == 0 || r.now.Mono >= l.doubtAt+2*r.opts.Doubt || r.blamed() != 0) {
		l.doubtAt, l.doubtScrub = r.now.Mono, r.scrub.rounds
		r.hurryScrub()
	}
	r.weighStray(p)
}

// blamed is by how much a majority of some set is off from this primary, 0: it is not.
func (r *Replica) blamed() uint64 {
	if l := r.lead; l != nil {
		for _, p := range l.peers {
			if p.compared && p.off != 0 && r.cfg.majorityOfOne(r.offBy(p.off)) {
				return p.off
			}
		}
	}
	return 0
}

// offBy tells which stores are off by that much.
func (r *Replica) offBy(off uint64) func(hashring.SID) bool {
	return func(s hashring.SID) bool {
		if s == r.self {
			return off == 0
		}
		p := r.lead.peer(s)
		return p != nil && p.full && p.compared && p.off == off
	}
}

// condemns tells that a follower is wrong: a majority agrees with this primary. Of two
// stores, the primary is right once it has looked at its own values.
func (r *Replica) condemns(p *peer) bool {
	if !p.differs || !p.compared {
		return false
	}
	l := r.lead
	return r.cfg.majority(r.offBy(0)) || len(r.members) == 2 && r.trust.strayed == 0 && r.scrub.rounds > l.doubtScrub && r.now.Mono >= l.doubtAt+r.opts.Doubt
}
