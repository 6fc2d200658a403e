package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// Hedging: a read asks R owners; when one of them is later than 95 in 100 of its
// answers were, a spare owner is asked too, and the first answer wins. At most one
// read in twenty, over a while: when all owners are late, asking more of them makes
// all of them later.
const (
	hedgeMin   = 2 * time.Millisecond // never sooner: a spare read costs as much as a read
	hedgeShare = 20                   // one spare read in so many
	hedgeBurst = 10                   // spare reads at once, when none was needed for long
	// shunFrom is how much later than another owner one must be to be asked after it.
	shunFactor = 2
	shunFrom   = time.Millisecond
	// lookAgain is how often an owner that is asked after others is asked in its turn:
	// else nobody would learn that it is well again.
	lookAgain = 16
)

// pace is how fast the other stores answer reads, and what may be spent on the late.
type pace struct {
	p95    map[hashring.SID]*quantile // of the ring's stores
	credit int                        // in shares of a spare read
	reads  uint64
}

func newPace() pace {
	return pace{p95: map[hashring.SID]*quantile{}, credit: hedgeShare * hedgeBurst}
}

// forget drops the stores that are not in the ring.
func (p *pace) forget(r *hashring.Ring) {
	for s := range p.p95 { // order-free: it only drops
		if _, in := r.Store(s); !in {
			delete(p.p95, s)
		}
	}
}

// took: store s answered after d, or has not answered for d.
func (p *pace) took(s hashring.SID, d time.Duration) {
	q := p.p95[s]
	if q == nil {
		q = &quantile{}
		p.p95[s] = q
	}
	q.add(d)
}

func (p *pace) of(s hashring.SID) time.Duration {
	if q := p.p95[s]; q != nil {
		return q.estimate
	}
	return 0
}

// began counts a read.
func (p *pace) began() {
	p.reads++
	p.credit = min(p.credit+1, hedgeShare*hedgeBurst)
}

// spend takes a spare read from the budget.
func (p *pace) spend() bool {
	if p.credit < hedgeShare {
		return false
	}
	p.credit -= hedgeShare
	return true
}

// hedgeAfter is when one of the stores that a read waits for is late.
func (p *pace) hedgeAfter(waiting []hashring.SID) time.Duration {
	d := hedgeMin
	for _, s := range waiting {
		d = max(d, p.of(s))
	}
	return d
}

// shun moves a store that answers much later than the one behind it by one place.
// The first is this store itself or the one whose turn it is; it stays.
func (p *pace) shun(order []hashring.SID) {
	if p.reads%lookAgain == 0 {
		return
	}
	for i := len(order) - 2; i > 0; i-- {
		if p.of(order[i]) > shunFactor*p.of(order[i+1])+shunFrom {
			order[i], order[i+1] = order[i+1], order[i]
		}
	}
}
