package check

import (
	"fmt"
	"io"
	"math"

	"github.com/anishathalye/porcupine"
)

// Visualize writes porcupine's picture of a key as an HTML page: the operations on
// lanes, one for each client, and the longest orders that explain them. It shows the
// first window that Registers, with the same options, finds wrong, or else the first
// one. It fails if the key has no operations, the history is broken, or w fails.
func Visualize(w io.Writer, ops []Op, key KeyRef, o RegisterOptions) error {
	h := newHistory("registers", ops)
	if h.broken() {
		return fmt.Errorf("no picture of a broken history: %v", h.found.list[0])
	}
	o = o.filled()
	all := h.windows(key, o)
	if len(all) == 0 {
		return fmt.Errorf("no operation of %v tells or does anything", key)
	}
	show := all[0]
	for _, candidate := range sample(all, o.MaxWindows) {
		if h.linearizable(candidate, o) == porcupine.Illegal {
			show = candidate
			break
		}
	}
	m := newRegister(h, show, o)
	_, info := porcupine.CheckOperationsVerbose(m.model(o.MaxSteps), m.operations(h, show), 0)
	m.steps = math.MinInt // drawing replays the orders found, without a bound
	return porcupine.Visualize(m.model(math.MaxInt), info, w)
}
