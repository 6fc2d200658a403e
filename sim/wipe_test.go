package sim

import (
	"testing"
	"time"
)

// A wiped store is replaced through the ring, and building until it is filled.
func TestWipedStoreIsReplaced(t *testing.T) {
	s := newScript(quiet(), Options{})
	s.acked(s.a, "sloppy", "v1", wOf(3))
	old := s.b.sid
	s.b.loseStore("wiped")
	s.b.start()
	s.run(3 * time.Second)
	r := s.w.auth.ringAt(s.w.auth.state.Version)
	if heir, ok := r.Successor(old); !ok || heir != s.b.sid || !s.b.confirmed || len(r.Full(0, 3)) != 2 {
		t.Errorf("the heir of %v is %v, confirmed %v, full are %v", old.Short(), heir.Short(), s.b.confirmed, r.Full(0, 3))
	}
	if f := s.finding(); f != "" {
		t.Error(f)
	}
}
