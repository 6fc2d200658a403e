package strong

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// A store that is not scheduled for a few seconds looks as if it were dead. To depose it
// costs more work than it saves, and where all stores are that slow they would depose each
// other for ever. So the judge learns from false alarms: a store that was called silent,
// and turns out to have lived all the time, is called so for longer before it is deposed
// the next time. One that has restarted meanwhile was dead, and is deposed at once again.

const (
	// alarmAfter is when gossip is asked about a deposed store: the dead are known by then.
	alarmAfter = 10 * time.Second
	// alarmCalm takes one doubling of the doubt back.
	alarmCalm = 30 * time.Second
	// maxAlarms bounds the doublings: Doubt, up to DoubtMost.
	maxAlarms = 8
)

// suspect is a store that was deposed as silent.
type suspect struct {
	deposed time.Duration // 0: nothing to be learned at present
	boot    uint64        // its start then
	spoke   bool          // since
	alarms  int           // false ones, as of alarmed
	alarmed time.Duration
}

// depose takes note that a store is taken for dead.
func (c *court) depose(sid hashring.SID) {
	s := c.suspects[sid]
	if s == nil {
		s = &suspect{}
		c.suspects[sid] = s
	}
	if s.deposed == 0 {
		s.deposed, s.boot, s.spoke = max(c.now, 1), c.bootOf(sid), false
	}
}

// learn looks at what has become of the stores that were deposed.
func (c *court) learn() {
	for sid, s := range c.suspects { // order-free
		switch late := c.now >= s.deposed+alarmAfter; {
		case s.deposed == 0:
		case c.bootOf(sid) != s.boot:
			s.deposed = 0 // it was dead
		case s.spoke || late && c.alive(sid):
			s.alarms, s.alarmed, s.deposed = min(s.alarmsAt(c.now)+1, maxAlarms), c.now, 0
		case late:
			s.deposed = 0
		}
		if s.deposed == 0 && s.alarmsAt(c.now) == 0 {
			delete(c.suspects, sid)
		}
	}
}

func (s *suspect) alarmsAt(now time.Duration) int {
	return max(0, s.alarms-int((now-s.alarmed)/alarmCalm))
}

// bootOf is the number of a store's start as the ring state has it.
func (c *court) bootOf(sid hashring.SID) uint64 {
	for i := range c.st.Stores {
		if c.st.Stores[i].SID == sid {
			return c.st.Stores[i].Boot
		}
	}
	return 0
}

// doubt is how long a store must be called silent before it is deposed.
func (c *court) doubt(sid hashring.SID) time.Duration {
	s := c.suspects[sid]
	if s == nil || plant.Is(plant.JudgeNeverDoubts) {
		return 0
	}
	n := s.alarmsAt(c.now)
	if n == 0 {
		return 0
	}
	return min(c.opts.Doubt<<(n-1), c.opts.DoubtMost)
}

// silenced tells whether a majority of every set calls the primary silent, and has done so
// for long enough. What has not become active while many partitions are not may be slow
// because of them.
func (c *court) silenced(d *docket, part *hashring.Partition) bool {
	cfg := part.Strong
	if plant.Is(plant.JudgeOneSet) {
		cfg = &hashring.StrongConfig{Epoch: cfg.Epoch, Sets: cfg.Sets[len(cfg.Sets)-1:]}
	}
	if !everySet(cfg, func(s hashring.SID) bool { return c.callsSilent(d, s, cfg.Epoch) }) {
		return false
	}
	if d.doubt == 0 || !c.fresh(c.now, d.doubted) {
		d.doubt = max(c.now, 1) // the complaint before has ended
	}
	d.doubted = c.now
	until := d.doubt + c.doubt(part.Primary)
	if !part.Strong.Activated {
		until = max(until, d.since+c.together())
	}
	if c.now < until {
		c.wake(until)
		return false
	}
	return true
}

// together is what is added to the patience with partitions that are not active for
// their number.
func (c *court) together() time.Duration {
	return c.opts.Stuck * time.Duration(c.inactive/stuckTogether)
}

// stuckFor is how long an epoch may take to become active.
func (c *court) stuckFor(d *docket) time.Duration {
	return min(c.opts.Stuck<<max(0, d.levelAt(c.now, &c.opts)-1), c.opts.StuckMost) + c.together()
}
