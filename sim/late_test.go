package sim

import (
	"testing"

	"github.com/quoratedb/quorate/node/core"
)

// E16: a forward that a stalled connection delivers after its write was re-sent to
// another owner, acked, read and overwritten undoes nothing. Random seeds found it as
// LOST in the clients' view: without a context the late copy replaced the newer value,
// with one it came back beside it.
func TestALateForwardUndoesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		op   core.Op
		opts func(v0 *token) []func(*core.Request)
	}{
		{"put without a context", core.OpPut, func(*token) []func(*core.Request) { return nil }},
		{"put with a context", core.OpPut, func(v0 *token) []func(*core.Request) { return []func(*core.Request){with(v0)} }},
		{"delete without a context", core.OpDelete, func(*token) []func(*core.Request) { return nil }},
	} {
		s := newScript(quiet(), Options{})
		v0 := s.acked(s.b, "sloppy", "v0")
		s.run(core.DefaultDeadline)
		s.acked(s.x, "sloppy", "v00", with(v0)) // x has heard of the owner just now
		v0 = s.read(s.c, "sloppy")
		s.w.cutLink(s.x, s.a, 1) // for less than what ends a connection
		s.expect(s.wait(s.ask(s.x, c.op, "sloppy", "v1", c.opts(v0)...)), "applied")
		s.acked(s.c, "sloppy", "v2", with(s.read(s.c, "sloppy")))
		s.w.cutLink(s.x, s.a, -1)
		s.run(core.DefaultDeadline)
		if got := show(s.get(s.b, "sloppy", rOf(core.All))); got != "v2" {
			t.Errorf("%s: %s is left, not v2", c.name, got)
		}
		s.end()
		if f := s.finding(); f != "" {
			t.Errorf("%s: %s", c.name, f)
		}
	}
}
