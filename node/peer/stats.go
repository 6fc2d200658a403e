package peer

import (
	"sync/atomic"

	"github.com/quoratedb/quorate/hashring"
)

// counters only grow.
type counters struct {
	received, reads, writes, bytesIn, bytesOut         atomic.Uint64
	dropped, malformed, dials, dialFailures            atomic.Uint64
	accepted, evicted, garbage, refused, calls, served atomic.Uint64
	goneSent, goneOverflow                             atomic.Uint64 // of peers that were forgotten
}

// Stats is a look at the transport. Counters are since New.
type Stats struct {
	Sent, Received    uint64 // messages put into outboxes; delivered
	Writes, Reads     uint64 // system calls on peer connections
	BytesOut, BytesIn uint64
	Overflow          uint64 // messages dropped because an outbox was full
	Dropped           uint64 // messages dropped for want of a connection
	Malformed         uint64 // frames and messages that made no sense
	Dials, DialFailures, Accepted,
	Evicted, Garbage, Refused uint64 // connections
	Calls, Served uint64 // control calls made and served
	Peers         []PeerStats
}

// PeerStats is one known store.
type PeerStats struct {
	SID         hashring.SID
	Connected   bool
	Sent        uint64 // messages
	Overflow    uint64 // messages
	QueuedBytes int
}

// Stats gathers the counters.
func (t *Transport) Stats() Stats {
	c := &t.count
	s := Stats{
		Received: c.received.Load(), Writes: c.writes.Load(), Reads: c.reads.Load(),
		BytesOut: c.bytesOut.Load(), BytesIn: c.bytesIn.Load(), Dropped: c.dropped.Load(), Malformed: c.malformed.Load(),
		Dials: c.dials.Load(), DialFailures: c.dialFailures.Load(), Accepted: c.accepted.Load(), Evicted: c.evicted.Load(),
		Garbage: c.garbage.Load(), Refused: c.refused.Load(), Calls: c.calls.Load(), Served: c.served.Load(),
		Sent: c.goneSent.Load(), Overflow: c.goneOverflow.Load(),
	}
	for _, p := range *t.peers.Load() {
		ps := p.stats()
		s.Sent += ps.Sent
		s.Overflow += ps.Overflow
		s.Peers = append(s.Peers, ps)
	}
	return s
}

func (p *peer) stats() PeerStats {
	s := PeerStats{SID: p.sid, Connected: p.small.connected()}
	for _, l := range p.links() {
		l.mu.Lock()
		s.Sent += l.messages
		s.Overflow += l.overflow
		s.QueuedBytes += len(l.buf) + l.queued
		l.mu.Unlock()
	}
	return s
}

// retire adds what p counted to the totals.
func (p *peer) retire() {
	s := p.stats()
	p.t.count.goneSent.Add(s.Sent)
	p.t.count.goneOverflow.Add(s.Overflow)
}
