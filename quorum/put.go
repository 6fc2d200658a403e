package quorum

import (
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// Put counts the acks of one write (E2, E4): every owner has a slot; a slot whose owner
// cannot be had is given to a stand-in that keeps a hint. An ack means synced. A store
// counts once, whatever it stands in for. Only slots of full owners count: a store that
// is being built is asked and waited for like the others and adds nothing, nor does a
// stand-in of it; one that is out is not asked, a stand-in keeps a hint for it.
type Put struct {
	policy Policy
	slots  []putSlot
	spare  []hashring.SID // fallbacks not used yet, nearest first
	used   []hashring.SID // stand-ins in use, for slots that find no spare one
	next   int            // round robin over used
	asks   []Ask

	// Room for the slots and first asks of a write on three owners: one allocation
	// instead of five.
	slotRoom [inline]putSlot
	askRoom  [inline]Ask
}

// inline is how many owners a machine has room for; more are allocated.
const inline = 3

type putSlot struct {
	owner  hashring.SID
	role   hashring.Role
	own    answer
	reason Reason

	stand       hashring.SID
	standAnswer answer
	standReason Reason

	forsaken bool // Forsaken has named the owner
}

// NewPut plans a write on owners, those of the partition's list that the bucket has,
// with their roles (nil: all are full; policy.N is how many are) and the live fallbacks
// in clockwise order. The first asks are ready to be taken.
func NewPut(policy Policy, owners []hashring.SID, roles []hashring.Role, fallbacks []hashring.SID, reachable func(hashring.SID) bool) *Put {
	p := &Put{policy: policy, spare: fallbacks}
	p.asks = p.askRoom[:0]
	if p.slots = p.slotRoom[:min(len(owners), inline)]; len(owners) > inline {
		p.slots = make([]putSlot, len(owners))
	}
	for i, o := range owners {
		s := &p.slots[i]
		s.owner = o
		if roles != nil {
			s.role = roles[i]
		}
		switch {
		case s.role == hashring.Out:
			s.own, s.reason = failed, ReasonSuspect
		case reachable(o):
			s.own = asked
			p.asks = append(p.asks, Ask{To: o})
		default:
			s.own, s.reason = failed, ReasonUnreachable
		}
	}
	p.standInAll(true) // those that count choose first
	if roles != nil {
		p.standInAll(false)
	}
	return p
}

// standInAll finds stand-ins for the slots whose owner cannot be had from the start.
func (p *Put) standInAll(full bool) {
	for i := range p.slots {
		if s := &p.slots[i]; s.own == failed && s.full() == full {
			p.standIn(s)
		}
	}
}

// full tells whether the slot counts.
func (s *putSlot) full() bool {
	return s.role == hashring.Full || plant.Is(plant.BuildingCounts) && s.role == hashring.Building
}

// Take returns the stores to ask now and forgets them.
func (p *Put) Take() []Ask {
	a := p.asks
	p.asks = nil // not the room: the caller is still going through it when more come
	return a
}

// Ack: from has synced the object, as an owner (target zero) or for target.
func (p *Put) Ack(from, target hashring.SID) {
	if s := p.slot(from, target); s != nil {
		if plant.Is(plant.AckTwice) && target.IsZero() && s.own == acked {
			p.policy.Need--
		}
		if target.IsZero() {
			s.own = acked
		} else {
			s.standAnswer = acked
		}
	}
}

// Fail: from did not take the object. An owner's slot goes to a stand-in, a
// stand-in's to the next one.
func (p *Put) Fail(from, target hashring.SID, why Reason) {
	s := p.slot(from, target)
	switch {
	case s == nil:
	case target.IsZero() && s.own == asked:
		s.own, s.reason = failed, why
		if s.standAnswer != asked && s.standAnswer != acked {
			p.standIn(s)
		}
	case !target.IsZero() && s.standAnswer == asked:
		s.standAnswer, s.standReason = failed, why
		p.standIn(s)
	}
}

// Late: from has been asked as an owner and is overdue. A stand-in is asked beside
// it; the owner's ack still counts if it comes.
func (p *Put) Late(from hashring.SID) {
	if s := p.slot(from, hashring.SID{}); s != nil && s.own == asked && s.standAnswer == idle {
		s.reason = ReasonTimeout
		p.standIn(s)
	}
}

// Waiting lists the owners that have been asked and have not answered.
func (p *Put) Waiting() (owners []hashring.SID) {
	for i := range p.slots {
		if p.slots[i].own == asked {
			owners = append(owners, p.slots[i].owner)
		}
	}
	return owners
}

// Forsaken lists the owners that have not taken the object and for which no store keeps
// it: they have failed, and nobody stands in for them. With over set, no more answers
// are waited for: who has not answered has failed. Each is named once.
func (p *Put) Forsaken(over bool) (owners []hashring.SID) {
	for i := range p.slots {
		s := &p.slots[i]
		gone := s.own == failed || over && s.own == asked
		kept := s.standAnswer == acked || !over && s.standAnswer == asked
		if gone && !kept && !s.forsaken {
			s.forsaken = true
			owners = append(owners, s.owner)
		}
	}
	return owners
}

// Done tells that nothing is outstanding any more.
func (p *Put) Done() bool {
	for i := range p.slots {
		if p.slots[i].own == asked || p.slots[i].standAnswer == asked {
			return false
		}
	}
	return true
}

func (p *Put) slot(from, target hashring.SID) *putSlot {
	for i := range p.slots {
		s := &p.slots[i]
		if target.IsZero() && s.owner == from && s.role != hashring.Out || !target.IsZero() && s.owner == target && s.stand == from {
			return s
		}
	}
	return nil
}

// standIn gives the slot to the next fallback; when all are in use one of them
// keeps a second hint, which helps convergence and counts for nothing (F47).
func (p *Put) standIn(s *putSlot) {
	switch {
	case len(p.spare) > 0:
		s.stand, p.spare = p.spare[0], p.spare[1:]
		p.used = append(p.used, s.stand)
	case s.standAnswer == failed || len(p.used) == 0:
		return // its last chance has failed, or there is nobody
	default:
		s.stand = p.again(s)
	}
	s.standAnswer = asked
	p.asks = append(p.asks, Ask{To: s.stand, Target: s.owner})
}

// again chooses among the stand-ins in use: for a slot that counts first one that does
// not count yet, else one after the other.
func (p *Put) again(s *putSlot) hashring.SID {
	for _, u := range p.used {
		if s.full() && !slices.ContainsFunc(p.slots, func(t putSlot) bool { return t.full() && t.stand == u }) {
			return u
		}
	}
	p.next++
	return p.used[(p.next-1)%len(p.used)]
}

// count is how many distinct stores count if every answer in the given set does.
func (p *Put) count(own, stand func(answer) bool) (owners, fallbacks int) {
	for i := range p.slots {
		s := &p.slots[i]
		switch {
		case !s.full():
		case own(s.own):
			owners++
		case stand(s.standAnswer) && !p.counted(i, own, stand):
			fallbacks++
		}
	}
	return owners, fallbacks
}

// counted tells whether slot i's stand-in has been counted for an earlier slot.
func (p *Put) counted(i int, own, stand func(answer) bool) bool {
	if plant.Is(plant.StandInTwice) {
		return false
	}
	for j := range p.slots[:i] {
		if t := &p.slots[j]; t.full() && !own(t.own) && stand(t.standAnswer) && t.stand == p.slots[i].stand {
			return true
		}
	}
	return false
}

func isAcked(a answer) bool { return a == acked }
func isOpen(a answer) bool  { return a == acked || a == asked }

// Verdict: won with Need distinct stores, PW of them full owners.
func (p *Put) Verdict() Verdict {
	owners, fallbacks := p.count(isAcked, isAcked)
	if p.enough(owners, fallbacks) {
		return Won
	}
	if owners, fallbacks = p.count(isOpen, isOpen); p.enough(owners, fallbacks) {
		return Pending
	}
	return Lost
}

func (p *Put) enough(owners, fallbacks int) bool {
	if !p.policy.Sloppy && !plant.Is(plant.StrictCountsHints) {
		fallbacks = 0
	}
	return owners+fallbacks >= p.policy.Need && (owners >= p.policy.PW || plant.Is(plant.PrimaryWritesWaived))
}

// Receipt counts what has been acked so far. In a strict write fallbacks are shown
// and do not count as acks.
func (p *Put) Receipt() Receipt {
	owners, fallbacks := p.count(isAcked, isAcked)
	r := Receipt{N: p.policy.N, Need: p.policy.Need, Acks: owners, Owners: owners, Fallbacks: fallbacks, Synced: owners + fallbacks}
	if p.policy.Sloppy {
		r.Acks += fallbacks
	}
	return r
}

// Failures lists the owners that have not acked, and stand-ins that refused.
func (p *Put) Failures() (out []Failure) {
	for i := range p.slots {
		s := &p.slots[i]
		switch {
		case s.own == failed:
			out = append(out, Failure{s.owner, s.reason})
		case s.own == asked:
			out = append(out, Failure{s.owner, ReasonTimeout})
		}
		if s.standAnswer == failed {
			out = append(out, Failure{s.stand, s.standReason})
		}
	}
	return out
}
