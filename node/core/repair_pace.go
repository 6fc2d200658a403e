package core

import (
	"math/bits"
	"time"

	"github.com/quoratedb/quorate/antientropy"
)

// What the operator has not said. The floor lets a store of a few GB be filled within
// an hour under any load; the ceiling is below what one disk and link can do.
const (
	defaultRepairTarget  = 25 * time.Millisecond
	defaultRepairFloor   = 4 << 20
	defaultRepairCeiling = 128 << 20
)

// pacing is the shard's pacer, what waits for it, and the foreground that it follows:
// how long client requests took that were coordinated here, from arrival to answer.
type pacing struct {
	pacer   *antientropy.Pacer
	work    map[uint64]func() // by ticket
	tickets uint64
	asked   bool          // since the last grant
	wake    time.Duration // of the timer that is set
	took    latencies
	p99     time.Duration // of the last window
}

func newPacing(cfg *Config) pacing {
	shards := int64(max(cfg.Shards, 1))
	pick := func(n, or int64) int64 {
		if n == 0 {
			n = or
		}
		return max(n/shards, 1)
	}
	target := cfg.RepairTarget
	if target == 0 {
		target = defaultRepairTarget
	}
	return pacing{pacer: antientropy.NewPacer(antientropy.PaceConfig{Target: target, Floor: pick(cfg.RepairFloor, defaultRepairFloor),
		Ceiling: pick(cfg.RepairCeiling, defaultRepairCeiling)}), work: map[uint64]func(){}}
}

// pay does a piece of background work once the pacer grants its bytes, read and
// shipped, in this step at the earliest. What it really took is charged afterwards.
func (c *Core) pay(class antientropy.Class, bytes int64, do func()) {
	g := &c.repair.pace
	g.tickets++
	if !g.pacer.Ask(class, g.tickets, bytes) {
		do() // as many wait as may: some hundred times what the bounds of all work let through
		return
	}
	g.work[g.tickets] = do
	g.asked = true
}

func (g *pacing) charge(class antientropy.Class, more int64) { g.pacer.Charge(class, more) }

// grant does what may be done now, and sets the timer for the rest.
func (c *Core) grant() {
	g := &c.repair.pace
	g.asked = false
	ids, wake := g.pacer.Grants(c.now.Mono)
	for _, id := range ids {
		do := g.work[id]
		delete(g.work, id)
		do()
	}
	if wake > 0 && (g.wake <= c.now.Mono || wake < g.wake) {
		g.wake = wake
		c.timers.add(wake, 0, timerPace)
	}
}

// sample gives the pacer the window that ends now.
func (g *pacing) sample(now time.Duration) {
	p99, n := g.took.p99()
	g.p99 = p99
	g.pacer.Sample(now, p99, n)
	g.took = latencies{}
	g.asked = g.asked || len(g.work) > 0
}

// latencies is a histogram of microseconds with four steps to each doubling.
type latencies struct {
	counts [4 * 40]uint32
	n      uint64
}

func (l *latencies) add(d time.Duration) {
	us := uint64(max(d, 0) / time.Microsecond)
	at := us
	if us >= 4 {
		top := bits.Len64(us) - 1
		at = uint64(4*(top-1)) + us>>(top-2)&3
	}
	l.counts[min(at, uint64(len(l.counts)-1))]++
	l.n++
}

// p99 is the upper end of the step in which it lies.
func (l *latencies) p99() (time.Duration, uint64) {
	if l.n == 0 {
		return 0, 0
	}
	rest := l.n / 100 // that may be above
	for at := len(l.counts) - 1; ; at-- {
		if n := uint64(l.counts[at]); n > rest {
			return upperEnd(at), l.n
		} else {
			rest -= n
		}
	}
}

func upperEnd(at int) time.Duration {
	if at < 4 {
		return time.Duration(at+1) * time.Microsecond
	}
	top := at/4 + 1
	return time.Duration(uint64(at%4+5)<<(top-2)) * time.Microsecond
}
