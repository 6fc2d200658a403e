package frames

import "sync/atomic"

// counters only grow.
type counters struct {
	accepted, refused, garbage, cut atomic.Uint64
	requests, shed, malformed       atomic.Uint64
	reads, writes                   atomic.Uint64
	bytesIn, bytesOut               atomic.Uint64
}

// Stats is a look at the server. Counters are since Serve.
type Stats struct {
	Conns    int // open now
	InFlight int // requests being served
	Accepted, Refused,
	Garbage uint64 // connections; refused by the hello; that were no clients
	Cut               uint64 // connections ended for what they did: broken frames, too slow
	Requests, Shed    uint64 // requests read; of which refused at a limit of this server
	Malformed         uint64 // requests that made no sense
	Reads, Writes     uint64 // system calls on connections
	BytesIn, BytesOut uint64
}

// Stats gathers the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	conns := len(s.conns)
	s.mu.Unlock()
	c := &s.count
	return Stats{Conns: conns, InFlight: int(s.inFlight.Load()), Accepted: c.accepted.Load(), Refused: c.refused.Load(), Garbage: c.garbage.Load(),
		Cut: c.cut.Load(), Requests: c.requests.Load(), Shed: c.shed.Load(), Malformed: c.malformed.Load(),
		Reads: c.reads.Load(), Writes: c.writes.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load()}
}
