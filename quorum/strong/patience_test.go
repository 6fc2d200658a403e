package strong

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// told steps the primary of a trio alone: what it sends to store 2 with entries, and
// whether it sends anything at all, is counted and goes nowhere.
func (t *trio) told(do func(r *Replica)) (entries int, any bool) {
	t.seq++
	r := t.r[0]
	r.Begin(t.now, t.seq)
	do(r)
	out := r.Finish()
	for _, s := range out.Sends {
		if s.To == (hashring.SID{2}) {
			entries, any = entries+len(s.Msg.Entries), true
		}
	}
	if out.Staged {
		r.Synced(t.seq)
	}
	return entries, any
}

// untilSent is how long it takes until store 2 is sent entries; it hears from the
// primary all the while.
func (t *trio) untilSent(tb testing.TB) time.Duration {
	began := t.now.Mono
	for heard := began; ; t.now.Mono += 10 * time.Millisecond {
		entries, any := t.told(func(*Replica) {})
		if any {
			heard = t.now.Mono
		}
		if quiet := t.now.Mono - heard; quiet > 500*time.Millisecond {
			tb.Fatalf("nothing is heard for %v", quiet)
		}
		if entries > 0 {
			t.now.Mono += 10 * time.Millisecond
			return t.now.Mono - began
		}
	}
}

// A large value that takes its time is not sent again for a heartbeat that came before
// it, nor soon for want of an ack: that would keep the road or the disk busy that it
// waits for. A small one is, by and by. Either way the follower hears from its primary.
func TestLargeValuesAreWaitedFor(t *testing.T) {
	const beat, slack = 250 * time.Millisecond, 20 * time.Millisecond
	for _, c := range []struct {
		size   int
		reject bool          // an overtaking message makes it go again at once
		again  time.Duration // without an ack it goes again
	}{{100, true, 300 * time.Millisecond}, {1 << 20, false, 5 * 300 * time.Millisecond}, {4 << 20, false, 8 * 300 * time.Millisecond}} {
		trio := newTrio(t)
		var last Position
		submit := func(r *Replica) {
			last = r.log.last()
			r.Submit(&Op{Kind: OpPut, Bucket: 1, Key: []byte("key"), Data: make([]byte, c.size), Deadline: time.Hour})
		}
		if n, _ := trio.told(submit); n != 1 {
			t.Fatalf("%d bytes: %d entries", c.size, n)
		}
		trio.now.Mono += beat
		overtaking := Position{last.Epoch, last.Index + 1}
		n, _ := trio.told(func(r *Replica) {
			r.Receive(hashring.SID{2}, &Message{Kind: MsgAppendAck, Epoch: 1, Full: true, Prev: overtaking, Reject: true, Match: last.Index})
		})
		if again := n > 0; again != c.reject {
			t.Errorf("%d bytes: %d entries go again after a message that overtook them", c.size, n)
		}
		if c.reject {
			continue
		}
		if after := beat + trio.untilSent(t); after < c.again || after > c.again+slack {
			t.Errorf("%d bytes go again after %v, not %v", c.size, after, c.again)
		}
		if after := trio.untilSent(t); after < c.again-slack || after > c.again+slack { // now it is felt for
			t.Errorf("%d bytes: the next probe comes after %v, not %v", c.size, after, c.again)
		}
	}
}

// Rounds of reads do not put off what a store that is felt for is asked.
func TestReadsDoNotStarveAProbe(t *testing.T) {
	trio := newTrio(t)
	trio.told(func(r *Replica) {
		r.Submit(&Op{Kind: OpPut, Bucket: 1, Key: []byte("key"), Data: make([]byte, 10), Deadline: time.Hour})
	})
	probes := 0
	for range 200 {
		trio.now.Mono += 10 * time.Millisecond
		n, _ := trio.told(func(r *Replica) {
			r.Read(&Read{Bucket: 1, Key: []byte("key"), Deadline: trio.now.Mono + time.Second})
			r.Receive(hashring.SID{3}, &Message{Kind: MsgConfirmAck, Epoch: 1, Full: true, Round: r.lead.round})
		})
		probes += n
	}
	if probes < 5 {
		t.Errorf("%d probes in two seconds of reads", probes)
	}
}
