package check

import "fmt"

// The kinds of violation.
const (
	// BrokenHistory: the history itself contradicts what checkers rely on.
	BrokenHistory = "BROKEN_HISTORY"
	// NotLinearizable: no order of the operations explains the answers.
	NotLinearizable = "NOT_LINEARIZABLE"
	// Stale: a read misses what it had to see.
	Stale = "STALE"
	// Disorder: a write got a version below one that was there before it was called.
	Disorder = "ORDER"
	// Duplicate: two values under one version, or one write under two.
	Duplicate = "DUPLICATE"
	// Phantom: a value that nobody wrote there, or not yet.
	Phantom = "PHANTOM"
	// RefusedYetSeen: the effect of a write that was refused for certain.
	RefusedYetSeen = "REFUSED_YET_SEEN"
	// LostUpdate: a CAS succeeded over something else than it compared with.
	LostUpdate = "LOST_UPDATE"
	// FalseMismatch: a CAS was refused though it named the current value.
	FalseMismatch = "FALSE_MISMATCH"
	// Lost: an acked write is gone, and no write that had seen it replaced it.
	Lost = "LOST"
	// Resurrected: a value is there beside a write that had replaced it.
	Resurrected = "RESURRECTED"
	// Diverged: replicas of a key differ.
	Diverged = "DIVERGED"
	// SessionBroken: a read went behind what its token covers.
	SessionBroken = "SESSION"
	// Miscount: no set of the increments that may be in it makes a counter's sum.
	Miscount = "MISCOUNT"
	// TwoHolders: a lock was given away while somebody held it.
	TwoHolders = "TWO_HOLDERS"
	// TooManySiblings: more values than the cap, or one of them twice.
	TooManySiblings = "SIBLINGS"
)

// Violation is one broken promise.
type Violation struct {
	Check       string // the checker: "registers", "versions", "eventual", ...
	Kind        string // one of the constants of this package
	Bucket, Key string
	Detail      string // one sentence for a person
	Ops         []int  // positions in the history, the guilty one first
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s of %s/%s: %s %v", v.Check, v.Kind, v.Bucket, v.Key, v.Detail, v.Ops)
}

// MaxViolations is the most that one checker reports: after the first few the rest
// is noise, and a store that is broken everywhere must not fill the memory.
const MaxViolations = 100

// findings gathers the violations of one checker.
type findings struct {
	check string
	list  []Violation
	more  int
}

func (f *findings) add(kind string, key KeyRef, ops []int, format string, args ...any) {
	if len(f.list) >= MaxViolations {
		f.more++
		return
	}
	f.list = append(f.list, Violation{f.check, kind, key.Bucket, key.Key, fmt.Sprintf(format, args...), ops})
}

func (f *findings) done() []Violation {
	if f.more > 0 {
		f.list[len(f.list)-1].Detail += fmt.Sprintf(" (and %d more violations)", f.more)
	}
	return f.list
}
