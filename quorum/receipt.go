package quorum

import (
	"strconv"

	"github.com/quoratedb/quorate/hashring"
)

// Receipt is what really happened to a request, counted by store.
type Receipt struct {
	N         int // full owners the key has
	Need      int // W or R that was asked for
	Acks      int // distinct stores that counted
	Owners    int // of which owners
	Fallbacks int // of which stand-ins holding a hint
	Synced    int // writes: stores that had fsynced before they acked
}

// Append appends the receipt as its header shows it.
func (r Receipt) Append(b []byte) []byte {
	for i, f := range [...]struct {
		name string
		v    int
	}{{"n", r.N}, {"need", r.Need}, {"acks", r.Acks}, {"owners", r.Owners}, {"fallbacks", r.Fallbacks}, {"synced", r.Synced}} {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, f.name...)
		b = append(b, '=')
		b = strconv.AppendInt(b, int64(f.v), 10)
	}
	return b
}

func (r Receipt) String() string { return string(r.Append(nil)) }

// Failure is one store that did not count, and why.
type Failure struct {
	Store  hashring.SID
	Reason Reason
}

// Reason is why a replica did not count; closed, so that it can be a metric label.
type Reason uint8

const (
	ReasonNone        Reason = iota
	ReasonUnreachable        // connection refused, reset, or gossip says down
	ReasonTimeout            // asked, no answer yet
	ReasonStaleEpoch         // it refused a plan made under an older epoch
	ReasonRingBehind         // it does not know the ring version of the plan yet
	ReasonNotOwner           // it does not own the partition
	ReasonStarting           // its boot is not registered yet (D6)
	ReasonCorrupt            // its record is quarantined (D4)
	ReasonNoSpace            // below its reserve of free space (D3)
	ReasonOverloaded         // a bound was reached
	ReasonHintBudget         // it holds no more hints
	ReasonSiblings           // the key is at its cap of siblings (E15)
	ReasonTooLarge           // the object with all siblings is at its cap
	ReasonLate               // the forward may be older than its sender's patience (E16)
	ReasonBuilding           // it is being built: what it has is not all there is (E6b, E13)
	ReasonSuspect            // its store is suspect or retired: nothing it says counts (D2)
	ReasonClockSkew          // the write's stamp is too far ahead of its wall clock (E9)
	reasonCount
)

var reasonNames = [reasonCount]string{"none", "unreachable", "timeout", "stale_epoch", "ring_behind", "not_owner",
	"starting", "corrupt", "no_space", "overloaded", "hint_budget", "sibling_limit", "object_too_large", "late",
	"building", "suspect", "clock_skew"}

func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return "unknown"
}
