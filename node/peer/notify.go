package peer

import (
	"sync"

	"github.com/quoratedb/quorate/hashring"
)

// note is one Up or Down to come.
type note struct {
	sid   hashring.SID
	up    bool
	hello Hello // with up
}

// notifier hands notes on in the order in which the states changed, away from the
// goroutines that hold locks or write to the network.
type notifier struct {
	mu     sync.Mutex
	notes  []note
	wake   chan struct{} // holds one
	closed bool
}

// maxNotes bounds the queue: each peer adds at most one note every few
// milliseconds (its back-off), and callbacks do not block. The oldest goes first.
const maxNotes = 4 * maxPeers

func (n *notifier) init() { n.wake = make(chan struct{}, 1) }

func (n *notifier) push(x note) {
	n.mu.Lock()
	if len(n.notes) >= maxNotes {
		n.notes = n.notes[1:]
	}
	n.notes = append(n.notes, x)
	n.mu.Unlock()
	n.signal()
}

func (n *notifier) signal() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.signal()
}

func (n *notifier) take() (notes []note, closed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	notes, n.notes = n.notes, nil
	return notes, n.closed
}

func (t *Transport) notifyLoop() {
	for range t.notes.wake {
		notes, closed := t.notes.take()
		if closed {
			return
		}
		for _, x := range notes {
			if x.up && t.cfg.Up != nil {
				t.cfg.Up(x.hello)
			} else if !x.up && t.cfg.Down != nil {
				t.cfg.Down(x.sid)
			}
		}
	}
}
