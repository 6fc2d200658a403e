package strong

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// peer is what the primary knows of a store that holds the log.
type peer struct {
	sid    hashring.SID
	member bool // else a learner: it counts for nothing
	full   bool // by its last ack
	// By its last ack: its values differ from those here, by off if compared.
	differs, compared bool
	off               uint64
	match             uint64
	next              uint64 // first entry that was not sent
	applied           uint64
	flying            int // bytes of the entries sent and not acked
	// probing: where its log fits is not known, one message at a time. behind: the log
	// here begins later than that, it must take a snapshot.
	probing, probeNow, behind bool
	sentAt, ackAt             time.Duration
	askedAt                   time.Duration // of the last probe or offer
	asked                     int           // bytes of it
	sentCommit                uint64
	round, roundSent          uint64        // confirmed, told
	leased                    time.Duration // in Now.Boot: until then it promises no later epoch
	pin                       uint64        // its snapshot needs the log behind it
	pinAt                     time.Duration
	proof                     uint64 // walks of the scrub that must have ended before its snapshot may
	streak                    int
	beatCommit                uint64
	clock                     int64 // its wall clock at 0 of the monotonic clock here, by its last ack, if clocked
	clocked                   bool
}

// findPeers makes the list of stores to replicate to.
func (r *Replica) findPeers() {
	l := r.lead
	var peers []*peer
	for _, s := range slices.Concat(r.members, r.cfg.Learners) {
		if s == r.self || slices.ContainsFunc(peers, func(p *peer) bool { return p.sid == s }) {
			continue
		}
		p := l.peer(s)
		if p == nil {
			p = &peer{sid: s, next: r.log.lastIndex() + 1, probing: true, probeNow: true}
		}
		p.member = r.cfg.IsMember(s)
		peers = append(peers, p)
	}
	l.peers = peers
}

func (l *lead) peer(s hashring.SID) *peer {
	for _, p := range l.peers {
		if p.sid == s {
			return p
		}
	}
	return nil
}

// onAppendAck counts what a store has synced.
func (r *Replica) onAppendAck(from hashring.SID, m *Message) {
	l := r.lead
	if l == nil || m.Epoch != l.epoch || l.phase != leading {
		return
	}
	p := l.peer(from)
	if p == nil {
		return
	}
	p.full = m.Full
	p.round = max(p.round, m.Round)
	r.lent(p, m)
	r.weigh(p, m)
	r.showClock(p, m.WallMS)
	if m.Reject {
		if !p.probing && p.flying > overtaken && r.now.Mono < p.ackAt+r.patience(p) {
			return // what it lacks is on its way still
		}
		if m.Prev.Index > p.match && m.Prev.Index == p.next-1 || !p.probing && m.Prev.Index > p.match {
			p.next = max(p.match, min(m.Match, r.log.lastIndex())) + 1
			p.probing, p.probeNow = true, true
		}
		return
	}
	p.applied = max(p.applied, m.Applied)
	if m.Match > p.match {
		p.flying = max(p.flying-r.bytesOf(p.match+1, m.Match), 0)
		p.match, p.ackAt = m.Match, r.now.Mono
	}
	if p.probing || p.next <= p.match {
		p.next, p.probing, p.flying = p.match+1, false, 0
		p.ackAt = r.now.Mono
	}
}

// onConfirmAck counts an answer to a confirmation round.
func (r *Replica) onConfirmAck(from hashring.SID, m *Message) {
	if l := r.lead; l != nil && m.Epoch == l.epoch && l.phase == leading {
		if p := l.peer(from); p != nil {
			p.full = m.Full
			p.round = max(p.round, m.Round)
		}
	}
}

// flush sends each store what it should have.
func (r *Replica) flush() {
	l := r.lead
	if l == nil || l.phase != leading {
		return
	}
	for _, p := range l.peers {
		r.flushPeer(p)
	}
	if l.commitAt != 0 && r.now.Mono >= l.commitAt+r.opts.CommitDelay {
		l.commitAt = 0
	}
}

func (r *Replica) flushPeer(p *peer) {
	sent := false
	if !p.probing && p.match+1 < p.next && r.due(p.ackAt, r.patience(p)) {
		// Lost: feel the way again, from where a snapshot is not needed yet.
		p.next, p.probing, p.probeNow = max(p.match, r.log.base.Index)+1, true, true
	}
	if p.behind = p.next <= r.log.base.Index; p.behind && p.match >= r.log.base.Index {
		p.next, p.behind, p.probing = p.match+1, false, false
	}
	switch {
	case p.behind:
		if sent = r.due(p.askedAt, r.opts.Retry); sent {
			p.askedAt = r.now.Mono
			r.tell(p, &Message{Kind: MsgSnapOffer, Prev: r.log.base, Commit: r.hard.Commit})
		}
	case p.probing:
		if sent = p.probeNow || r.due(p.askedAt, r.patience(p)); sent {
			n := r.appendTo(p)
			p.askedAt, p.asked = r.now.Mono, r.bytesOf(p.next, p.next+uint64(n)-1)
		}
	default:
		sent = r.stream(p)
	}
	p.probeNow = false
	if !sent {
		r.remind(p)
	}
	if p.behind || p.probing { // a sign of life is no use to it as long as it is asked
		r.wake(p.askedAt + r.patience(p))
		if !r.patient(p) {
			return
		}
	}
	r.wake(r.beat(p.sentAt))
}

// stream sends what is new, without waiting for acks, within bounds.
func (r *Replica) stream(p *peer) (sent bool) {
	if p.match+1 >= p.next {
		p.flying = 0 // whatever was cut off, or came by a snapshot, while it was on its way
	}
	for p.next <= r.log.lastIndex() && p.next-1-p.match < uint64(r.opts.InFlight) && p.flying < r.opts.FlightBytes {
		if p.match+1 == p.next {
			p.ackAt = r.now.Mono
		}
		n := r.appendTo(p)
		if n == 0 {
			break // the storage failed: Out.Err
		}
		p.flying += r.bytesOf(p.next, p.next+uint64(n)-1)
		p.next += uint64(n)
		sent = true
		r.wake(p.ackAt + r.patience(p))
	}
	return sent
}

const (
	// overtaken is the bytes on their way above which a small message may have come
	// before a large one: they travel on roads of their own.
	overtaken = 32 << 10
	// patienceMost times Retry is what the largest messages are waited for.
	patienceMost = 8
)

// patience is how long an ack is waited for: the more bytes are on their way, the
// longer. Whoever sends a large value again because the disk or the road is busy keeps
// it busy.
func (r *Replica) patience(p *peer) time.Duration {
	bytes := p.flying
	switch {
	case p.behind:
		bytes = 0
	case p.probing:
		bytes = p.asked
	}
	return r.opts.Retry * time.Duration(min(1+bytes/r.opts.AppendBytes, patienceMost))
}

// patient tells that a store is asked so rarely that it needs a sign of life besides.
func (r *Replica) patient(p *peer) bool { return r.patience(p) > r.opts.Retry }

// bytesOf is the size of the entries from..to, as far as they are in the log.
func (r *Replica) bytesOf(from, to uint64) (n int) {
	base := r.log.base.Index
	for i := max(from, base+1); i <= to; i++ {
		n += int(r.log.head[i-base-1].Size)
	}
	return n
}

// remind sends what has no Append to ride on: a confirmation round, a new commit index,
// a sign of life.
func (r *Replica) remind(p *peer) {
	l := r.lead
	commit := p.sentCommit < min(r.hard.Commit, p.next-1) && l.commitAt != 0 && r.due(l.commitAt, r.opts.CommitDelay)
	switch {
	case !p.behind && !p.probing && (commit || r.due(r.beat(p.sentAt), 0)):
		r.heartbeat(p)
	case p.member && p.roundSent < l.round, p.probing && r.patient(p) && r.due(r.beat(p.sentAt), 0):
		r.tell(p, &Message{Kind: MsgConfirm})
	}
}

// heartbeat is an Append without entries.
func (r *Replica) heartbeat(p *peer) {
	prev := Position{r.log.epochAt(p.next - 1), p.next - 1}
	r.tell(p, &Message{Kind: MsgAppend, Prev: prev, Commit: r.hard.Commit, Safe: r.safe})
}

// appendTo sends entries from p.next on.
func (r *Replica) appendTo(p *peer) int {
	prev := Position{r.log.epochAt(p.next - 1), p.next - 1}
	entries := r.slice(p.next, r.log.lastIndex())
	r.tell(p, &Message{Kind: MsgAppend, Prev: prev, Entries: entries, Commit: r.hard.Commit, Safe: r.safe})
	return len(entries)
}

// tell sends a message of this role. The round that is being confirmed rides on it.
func (r *Replica) tell(p *peer, m *Message) {
	l := r.lead
	m.Epoch, m.Round = l.epoch, l.round
	p.sentAt, p.roundSent = r.now.Mono, l.round
	if m.Kind == MsgAppend {
		m.SumAt, m.Sum = r.hard.Applied, r.hard.Sum
		m.Asked = r.leaseAsked()
		m.Differs = p.differs && r.condemns(p)
		p.sentCommit = min(r.hard.Commit, m.Prev.Index+uint64(len(m.Entries)))
	}
	r.send(p.sid, m)
}

// confirm runs the rounds (3.4): one at a time, each for all that came in before it.
func (r *Replica) confirm() {
	l := r.lead
	for l != nil && l.active {
		if l.done < l.round && r.cfg.majority(l.confirmed(r)) {
			l.done = l.round
			r.rounds++
		}
		if l.done == l.round && l.wanted {
			l.round++
			l.roundAt, l.wanted = r.now.Mono, false
			continue
		}
		break
	}
	if l != nil && l.done < l.round && r.due(l.roundAt, r.opts.Retry) {
		l.roundAt = r.now.Mono
		r.wake(r.now.Mono + r.opts.Retry)
		for _, p := range l.peers {
			if p.round < l.round {
				p.roundSent = l.round - 1 // again
			}
		}
	}
}

// confirmed tells who agrees to the present round.
func (l *lead) confirmed(r *Replica) func(hashring.SID) bool {
	return func(s hashring.SID) bool {
		p := l.peer(s)
		return s == r.self || p != nil && p.full && (p.round >= l.round || plant.Is(plant.StrongNoConfirm))
	}
}
