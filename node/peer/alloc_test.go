package peer

import (
	"testing"

	"github.com/quoratedb/quorate/node/core"
)

const (
	allocsSend    = 0 // into the outbox
	allocsReceive = 2 // a message of a replica write and its object; the bytes are shared by many
)

// TestSendAllocs: a message goes into its outbox without any of its own.
func TestSendAllocs(t *testing.T) {
	l := &link{wake: make(chan struct{}, 1)}
	m := write(sid(2), 1, 80)
	if n := testing.AllocsPerRun(200, func() {
		for range 10 {
			if l.put(m) != done {
				t.Fatal("not taken")
			}
		}
		l.buf, l.held = l.buf[:0], 0 // as the writer does
	}); n != allocsSend*10 {
		t.Errorf("sending 10 messages allocated %v times", n)
	}
}

// TestReceiveAllocs: ten messages of one read share their bytes.
func TestReceiveAllocs(t *testing.T) {
	const many = 10
	var wire []byte
	for i := range many {
		wire, _ = appendFrame(wire, write(sid(2), uint64(i), 80))
	}
	got := 0
	tr := &Transport{cfg: Config{Deliver: func(*core.Message) { got++ }}}
	c := &conn{link: &link{p: &peer{t: tr}}}
	var chunks assembly
	n := testing.AllocsPerRun(200, func() {
		if used, _, err := c.frames(wire, &chunks); used != len(wire) || err != nil {
			t.Fatal(used, err)
		}
	})
	if n > many*allocsReceive+1 || got < 200*many {
		t.Errorf("receiving %d messages allocated %v times, %d were received", many, n, got)
	}
}
