package h1

import (
	"net/http"
	"time"
)

// tickEvery is the grain of all timeouts: each ends up to two ticks late.
const tickEvery = time.Second

// moment is what requests need to know of the time.
type moment struct {
	tick int64
	date []byte // the Date header, with its line end
}

func newMoment(tick int64, t time.Time) *moment {
	date := t.UTC().AppendFormat([]byte("Date: "), http.TimeFormat)
	return &moment{tick, append(date, "\r\n"...)}
}

// ticks is a duration in ticks, rounded up, with one more because the current tick
// has begun already.
func ticks(d time.Duration) int64 { return int64((d+tickEvery-1)/tickEvery) + 1 }

// tick moves the time on and looks after the connections until the last has gone.
func (s *Server) tick() {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for n := int64(1); ; n++ {
		select {
		case now := <-t.C:
			s.now.Store(newMoment(n, now))
			s.sweep(n)
		case <-s.empty:
			return
		}
	}
}

// crowdedIdle is the idle timeout when seven of eight places are taken: better a
// client that connects again than one that cannot.
const crowdedIdle = time.Second

// sweep ends what takes too long.
func (s *Server) sweep(tick int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	spare := int64(0)
	if len(s.conns) >= cap(s.places)-cap(s.places)/8 {
		spare = ticks(s.cfg.IdleTimeout) - ticks(crowdedIdle)
	}
	for c := range s.conns {
		c.check(tick, spare)
	}
}
