package core

import (
	"errors"
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
)

// plan is where a key lives and what its bucket wants, at one ring version.
type plan struct {
	bucket    *hashring.Bucket
	hash      uint64
	partition uint32
	owners    []hashring.SID  // of the bucket's n, who get every write; shared with the ring
	full      []hashring.SID  // those of them that count; likewise
	roles     []hashring.Role // of owners; nil when all are full
	epoch     uint64
	// The default R and W, of the ring that the plan was made by: with the owners of one
	// ring and the quorum of another a write could need no copy at all.
	read, write int
}

func (c *Core) plan(bucket *hashring.Bucket, key []byte) plan {
	pl := plan{bucket: bucket, hash: hashring.Hash(bucket.Name, key)}
	pl.partition = c.ring.PartitionOf(pl.hash)
	n := c.ring.N(bucket, pl.partition)
	pl.owners, pl.full = c.ring.Owners(pl.partition, n), c.ring.Full(pl.partition, n)
	if len(pl.full) < len(pl.owners) {
		pl.roles = c.ring.Roles(pl.partition, n)
	}
	pl.read, pl.write = c.ring.Quorum(pl.partition, n)
	pl.epoch = c.ring.Partitions[pl.partition].PlanEpoch()
	return pl
}

func (pl *plan) owns(s hashring.SID) bool { return isIn(pl.owners, s) }

// leads tells whether a store may coordinate writes of the key as an owner, and answer
// for it: it is full.
func (pl *plan) leads(s hashring.SID) bool {
	return isIn(pl.full, s) || plant.Is(plant.BuildingAnswers) && pl.owns(s)
}

// isIn is slices.Contains without its generic comparison: this is on every road.
func isIn(list []hashring.SID, s hashring.SID) bool {
	for i := range list {
		if list[i] == s {
			return true
		}
	}
	return false
}

// place is what this store is to a partition for buckets with n owners; false: nothing.
func (c *Core) place(p uint32, n int) (hashring.Role, bool) {
	owners, roles := c.ring.Owners(p, n), c.ring.Roles(p, n)
	for i := range owners {
		if owners[i] == c.cfg.Self {
			return roles[i], true
		}
	}
	return hashring.Out, false
}

// targetNow is the store that gets what was kept for sid: sid itself, or the store that
// took its place. False: there is none any more, so its hints go to the owners of now.
// A store that is out keeps its hints waiting: whoever takes its place gets them.
func (c *Core) targetNow(sid hashring.SID) (hashring.SID, bool) {
	now, ok := c.ring.Successor(sid)
	if !ok {
		return hashring.SID{}, false
	}
	st, ok := c.ring.Store(now)
	return now, ok && st.State != hashring.StoreRetired
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

// errNotFull is that there would be enough owners, and too few of them are full now:
// others are being built, or suspect. It passes.
var errNotFull = errors.New("being built or suspect")

// readPolicy resolves what a read and its bucket ask for, counted over full owners.
func (c *Core) readPolicy(pl *plan, r *Request) (quorum.Policy, error) {
	return c.policy(pl, r, r.R, pl.bucket.R, pl.read)
}

// writePolicy is the same for a write.
func (c *Core) writePolicy(pl *plan, r *Request) (quorum.Policy, error) {
	return c.policy(pl, r, r.W, pl.bucket.W, pl.write)
}

// policy: asking for more than there is, is the client's mistake: quorum_impossible.
func (c *Core) policy(pl *plan, r *Request, asked Count, byBucket, byDefault int) (quorum.Policy, error) {
	n := len(pl.full)
	p := quorum.Policy{N: n, Need: byBucket, PW: int(r.PW), Sloppy: pl.bucket.Sloppy}
	switch {
	case asked == All:
		p.Need = n
	case asked > 0:
		p.Need = int(asked)
	case byBucket == 0:
		p.Need = byDefault
	}
	if r.PW == All {
		p.PW = n
	}
	if r.Sloppy != Unset {
		p.Sloppy = r.Sloppy == Yes
	}
	switch most := max(p.Need, p.PW, 1); {
	case most > len(pl.owners):
		return p, fmt.Errorf("%d replicas were asked for and the key has %d", most, len(pl.owners))
	case most > n:
		return p, fmt.Errorf("%d replicas are needed and %d of the key's %d are %w", most, len(pl.owners)-n, len(pl.owners), errNotFull)
	}
	return p, nil
}

// impossible refuses a request whose policy cannot be had.
func (c *Core) impossible(to origin, r *Request, pl *plan, err error) {
	code := QuorumImpossible
	if errors.Is(err, errNotFull) {
		code = QuorumUnavailable
	}
	c.refuse(to, r, pl.partition, code, err.Error())
}

// deadlineOf is when the client stops waiting.
func (c *Core) deadlineOf(r *Request) time.Duration {
	t := r.Timeout
	if t <= 0 {
		t = DefaultDeadline
	}
	return c.now.Mono + min(t, MaxDeadline)
}
