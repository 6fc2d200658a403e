package strong

import (
	"slices"

	"github.com/quoratedb/quorate/hashring"
)

// Members are the stores of all sets, once each, in order.
func (c *Config) Members() []hashring.SID {
	var out []hashring.SID
	for _, set := range c.Sets {
		for _, s := range set {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// IsMember tells whether s is in a set.
func (c *Config) IsMember(s hashring.SID) bool {
	return slices.ContainsFunc(c.Sets, func(set []hashring.SID) bool { return slices.Contains(set, s) })
}

// Holds tells whether s gets the log: a member or a learner.
func (c *Config) Holds(s hashring.SID) bool { return c.IsMember(s) || slices.Contains(c.Learners, s) }

// majority tells whether in EVERY set more than half of the stores have it.
func (c *Config) majority(has func(hashring.SID) bool) bool {
	for _, set := range c.Sets {
		n := 0
		for _, s := range set {
			if has(s) {
				n++
			}
		}
		if 2*n <= len(set) {
			return false
		}
	}
	return len(c.Sets) > 0
}

// majorityOfOne tells whether in one set at least more than half of the stores have it.
func (c *Config) majorityOfOne(has func(hashring.SID) bool) bool {
	return slices.ContainsFunc(c.Sets, func(set []hashring.SID) bool { return (&Config{Sets: [][]hashring.SID{set}}).majority(has) })
}

// agreed is the highest index that in EVERY set a majority has reached.
func (c *Config) agreed(reached func(hashring.SID) uint64) uint64 {
	least := ^uint64(0)
	var room [16]uint64
	for _, set := range c.Sets {
		all := room[:0]
		for _, s := range set {
			all = append(all, reached(s))
		}
		slices.Sort(all)
		if len(all) == 0 {
			return 0
		}
		least = min(least, all[(len(all)-1)/2])
	}
	if len(c.Sets) == 0 {
		return 0
	}
	return least
}

// same tells that two configurations of one epoch agree on what the epoch fixes (S1).
func (c *Config) same(o *Config) bool {
	return c.Primary == o.Primary && c.Incarnation == o.Incarnation && slices.EqualFunc(c.Sets, o.Sets, slices.Equal[[]hashring.SID])
}
