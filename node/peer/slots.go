package peer

import "time"

// The connections of a link, as peer.go and the janitor see them.

// set puts c into its slot and returns the one that was there.
func (l *link) set(c *conn) (prev *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := &l.accepted
	if c.isDialled {
		slot = &l.dialled
	}
	prev, *slot = *slot, c
	if l.stopDial != nil {
		l.stopDial() // no need any more
	}
	return prev
}

// unset takes c out; false when it was not in a slot any more.
func (l *link) unset(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c {
	case l.dialled:
		l.dialled = nil
	case l.accepted:
		l.accepted = nil
	default:
		return false
	}
	l.lived = time.Since(c.born)
	return true
}

func (l *link) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.best() != nil
}

// takeAll empties the slots.
func (l *link) takeAll() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.conns()
	l.dialled, l.accepted = nil, nil
	return all
}

func (l *link) conns() (all []*conn) {
	for _, c := range [...]*conn{l.dialled, l.accepted} {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}

func (l *link) closeDialled() {
	l.mu.Lock()
	c := l.dialled
	l.mu.Unlock()
	if c != nil {
		c.fail(errRemoved)
	}
}

// close ends the writer and returns the connections to end.
func (l *link) close() []*conn {
	l.mu.Lock()
	l.closed = true
	if l.stopDial != nil {
		l.stopDial()
	}
	all := l.conns()
	l.mu.Unlock()
	l.wakeUp()
	return all
}
