package antientropy

import (
	"slices"
	"time"
)

// Class of background work that a pacer shares its rate over.
type Class uint8

const (
	ClassHandOff  Class = iota // hints to a target that is back
	ClassExchange              // comparing and repairing
	ClassScrub                 // reading records and trees again
	ClassRefill                // a store being built
	classCount
)

func (c Class) String() string {
	return [...]string{"handoff", "exchange", "scrub", "refill"}[c]
}

// weights of the classes while they all have work: what makes data safer goes first,
// the scrub never stands still.
var weights = [classCount]int64{4, 3, 1, 4}

const (
	quantum    = 64 << 10 // bytes of a turn for a weight of one
	burst      = 100 * time.Millisecond
	backOffNum = 3 // a window over the target: three quarters of the rate
	backOffDen = 4
	riseSteps  = 32 // a window well below it: a 32nd of the ceiling more
	calmNum    = 9  // below nine tenths of the target is well below
	calmDen    = 10
	// Background work is told from noise by what it adds to the foreground's p99 without
	// it: more than a third is too much, whatever the operator's target allows.
	addsNum    = 4
	addsDen    = 3
	quietPart  = 16      // a window with less than a 16th of the floor is one without
	learnFrom  = 50      // requests in a window whose p99 says something
	learnOver  = 8       // windows without background work that the p99 is taken over
	learnSlow  = 64      // and of those at the floor: what the floor costs is agreed
	MaxTickets = 1024    // that wait in one class; more are refused
	maxRate    = 4 << 30 // bytes a second times a second of nanoseconds fits 63 bits
	maxCost    = 1 << 30
)

// PaceConfig is the operator's.
type PaceConfig struct {
	Target  Duration // foreground p99 that background work must not push it over
	Floor   int64    // bytes a second that background work always has
	Ceiling int64    // and never exceeds
}

// Pacer is one for all background work of a shard. A unit of work asks for its bytes,
// read and shipped, and begins when its ticket is granted. The rate follows the
// foreground's p99: down by a quarter in each window over the target, up by a step in
// each window below it in which the rate was made use of (AIMD), between floor and
// ceiling. What is not used is given back, so that work which begins does so at the floor
// and not at what an idle hour allowed. Classes share the rate by deficit round robin.
type Pacer struct {
	cfg     PaceConfig
	rate    int64
	credit  int64 // bytes times nanoseconds a second: may be below 0 by one ticket
	last    Duration
	queues  [classCount][]ticket
	deficit [classCount]int64
	turn    Class
	visited bool     // the turn has its quantum
	spent   int64    // bytes granted since the last sample
	alone   Duration // the foreground's p99 without background work; 0: not known
	// Granted counts the bytes of each class.
	Granted [classCount]int64
}

type ticket struct {
	id   uint64
	cost int64
}

// NewPacer begins at the floor.
func NewPacer(cfg PaceConfig) *Pacer {
	cfg.Floor = min(max(cfg.Floor, 1), maxRate)
	cfg.Ceiling = min(max(cfg.Ceiling, cfg.Floor), maxRate)
	return &Pacer{cfg: cfg, rate: cfg.Floor}
}

// Rate is the bytes a second of now.
func (p *Pacer) Rate() int64 { return p.rate }

// Sample tells the foreground's p99 over the window that ended now, of n requests.
// Windows are the caller's, about a second each. Without requests nobody is hurt.
func (p *Pacer) Sample(now, p99 Duration, n uint64) {
	p.accrue(now)
	spent := p.spent
	p.spent = 0
	p.learn(p99, n, spent)
	target := p.Target()
	switch {
	case n > 0 && p99 > target:
		p.rate = max(p.cfg.Floor, p.rate*backOffNum/backOffDen)
	case spent < p.rate/2:
		p.rate = max(p.cfg.Floor, p.rate/2)
	case n == 0 || p99 <= target*calmNum/calmDen:
		p.rate = min(p.cfg.Ceiling, p.rate+max(1, p.cfg.Ceiling/riseSteps))
	}
}

// Target is the p99 that background work must not push the foreground over: the
// operator's, or a third above what it is without such work, if that is less.
func (p *Pacer) Target() Duration {
	if p.alone == 0 {
		return p.cfg.Target
	}
	return min(p.cfg.Target, p.alone*addsNum/addsDen)
}

// learn follows the p99 without background work. While there always is some, what the
// floor costs becomes part of it, slowly: else a foreground that has grown meanwhile would
// keep the work at the floor for as long as it takes.
func (p *Pacer) learn(p99 Duration, n uint64, spent int64) {
	switch {
	case n < learnFrom:
	case spent <= p.cfg.Floor/quietPart && p.alone == 0:
		p.alone = p99
	case spent <= p.cfg.Floor/quietPart:
		p.alone += (p99 - p.alone) / learnOver
	case p.rate == p.cfg.Floor && p.alone != 0:
		p.alone += (p99 - p.alone) / learnSlow
	}
}

func (p *Pacer) accrue(now Duration) {
	elapsed, most := int64(now-p.last), p.rate*int64(burst)
	p.last = max(p.last, now)
	switch {
	case elapsed <= 0:
	case elapsed >= (most-p.credit)/p.rate: // also: the product below cannot overflow
		p.credit = most
	default:
		p.credit += p.rate * elapsed
	}
}

// Ask queues a unit of work; it begins when Grants names its id. cost is about its
// bytes. False: too many wait, try again later.
func (p *Pacer) Ask(c Class, id uint64, cost int64) bool {
	if len(p.queues[c]) >= MaxTickets {
		return false
	}
	p.queues[c] = append(p.queues[c], ticket{id, min(max(cost, 1), maxCost)})
	return true
}

// Cancel takes back what has not been granted.
func (p *Pacer) Cancel(c Class, id uint64) {
	p.queues[c] = slices.DeleteFunc(p.queues[c], func(t ticket) bool { return t.id == id })
}

// Grants names the work that may begin now, and when to ask again (0: nothing waits).
func (p *Pacer) Grants(now Duration) (ids []uint64, wake Duration) {
	p.accrue(now)
	for p.waiting() {
		if p.credit <= 0 {
			return ids, now + 1 + Duration(-p.credit/p.rate)
		}
		if id, ok := p.serveTurn(); ok {
			ids = append(ids, id)
		}
	}
	return ids, 0
}

func (p *Pacer) waiting() bool {
	for i := range p.queues {
		if len(p.queues[i]) > 0 {
			return true
		}
	}
	return false
}

// serveTurn grants the head of the class whose turn it is, or passes the turn on.
func (p *Pacer) serveTurn() (uint64, bool) {
	c := p.turn
	if len(p.queues[c]) == 0 {
		p.deficit[c] = 0 // what was saved up is not kept for later
		p.pass()
		return 0, false
	}
	if !p.visited {
		p.deficit[c] += quantum * weights[c]
		p.visited = true
	}
	head := p.queues[c][0]
	if head.cost > p.deficit[c] {
		p.pass()
		return 0, false
	}
	p.queues[c] = p.queues[c][1:]
	p.deficit[c] -= head.cost
	p.credit -= head.cost * int64(time.Second)
	p.Granted[c] += head.cost
	p.spent += head.cost
	return head.id, true
}

func (p *Pacer) pass() {
	p.turn = (p.turn + 1) % classCount
	p.visited = false
}

// Charge corrects a granted unit's cost by what it took beyond it, or less: more < 0.
func (p *Pacer) Charge(c Class, more int64) {
	more = min(max(more, -maxCost), maxCost)
	p.credit -= more * int64(time.Second)
	p.deficit[c] -= more
	p.Granted[c] += more
	p.spent += more
}
