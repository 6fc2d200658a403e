package strong

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// A primary that is heard and hears nobody (F02) would stay primary for ever: its
// followers have nothing to complain of. So it asks out when it has not heard a majority
// of every set for earFactor times Options.Silence. It keeps the role meanwhile: if all
// were cut off from each other, those that meet again go on at once, with or without the
// Raft group.

// earFactor: where the network fails both ways, the followers are to speak first, because
// they know who of them has the longest log.
const earFactor = 2

// hearing is when a store was last heard in answer to this role.
type hearing struct {
	from hashring.SID
	at   time.Duration
}

func (l *lead) hear(from hashring.SID, now time.Duration) {
	for i := range l.heard {
		if l.heard[i].from == from {
			l.heard[i].at = now
			return
		}
	}
	if len(l.heard) < 2*hashring.MaxReplicas {
		l.heard = append(l.heard, hearing{from, now})
	}
}

func (r *Replica) watchEars() {
	l := r.lead
	if l == nil || len(r.members) == 1 || !r.again(&l.listenAt, r.opts.Silence/2) {
		return
	}
	since := r.now.Mono - earFactor*r.opts.Silence
	if l.began > since || r.hears(since) {
		return
	}
	if r.again(&r.saidAt, r.opts.Silence/2) {
		r.propose(AskOut, hashring.SID{})
	}
}

// hears tells whether a majority of every set has been heard in this role since then.
func (r *Replica) hears(since time.Duration) bool {
	return r.cfg.majority(func(s hashring.SID) bool { return s == r.self || r.lead.heardSince(s, since) })
}

func (l *lead) heardSince(s hashring.SID, since time.Duration) bool {
	for i := range l.heard {
		if l.heard[i].from == s {
			return l.heard[i].at >= since
		}
	}
	return false
}
