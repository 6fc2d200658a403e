package check

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// register is the sequential specification that porcupine searches with. States are
// small numbers: value numbers, absent, or anything.
type register struct {
	number map[string]int
	names  []string
	start  int
	plain  bool
	steps  int
}

const (
	anything = -1
	absent   = 0
	never    = -2 // a set of siblings: no register answers that
)

// action is an operation in numbers.
type action struct {
	kind     Kind
	outcome  Outcome
	value    int // written or read
	expected int // CAS: compared with, anything if unconditional
	op       *Op
}

func newRegister(h *history, w window, o RegisterOptions) *register {
	m := &register{number: map[string]int{"": absent}, names: []string{"absent"}, plain: o.Plain}
	if w.any {
		m.start = anything
	}
	return m
}

func (m *register) of(value string) int {
	n, known := m.number[value]
	if !known {
		n = len(m.names)
		m.number[value] = n
		m.names = append(m.names, value)
	}
	return n
}

func (m *register) one(values []string) int {
	switch len(values) {
	case 0:
		return absent
	case 1:
		return m.of(values[0])
	}
	return never
}

func (m *register) action(o *Op) action {
	a := action{kind: o.Kind, outcome: o.Outcome, expected: anything, op: o}
	switch {
	case o.Kind == Read:
		a.value = m.one(o.Read)
	case o.Kind == CAS && !o.HasContext, o.Kind == CAS && m.plain:
		a.kind, a.value = Write, m.of(o.Value)
	case o.Kind == CAS:
		a.value, a.expected = m.of(o.Value), m.one(o.Context)
	default:
		a.kind, a.value = Write, m.of(o.Value)
	}
	return a
}

// operations are the window for porcupine.
func (m *register) operations(h *history, w window) []porcupine.Operation {
	out := make([]porcupine.Operation, 0, len(w.at))
	for _, i := range w.at {
		o := &h.ops[i]
		if m.plain && o.Outcome == Mismatch {
			continue
		}
		a, end := m.action(o), o.end()
		if end > w.stop {
			a.outcome, end = Unknown, Forever
		}
		out = append(out, porcupine.Operation{ClientId: o.Client, Input: a, Call: int64(o.Call), Return: int64(end)})
	}
	return out
}

// model is for one search; past most steps every step fails, so that it ends.
func (m *register) model(most int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return m.start },
		Step: func(state, input, _ any) (bool, any) {
			if m.steps++; m.steps > most {
				return false, state
			}
			a := input.(action)
			ok, next := a.apply(state.(int))
			return ok, next
		},
		Hash:              func(state any) uint64 { return uint64(state.(int)+2) * 0x9e3779b97f4a7c15 },
		DescribeOperation: func(input, _ any) string { return describe(input.(action).op) },
		DescribeState:     func(state any) string { return m.describe(state.(int)) },
	}
}

// apply is one operation on one register.
func (a action) apply(state int) (ok bool, next int) {
	switch {
	case a.kind == Read && state == anything:
		return a.value != never, a.value
	case a.kind == Read:
		return state == a.value, state
	case a.kind == Write:
		return true, a.value
	case a.outcome == Mismatch:
		return state == anything || state != a.expected, state
	case state == anything || state == a.expected:
		return true, a.value
	}
	return a.outcome == Unknown, state // an open CAS may as well have been refused
}

func (m *register) describe(state int) string {
	if state == anything {
		return "?"
	}
	return m.names[state]
}

func describe(o *Op) string {
	switch {
	case o.Kind == Read && len(o.Read) == 0:
		return "read: absent"
	case o.Kind == Read:
		return fmt.Sprintf("read: %v", o.Read)
	case o.Kind == Delete:
		return fmt.Sprintf("delete: %v", o.Outcome)
	case o.Kind == CAS:
		return fmt.Sprintf("cas %v to %q: %v", o.Context, o.Value, o.Outcome)
	}
	return fmt.Sprintf("write %s: %v", o.Value, o.Outcome)
}
