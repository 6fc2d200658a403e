package sim

import (
	"fmt"
	"strings"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

func (w *World) name(s hashring.SID) string {
	if n := w.bySID[s]; n != nil {
		return n.name
	}
	return "nobody"
}

func (w *World) drawView(alive map[hashring.SID]bool) string {
	var names []string
	for _, n := range w.nodes {
		if alive[n.sid] {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " ")
}

func (w *World) tellEvent(n *node, e *core.Event) {
	switch {
	case e.Message != nil:
		m := e.Message
		w.note("%s <- %s %s p%d #%x %v%s", n.name, w.name(m.From), m.Kind, m.Partition, m.ID&0xffff, m.Reason, drawStrong(m))
	case !e.Down.IsZero():
		w.note("%s loses its connection to %s", n.name, w.name(e.Down))
	case e.Synced != 0:
		w.note("%s has synced batch %d", n.name, e.Synced)
	case e.Loaded != nil:
		w.note("%s has loaded %d rows", n.name, len(e.Loaded.Rows))
	}
}

func drawStrong(m *core.Message) (out string) {
	for _, sm := range m.Strong {
		out += fmt.Sprintf("; %v", sm)
	}
	return out
}

var opNames = map[core.Op]string{core.OpGet: "GET", core.OpPut: "PUT", core.OpDelete: "DELETE", core.OpInspect: "INSPECT", core.OpList: "LIST"}

func drawRequest(c *call) string {
	r := c.req
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s/%s", opNames[r.Op], r.Bucket, r.Key)
	if r.Op == core.OpPut {
		fmt.Fprintf(&b, " %s", valueName(r.Value))
	}
	if r.R != 0 {
		fmt.Fprintf(&b, " r=%d", r.R)
	}
	if r.W != 0 {
		fmt.Fprintf(&b, " w=%d", r.W)
	}
	if r.PW != 0 {
		fmt.Fprintf(&b, " pw=%d", r.PW)
	}
	if r.HasContext {
		fmt.Fprintf(&b, " context=%v", r.Context.Seen)
	}
	if r.HasAfter {
		fmt.Fprintf(&b, " after=%v", r.After.Seen)
	}
	return b.String()
}

func drawReply(c *call, r *core.Reply, wall int64) string {
	out := fmt.Sprintf("%s %s/%s: %v %v (%v)", opNames[c.req.Op], c.req.Bucket, c.req.Key, r.Code, r.Outcome, r.Receipt)
	if r.Object != nil && c.req.Op == core.OpGet {
		for _, s := range r.Object.Live(wall) {
			out += " " + valueName(s.Value)
		}
	}
	return out
}

// valueName is the part of a value that is unique.
func valueName(v []byte) string {
	name, _, _ := strings.Cut(string(v), " ")
	return name
}
