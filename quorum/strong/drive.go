package strong

import "github.com/quoratedb/quorate/hashring"

// Leads tells whether this store evaluates writes and reads as the primary, now.
func (r *Replica) Leads() bool { return r.lead != nil && r.lead.phase == leading }

// Promised is the greatest epoch that this store has promised, durably or about to be.
func (r *Replica) Promised() uint64 { return r.hard.Promised }

// Rounds counts the confirmation rounds of all roles since the process started.
func (r *Replica) Rounds() uint64 { return r.rounds }

// Commit is how much of the log is committed, as far as this store knows.
func (r *Replica) Commit() uint64 { return r.hard.Commit }

// Generation is that of the values that count.
func (r *Replica) Generation() uint64 { return r.hard.Generation }

// HandOver has a primary ask out, for prefer if that is set, and lead on until another
// one is named. It ends with the epoch. Its lease ends now.
func (r *Replica) HandOver(prefer hashring.SID) {
	if r.lead != nil {
		r.handing, r.handTo = true, prefer
		r.release()
		r.saidAt = r.now.Mono - r.opts.Silence
	}
}

// Distrust: the store has turned out to have forgotten something. From now on it counts
// for nothing, and leads nothing.
func (r *Replica) Distrust() {
	if r.suspect {
		return
	}
	r.suspect = true
	if r.lead != nil {
		r.propose(AskOut, hashring.SID{})
		r.stepDown()
	}
	r.forsake()
	r.forfeit = r.cfg.Primary == r.self
}

// Spare proposes that a member takes the role over, if it has all that is in the log here
// and nothing waits: such a hand-over costs a seal. It tells whether it did.
func (r *Replica) Spare(to hashring.SID) bool {
	l := r.lead
	if l == nil || !l.active || !r.cfg.Activated || len(l.pend) > 0 {
		return false
	}
	p := l.peer(to)
	if p == nil || !p.member || !p.full || p.differs || p.match < r.log.lastIndex() {
		return false
	}
	r.propose(Spare, to)
	return true
}
