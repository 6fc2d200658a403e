// Package assert holds the invariants that stay on in production: a store that
// has left its rules must stop before it answers, not after.
package assert

import "fmt"

// That stops the process with the rule's name and the values in play when an
// invariant of PROTOCOLS.md does not hold. The rule comes first in the message,
// so that a log line alone tells which promise was about to be broken.
func That(ok bool, rule, format string, args ...any) {
	if !ok {
		Fail(rule, format, args...)
	}
}

// Fail is That(false, ...), for hot paths that must not box their arguments.
func Fail(rule, format string, args ...any) {
	panic(Violation{Rule: rule, Detail: fmt.Sprintf(format, args...)})
}

// Violation is the panic value of a broken invariant. The simulator recovers
// it and reports the seed; a real process dies of it.
type Violation struct {
	Rule   string // name in PROTOCOLS.md, such as "E1"
	Detail string
}

func (v Violation) Error() string { return "invariant " + v.Rule + " broken: " + v.Detail }
