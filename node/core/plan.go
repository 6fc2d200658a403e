package core

import (
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
)

// plan is where a key lives and what its bucket wants, at one ring version.
type plan struct {
	bucket    *hashring.Bucket
	hash      uint64
	partition uint32
	owners    []hashring.SID // of the bucket's n; shared with the ring
	epoch     uint64
}

func (c *Core) plan(bucket *hashring.Bucket, key []byte) plan {
	pl := plan{bucket: bucket, hash: hashring.Hash(bucket.Name, key)}
	pl.partition = c.ring.PartitionOf(pl.hash)
	pl.owners = c.ring.Owners(pl.partition, c.ring.N(bucket, pl.partition))
	pl.epoch = c.ring.Partitions[pl.partition].Epoch
	return pl
}

func (pl *plan) owns(s hashring.SID) bool {
	for _, o := range pl.owners {
		if o == s {
			return true
		}
	}
	return false
}

// reachable is the coordinator's guess: gossip says alive, and nothing was missed
// lately. It narrows whom to ask; it never decides what counts.
func (c *Core) reachable(s hashring.SID) bool {
	if s == c.cfg.Self {
		return true
	}
	if until, ok := c.suspects[s]; ok {
		if c.now.Mono < until {
			return false
		}
		delete(c.suspects, s)
	}
	if c.view == nil {
		return true
	}
	alive, known := c.view.Alive[s]
	return alive || !known // a store that gossip has not met yet is worth a try
}

// suspect keeps requests away from a store for a moment (DESIGN: A GET). Any
// message from it clears it.
func (c *Core) suspect(s hashring.SID) {
	c.suspects[s] = c.now.Mono + suspectFor
	c.stats.Suspicions++
}

// fallbacks are the stores that may stand in. Unreachable ones are only filtered
// when one is likely to be needed: the common write allocates nothing here.
func (c *Core) fallbacks(pl *plan) []hashring.SID {
	all := c.ring.Fallbacks(pl.partition, len(pl.owners))
	for _, o := range pl.owners {
		if !c.reachable(o) {
			return c.onlyReachable(all)
		}
	}
	return all
}

func (c *Core) onlyReachable(all []hashring.SID) []hashring.SID {
	out := make([]hashring.SID, 0, len(all))
	for _, s := range all {
		if c.reachable(s) {
			out = append(out, s)
		}
	}
	return out
}

// policy resolves what the request and its bucket ask for. Asking for more than
// there is, is the client's mistake: quorum_impossible.
func (c *Core) policy(pl *plan, r *Request, asked Count, byDefault int) (quorum.Policy, error) {
	n := len(pl.owners)
	p := quorum.Policy{N: n, Need: byDefault, PW: int(r.PW), Sloppy: pl.bucket.Sloppy}
	switch {
	case asked == All:
		p.Need = n
	case asked > 0:
		p.Need = int(asked)
	case byDefault == 0:
		p.Need = hashring.Majority(n)
	}
	if r.PW == All {
		p.PW = n
	}
	if r.Sloppy != Unset {
		p.Sloppy = r.Sloppy == Yes
	}
	if p.Need > n || p.PW > n {
		return p, fmt.Errorf("%d replicas were asked for and the key has %d", max(p.Need, p.PW), n)
	}
	return p, nil
}

// deadlineOf is when the client stops waiting.
func (c *Core) deadlineOf(r *Request) time.Duration {
	t := r.Timeout
	if t <= 0 {
		t = DefaultDeadline
	}
	return c.now.Mono + min(t, MaxDeadline)
}
