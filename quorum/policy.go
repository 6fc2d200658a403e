// Package quorum is the arithmetic of a request: which stores to ask, what counts,
// when it is enough and when it can no longer be. The machines are opaque values
// that are told what happened and are asked four things: whom to ask next, the
// verdict, the receipt, and who failed. They know neither network nor time, so
// their tests are tables of answers in some order.
package quorum

import "github.com/quoratedb/quorate/hashring"

// Policy is what one request needs.
type Policy struct {
	N      int  // full owners the key has
	Need   int  // W or R: distinct stores that must count
	PW     int  // writes: at least so many of them owners
	Sloppy bool // fallbacks count
}

// Verdict has three values: a bool would have to guess while it is open.
type Verdict uint8

// Verdicts of a machine.
const (
	Pending Verdict = iota // not known yet
	Won                    // enough stores counted
	Lost                   // enough stores can no longer count
)

func (v Verdict) String() string { return [...]string{"pending", "won", "lost"}[v] }

// Ask is one store to ask next. Target is zero when the store is asked as an owner;
// else it is asked to stand in for the owner Target.
type Ask struct {
	To     hashring.SID
	Target hashring.SID
}

type answer uint8

const (
	idle answer = iota
	asked
	acked
	failed
)
