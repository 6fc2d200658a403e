package core

import (
	"fmt"
	"strings"
)

// Pending names what this shard has not finished, by kind: for a person, when a
// cluster that should be at rest is not.
func (c *Core) Pending() string {
	kinds := map[string]int{}
	for _, id := range sortedKeys(c.ops) {
		kinds[opKind(c.ops[id])]++
	}
	var out []string
	for _, kind := range sortedKeys(kinds) {
		out = append(out, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	for _, id := range sortedKeys(c.parts) {
		for _, h := range c.book.Lines(id) {
			out = append(out, fmt.Sprintf("partition %d: %d hints and mark %d for %s (reachable %v)", id, h.Hints, h.Dirty, h.Target.Short(), c.reachable(h.Target)))
		}
	}
	for _, id := range sortedKeys(c.strong.parts) {
		if sp := c.strong.parts[id]; len(sp.ops) > 0 {
			out = append(out, sp.String())
		}
	}
	out = append(out, fmt.Sprintf("%d loads, %d parked, %d bytes staged, %d batches behind, %d suspected",
		len(c.loads), len(c.parked), c.overlay.bytes, c.lastSeq-c.durable, len(c.suspects)))
	return strings.Join(out, ", ")
}

func opKind(o op) string {
	switch o.(type) {
	case *strongOp:
		return "requests to strong buckets"
	case *putOp:
		return "writes"
	case *getOp:
		return "reads"
	case *forwardOp:
		return "forwards"
	case *listOp:
		return "listings"
	case *inspectOp:
		return "inspections"
	case *pullOp:
		return "hint pulls"
	case *moveOp:
		return "walks over hints"
	case *pushOp:
		return "hints given to owners"
	}
	return "others"
}
