package peer

import (
	"fmt"

	"github.com/quoratedb/quorate/hashring"
)

// Refusal is why a hello was refused. The numbers are the wire's.
type Refusal byte

const (
	Accepted       Refusal = 0
	RefusedVersion Refusal = 1 // no common protocol version
	RefusedCluster Refusal = 2 // another cluster, or none yet
	RefusedTarget  Refusal = 3 // another store answers at that address
	RefusedClone   Refusal = 4 // both sides have one store id: a copied data directory
	RefusedCheck   Refusal = 5 // Config.Check said no
	RefusedKind    Refusal = 6 // a kind of connection this binary does not know
	RefusedBusy    Refusal = 7 // too many peers or streams
)

// RefusedError is a hello that was refused, by the far side or by this one.
type RefusedError struct {
	Code   Refusal
	Reason string // for a person, with both sides' values
	Remote Hello
}

func (e *RefusedError) Error() string { return "peer refused: " + e.Reason }

// judge decides on the far side's hello; both ends run it. target is the store
// that was meant, and mine answers for it when this end accepted.
func (t *Transport) judge(k kind, mine, theirs Hello) *RefusedError {
	refuse := func(code Refusal, format string, args ...any) *RefusedError {
		return &RefusedError{Code: code, Reason: fmt.Sprintf(format, args...), Remote: theirs}
	}
	switch k {
	case kindMessages, kindBulk, kindControl, kindRaft:
	default:
		return refuse(RefusedKind, "connection kind %d is not known to %s", byte(k), mine.Node)
	}
	if mine.Min > theirs.Max || theirs.Min > mine.Max {
		return refuse(RefusedVersion, "no common protocol version: %s speaks %d to %d, %s speaks %d to %d",
			mine.Node, mine.Min, mine.Max, theirs.Node, theirs.Min, theirs.Max)
	}
	if k != kindControl && mine.SID == theirs.SID {
		return refuse(RefusedClone, "store %s is at %s and at %s: one of the data directories is a copy", mine.SID, mine.Node, theirs.Node)
	}
	if foreign(k, mine.Cluster, theirs.Cluster) {
		return refuse(RefusedCluster, "%s is in cluster %s, %s is in cluster %s", mine.Node, name(mine.Cluster), theirs.Node, name(theirs.Cluster))
	}
	if t.cfg.Check != nil {
		if err := t.cfg.Check(theirs); err != nil {
			return refuse(RefusedCheck, "%s", err)
		}
	}
	return nil
}

// foreign tells that two cluster ids may not share a connection of kind k: a node
// without a cluster yet may only call.
func foreign(k kind, a, b hashring.ClusterID) bool {
	if k == kindControl && (a.IsZero() || b.IsZero()) {
		return false
	}
	return a != b || a.IsZero()
}

func name(c hashring.ClusterID) string {
	if c.IsZero() {
		return "(none yet)"
	}
	return c.String()
}
