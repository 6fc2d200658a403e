package core

import (
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// MaxSkew is how far a fresh write's stamp in a last-write-wins bucket may be ahead of
// a wall clock (E9). One clock that is an hour ahead would else make all later writes to
// what it touched vanish for an hour, though they were acked. Hints, repairs and exchanges
// are never looked at: what was acked must spread, whatever its stamp.
const MaxSkew = 500 * time.Millisecond

// aheadMS is how far a stamp is ahead of this node's wall clock, in milliseconds.
func (c *Core) aheadMS(h version.HLC) int64 { return h.MS() - c.now.WallMS }

// clocksChecked: binaries that do not know the refusals may be in the cluster below
// that level.
func (c *Core) clocksChecked(b *hashring.Bucket) bool {
	return b.Conflict == hashring.LWW && c.ring.Feature >= hashring.FeatureBuilding && !plant.Is(plant.SkewTaken)
}

// skewed says why a fresh write cannot be stamped here, "" when it can: its stamp must
// be above what it replaces and what its client has seen. That it must be above all that
// was issued here too is no reason: a clock that was set back goes on from its durable
// bound, and only its replicas can tell whether that is ahead.
func (c *Core) skewed(pl *plan, r *Request, local *version.Object) string {
	if !c.clocksChecked(pl.bucket) || findRequest(local, r.ID) != nil {
		return ""
	}
	ms := c.aheadMS(max(local.MaxHLC(), r.Context.HLC))
	if ms <= MaxSkew.Milliseconds() {
		return ""
	}
	c.stats.SkewRefused++
	return fmt.Sprintf("the write's stamp would be %d ms ahead of this node's clock, and %d ms is the most in a last-write-wins bucket", ms, MaxSkew.Milliseconds())
}

// tooFresh is the same at a replica: a coordinator's clock may be the wrong one. Only
// fresh writes carry what is left of their deadline.
func (c *Core) tooFresh(m *Message, b *hashring.Bucket) quorum.Reason {
	if m.Timeout <= 0 || !c.clocksChecked(b) || c.aheadMS(m.Object.MaxHLC()) <= MaxSkew.Milliseconds() {
		return quorum.ReasonNone
	}
	c.stats.SkewRefused++
	return quorum.ReasonClockSkew
}
