package live

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/quoratedb/quorate/sim/check"
)

// lists are the values of the workload that appends: the name of a write, then the names
// of all writes before it and its own.
type lists struct {
	mu sync.Mutex
	of map[string][]string // by the last one of them
}

// get is what stands under a name; nil: nobody wrote that.
func (l *lists) get(name string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[name]
}

// add makes the value of a write that appends its name to a list.
func (l *lists) add(name string, before []string) []byte {
	list := append(slices.Clone(before), name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string][]string{}
	}
	l.of[name] = list
	return []byte(name + " " + strings.Join(list, " "))
}

// nameOf is the write that a value comes from, if it is byte for byte what that wrote.
func (l *lists) nameOf(value []byte) (string, error) {
	name, rest, _ := strings.Cut(string(value), " ")
	if list := l.get(name); list == nil || strings.Join(list, " ") != rest {
		return "", fmt.Errorf("%d bytes that no client wrote: %.40q", len(value), value)
	}
	return name, nil
}

// check holds the history of the lists against what they are in the end: every append
// that was acked is in its list, none that was refused, and every answer showed a list
// that this one has grown from.
func (l *lists) check(ops []check.Op, finals map[check.KeyRef][]string) (found []check.Violation) {
	bad := func(kind string, op *check.Op, i int, format string, args ...any) {
		if len(found) < check.MaxViolations {
			found = append(found, check.Violation{Check: "lists", Kind: kind, Bucket: op.Bucket, Key: op.Key, Detail: fmt.Sprintf(format, args...), Ops: []int{i}})
		}
	}
	for i := range ops {
		op := &ops[i]
		final, read := finals[op.Ref()]
		if !read {
			continue // it could not be read: that is said elsewhere
		}
		var list []string
		if len(final) > 0 {
			list = l.get(final[0])
		}
		switch at := slices.Index(list, op.Value); {
		case op.Kind == check.Read:
			for _, v := range op.Read {
				if shown := l.get(v); len(shown) > len(list) || !slices.Equal(shown, list[:len(shown)]) {
					bad(check.Lost, op, i, "a read shows a list of %d, and the last one, of %d, has not grown from it", len(shown), len(list))
				}
			}
		case op.Outcome == check.OK && at < 0:
			bad(check.Lost, op, i, "%s was acked and is not in the list of %d", op.Value, len(list))
		case op.Outcome != check.OK && op.Outcome != check.Unknown && at >= 0:
			bad(check.RefusedYetSeen, op, i, "%s was refused (%v) and is in the list", op.Value, op.Outcome)
		}
	}
	return found
}
