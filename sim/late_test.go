package sim

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/node/core"
)

func TestLateForward(t *testing.T) {
	for _, kind := range []string{"put", "put-context", "delete"} {
		s := newScript(quiet(), Options{})
		v0 := s.acked(s.b, "sloppy", "v0")
		s.run(time.Second)
		first := s.w.auth.ringAt(s.w.auth.state.Version).Owners(0, 3)[0]
		a := s.w.bySID[first]
		s.w.cutLink(s.x, a, 1) // a clog: TCP stalls for less than what ends a connection
		var c *call
		switch kind {
		case "put":
			c = s.ask(s.x, core.OpPut, "sloppy", "v1")
		case "put-context":
			c = s.ask(s.x, core.OpPut, "sloppy", "v1", with(v0))
		default:
			c = s.ask(s.x, core.OpDelete, "sloppy", "")
		}
		t.Log(show(s.wait(c)), s.w.now)
		s.acked(s.c, "sloppy", "v2", with(s.read(s.c, "sloppy")))
		t.Log(show(s.get(s.b, "sloppy", rOf(3))), s.w.now)
		s.w.cutLink(s.x, a, -1)
		s.run(time.Second)
		t.Log(kind, "after the clog:", show(s.get(s.b, "sloppy", rOf(3))), s.finding())
	}
}
