package strong

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
)

// A lease (3.4, S11) lets the primary answer reads without asking anybody. Each Append
// asks for one; a store that acks it lends its promise: for Options.Lease from then on it
// promises no later epoch. As long as in every set a majority has lent theirs, no later
// epoch can be sealed, so nothing is committed that this primary does not know of. Where
// there is no such majority a lease read is a leader read.
//
// The lender measures by Now.Mono: if that stands still while the machine is suspended, it
// only lends for longer. The primary measures by Now.Boot, which must not stand still, and
// from when it asked, not from when it was answered.

// Two clocks of a partition's stores may drift apart by one part in leaseDrift: the primary
// counts that much less than it was lent. Crystals are off by a ten-thousandth, and a
// clock that is being corrected by a two-thousandth.
const leaseDrift = 10

// LeaseLeast and LeaseMost bound Options.Lease. Heartbeats of an idle partition, at most
// 375 ms apart, must renew it in time; and a failover that waits for what a dead primary was
// lent must not be taken for one that hangs (JudgeOptions.Stuck).
const (
	LeaseLeast = 500 * time.Millisecond
	LeaseMost  = 2 * time.Second
)

// lends tells that the promise is lent: it must not rise.
func (r *Replica) lends() bool { return r.now.Mono < r.lentUntil }

// lend answers an Append's wish. Nothing is lent before it is durable for how long at most:
// a store that starts anew keeps to what its former life may have lent. Nor to a primary
// that is known to be deposed: it would never end.
func (r *Replica) lend(m, ack *Message) {
	if m.Asked == 0 || r.opts.Lease == 0 || r.suspect || m.Epoch < max(r.cfg.Epoch, r.newest) {
		return
	}
	if r.hard.Lease < r.opts.Lease {
		r.hard.Lease, r.hardDirty, r.lendSeq = r.opts.Lease, true, r.seq
	}
	if r.lendSeq > r.synced && !plant.Is(plant.StrongLeaseUnsynced) {
		return
	}
	r.lentUntil = max(r.lentUntil, r.now.Mono+r.opts.Lease)
	ack.Asked, ack.Lease = m.Asked, r.opts.Lease
}

// heldSeal is the seal that waits until the promise may rise.
type heldSeal struct {
	from hashring.SID
	m    *Message
}

// hold: a later epoch's message while the promise is lent. The primary of that epoch
// sends all of it again, but it shall not have to wait for that with its seal.
func (r *Replica) hold(from hashring.SID, m *Message) {
	r.heardAt = r.now.Mono
	if m.Kind == MsgSeal && (r.held.m == nil || m.Epoch >= r.held.m.Epoch) {
		r.held = heldSeal{from, m}
	}
}

// unhold answers the seal that waited.
func (r *Replica) unhold() {
	if r.held.m == nil {
		return
	}
	if r.lends() {
		r.wake(r.lentUntil)
		return
	}
	h := r.held
	r.held = heldSeal{}
	r.Receive(h.from, h.m)
}

// onRelease: the primary of the promised epoch has no use for its lease any more.
func (r *Replica) onRelease(m *Message) {
	if m.Epoch == r.hard.Promised {
		r.lentUntil = 0
	}
}

// assertLent is S11.
func (r *Replica) assertLent(epoch uint64) {
	if r.lends() {
		assert.Fail("S11", "promise %d, %d is lent for %v", epoch, r.hard.Promised, r.lentUntil-r.now.Mono)
	}
}

// leaseAsked is what an Append of now asks by; 0: it does not.
func (r *Replica) leaseAsked() time.Duration {
	if r.opts.Lease == 0 || r.handing {
		return 0
	}
	return r.leaseClock()
}

func (r *Replica) leaseClock() time.Duration {
	switch {
	case plant.Is(plant.StrongLeaseMono):
		return r.now.Mono
	case plant.Is(plant.StrongLeaseOldClock):
		return r.before.Boot
	}
	return r.now.Boot
}

// lent counts what a store has lent to this primary.
func (r *Replica) lent(p *peer, m *Message) {
	from := m.Asked
	if plant.Is(plant.StrongLeaseFromReceipt) {
		from = r.now.Boot
	}
	if m.Lease == 0 || m.Asked > r.now.Boot && !plant.Is(plant.StrongLeaseMono) {
		return
	}
	d := min(m.Lease, r.opts.Lease)
	if !plant.Is(plant.StrongLeaseDrift) {
		d -= d / leaseDrift
	}
	p.leased = max(p.leased, from+d)
}

// leased tells that this primary holds a lease now. All that comes with a step was sent
// before the step's clock was read, and a step's state is that of one moment: so a lease
// that is held by that clock was held after the read came in.
func (r *Replica) leased() bool {
	l := r.lead
	if r.opts.Lease == 0 || !l.active || r.handing && !plant.Is(plant.StrongLeaseKept) {
		return false
	}
	now, cfg := r.leaseClock(), r.cfg
	if plant.Is(plant.StrongLeaseOneSet) {
		cfg.Sets = cfg.Sets[len(cfg.Sets)-1:]
	}
	return cfg.majority(func(s hashring.SID) bool {
		p := l.peer(s)
		return s == r.self || p != nil && p.full && now < p.leased
	})
}

// release gives back what was lent: the role ends, or is about to. First it is not used
// any more, then the lenders are told, so that the next epoch need not wait for them.
func (r *Replica) release() {
	for _, p := range r.lead.peers {
		if p.leased == 0 {
			continue
		}
		r.send(p.sid, &Message{Kind: MsgRelease, Epoch: r.lead.epoch})
		if !plant.Is(plant.StrongLeaseKept) {
			p.leased = 0
		}
	}
}
