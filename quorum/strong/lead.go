package strong

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
)

// phase of a primary's way into its epoch (3.2).
type phase uint8

const (
	sealing phase = iota // collecting promises and attestations
	pulling              // another store's log goes further
	leading              // the barrier is in the log; active once it is committed
)

func (p phase) String() string { return [...]string{"sealing", "pulling", "leading", "?"}[p&3] }

// lead is the role of the primary in one epoch. It dies with the process.
type lead struct {
	epoch  uint64
	phase  phase
	seals  []attested
	sentAt time.Duration // seals, or the last pull

	best    attested // pulling
	after   uint64
	tries   int
	pullNow bool

	barrier  uint64
	active   bool // the barrier is committed
	toldAt   time.Duration
	beatAt   time.Duration // learners are judged at it
	commitAt time.Duration // of the oldest commit that was not told yet
	// The last scrub because somebody differs: when, and the number of those before.
	doubtAt    time.Duration
	doubtScrub uint64
	strayAt    time.Duration // when a follower was first off by what the scrubs here had found
	peers      []*peer
	// When the role began, who was heard in it and when, when that was last looked at.
	began, listenAt time.Duration
	heard           []hearing

	pend  []pending // sequenced operations, by index
	waits []waiter  // what needs a confirmation round
	// Rounds: all up to done are confirmed, up to round sent. wanted: somebody waits
	// for the next one.
	round, done uint64
	roundAt     time.Duration
	wanted      bool
}

// attested is a store's answer to a seal.
type attested struct {
	from hashring.SID
	full bool
	last Position
}

// Configure takes the partition's configuration from a newer ring state. Older ones
// are ignored: copies never regress.
func (r *Replica) Configure(cfg Config) {
	if cfg.Epoch == r.cfg.Epoch && cfg.Epoch > 0 {
		assert.That(cfg.same(&r.cfg), "S1", "two configurations of epoch %d", cfg.Epoch)
		cfg.Activated = cfg.Activated || r.cfg.Activated
		r.cfg = cfg
		r.leave()
		if r.lead != nil && r.lead.phase == leading {
			r.findPeers()
		}
		return
	}
	if cfg.Epoch < r.cfg.Epoch {
		return
	}
	if r.lead != nil {
		r.depose()
	}
	if cfg.Incarnation != r.cfg.Incarnation { // T5: what was committed may be so no more
		r.forsake()
	}
	r.cfg, r.members = cfg, cfg.Members()
	r.heardAt, r.forfeit, r.handing = r.now.Mono, false, false
	r.trust.at = 0
	r.leave()
	r.settleFor()
	switch {
	case cfg.Primary != r.self || r.hard.Promised > cfg.Epoch:
	case r.suspect, r.hard.Diverged && !plant.Is(plant.StrongDivergedLeads), r.hard.Promised == cfg.Epoch && !plant.Is(plant.StrongRestartLeads):
		r.forfeit = true // S3: this store may have led the epoch in a former life
	default:
		r.beginEpoch()
	}
}

// leave: a store that is no longer to hold the partition keeps its promise for ever,
// or a late Append could complete an old majority; its data may go once the new
// configuration stands. Only then if it has promised nothing above it: a store that
// came back in a later epoch, acked there, and knows an old ring state (it restarted,
// say) would drop what it acked.
func (r *Replica) leave() {
	if r.cfg.Holds(r.self) {
		return
	}
	r.forsake()
	if r.hard.Promised < r.cfg.Epoch {
		// What it has lent counts in no set of this epoch, nor was this epoch's way here
		// open while a lease stood (S11): that is with the others.
		r.lentUntil = 0
		r.promise(r.cfg.Epoch)
	}
	if !r.cfg.Activated || r.log.lastIndex() == 0 || r.hard.Promised > r.cfg.Epoch && !plant.Is(plant.StrongLeavesStale) {
		return
	}
	r.dropInstall()
	r.write(Write{Kind: CutTail, Index: 0})
	r.write(Write{Kind: DropGeneration, Generation: r.hard.Generation})
	r.hard = Hard{Promised: r.hard.Promised, Generation: r.newID(), Lease: r.hard.Lease}
	r.hardDirty, r.logSeq = true, r.seq
	r.log, r.durable = newLog(Position{}), 0
	for i := range r.marks {
		r.marks[i].last = 0
	}
}

// beginEpoch seals (3.2). This store promises first of all, unless what it promised is
// lent still: no entry of the epoch can exist before that promise is durable, so a crash
// before it may begin again.
func (r *Replica) beginEpoch() {
	r.promiseOwn()
	r.lead = &lead{epoch: r.cfg.Epoch, sentAt: r.now.Mono - r.opts.Retry, began: r.now.Mono, listenAt: r.now.Mono}
}

// promiseOwn promises the epoch that this store is to lead; false: it has to wait.
func (r *Replica) promiseOwn() bool {
	if r.hard.Promised >= r.cfg.Epoch {
		return true
	}
	if r.lends() && !plant.Is(plant.StrongLeaseUnheld) {
		r.wake(r.lentUntil)
		return false
	}
	r.promise(r.cfg.Epoch)
	return true
}

// onSealAck collects attestations.
func (r *Replica) onSealAck(from hashring.SID, m *Message) {
	l := r.lead
	if l == nil || m.Epoch != l.epoch || l.phase != sealing || !r.cfg.IsMember(from) {
		return
	}
	l.attest(attested{from, m.Full, m.Last})
}

func (l *lead) attest(a attested) {
	l.unseal(a.from)
	l.seals = append(l.seals, a)
}

func (l *lead) unseal(s hashring.SID) {
	l.seals = slices.DeleteFunc(l.seals, func(a attested) bool { return a.from == s })
}

func (l *lead) sealed(s hashring.SID) bool {
	return slices.ContainsFunc(l.seals, func(a attested) bool { return a.from == s && a.full })
}

// onNak: somebody has promised more than this store's epoch.
func (r *Replica) onNak(m *Message) {
	if m.Promised > r.cfg.Epoch {
		r.wantRing(m.Promised)
	}
	if r.lead != nil && m.Epoch == r.lead.epoch && m.Promised > m.Epoch {
		r.depose()
	}
}

// progress moves a primary that does not lead yet.
func (r *Replica) progress() {
	l := r.lead
	if l == nil || l.phase != sealing {
		return
	}
	if own := r.promiseOwn(); own && max(r.promiseSeq, r.logSeq) <= r.synced || plant.Is(plant.StrongSealUnsynced) {
		l.attest(attested{r.self, !r.suspect, r.log.last()})
		if r.cfg.majority(l.sealed) || plant.Is(plant.StrongOneSetSeals) && (&Config{Sets: r.cfg.Sets[len(r.cfg.Sets)-1:]}).majority(l.sealed) {
			r.judge()
			return
		}
	}
	if !r.again(&l.sentAt, r.opts.Retry) {
		return
	}
	for _, s := range r.members {
		if s != r.self && !l.sealed(s) {
			r.send(s, &Message{Kind: MsgSeal, Epoch: l.epoch})
		}
	}
}

// judge finds the log that goes furthest among those of the majorities: it holds all
// that was ever committed. A stale store never leads.
func (r *Replica) judge() {
	l := r.lead
	l.best = attested{r.self, true, r.log.last()}
	for _, a := range l.seals {
		further := a.last.Compare(l.best.last) > 0
		if plant.Is(plant.StrongLongestLog) {
			further = a.last.Index > l.best.last.Index
		}
		if a.full && further {
			l.best = a
		}
	}
	if l.best.from == r.self || plant.Is(plant.StrongNoPull) {
		r.takeLead()
		return
	}
	l.phase, l.tries, l.pullNow = pulling, 0, true
	l.after = min(r.log.lastIndex(), l.best.last.Index)
}

// pullTries without an answer, and another majority is looked for: the best store may be gone.
const pullTries = 4

// pull asks the best store for what is missing here.
func (r *Replica) pull() {
	l := r.lead
	if l == nil || l.phase != pulling {
		return
	}
	if !l.pullNow && !r.due(l.sentAt, r.opts.Retry) {
		return
	}
	if l.tries++; l.tries > pullTries {
		l.unseal(l.best.from)
		l.phase, l.sentAt = sealing, r.now.Mono-r.opts.Retry
		r.wake(r.now.Mono)
		return
	}
	l.pullNow, l.sentAt = false, r.now.Mono
	r.wake(r.now.Mono + r.opts.Retry)
	r.send(l.best.from, &Message{Kind: MsgPull, Epoch: l.epoch, Prev: Position{0, l.after}})
}

// onPullReply takes a slice of the best store's log.
func (r *Replica) onPullReply(from hashring.SID, m *Message) {
	l := r.lead
	if l == nil || m.Epoch != l.epoch || l.phase != pulling || from != l.best.from || m.Prev.Index != l.after {
		return
	}
	if m.Gone {
		// This store lacks more than the other's log still has. It is no primary; the
		// other one is.
		r.propose(AskOut, from)
		r.stepDown()
		r.forfeit = true
		return
	}
	if at := r.log.epochAt(l.after); at != m.Prev.Epoch && l.after > r.hard.Commit {
		l.after, l.tries, l.pullNow = r.hard.Commit, 0, true // all that is committed fits
		return
	}
	assert.That(r.log.epochAt(l.after) == m.Prev.Epoch, "S4", "commit %d is of epoch %d here, %d at %s", l.after, r.log.epochAt(l.after), m.Prev.Epoch, from.Short())
	if len(m.Entries) == 0 {
		return // it cannot read them: it is asked again, and not for long
	}
	r.accept(m.Prev, m.Entries)
	l.after += uint64(len(m.Entries))
	l.tries, l.pullNow = 0, true
	if l.after >= l.best.last.Index {
		assert.That(r.log.last() == l.best.last, "S6", "pulled to %v, not %v", r.log.last(), l.best.last)
		l.phase, l.sentAt = sealing, r.now.Mono // once it is synced, this store attests it itself
	}
}

// takeLead appends the barrier. From here on this store evaluates operations.
func (r *Replica) takeLead() {
	l := r.lead
	r.assertSealed()
	l.phase, l.toldAt, l.beatAt = leading, r.now.Mono-r.opts.Retry, r.now.Mono
	r.findPeers()
	l.barrier = r.log.lastIndex() + 1
	if plant.Is(plant.StrongNoBarrier) {
		l.barrier = r.log.lastIndex()
		l.active = true
		return
	}
	r.sequence(&Entry{Kind: Barrier})
}

// assertSealed is S6.
func (r *Replica) assertSealed() {
	l := r.lead
	if plant.Is(plant.StrongOneSetSeals) || plant.Is(plant.StrongNoPull) || plant.Is(plant.StrongLongestLog) {
		return // the consequences are what is looked for
	}
	assert.That(r.cfg.majority(l.sealed), "S6", "leading epoch %d without majorities", l.epoch)
	for _, a := range l.seals {
		assert.That(!a.full || a.last.Compare(r.log.last()) <= 0, "S6", "leading epoch %d at %v, %s has %v", l.epoch, r.log.last(), a.from.Short(), a.last)
	}
}

// sequence gives an entry its place and time.
func (r *Replica) sequence(e *Entry) {
	l := r.lead
	assert.That(l != nil && l.phase == leading && l.epoch == r.hard.Promised, "S3", "an entry without the role")
	e.Epoch, e.Index, e.TimeMS = l.epoch, r.log.lastIndex()+1, r.logTime()
	if e.Value != nil {
		e.Value.Version = Version{r.cfg.Incarnation, e.Epoch, e.Index}
	}
	if e.Done != nil && e.Kind == Effect {
		e.Done.Version = e.Value.Version
	}
	r.append(e)
}

// advance raises the commit index: to where in every set a majority has synced, and
// only up to an entry of this epoch (S5).
func (r *Replica) advance() {
	l := r.lead
	if l == nil || l.phase != leading {
		return
	}
	cfg := r.cfg
	if plant.Is(plant.StrongOneSetCommits) {
		cfg.Sets = cfg.Sets[len(cfg.Sets)-1:]
	}
	if plant.Is(plant.StrongLearnerCounts) && len(cfg.Learners) > 0 {
		cfg.Sets = [][]hashring.SID{append(slices.Clone(cfg.Sets[0][:len(cfg.Sets[0])-1]), cfg.Learners[0])}
	}
	n := cfg.agreed(l.match(r))
	if n <= r.hard.Commit || r.log.epochAt(n) != l.epoch && !plant.Is(plant.StrongOldEpochCommits) {
		return
	}
	r.raiseCommit(n)
	if l.commitAt == 0 {
		l.commitAt = r.now.Mono
	}
	if r.hard.Commit >= l.barrier {
		l.active = true
	}
}

// match is how far each store of a set has the log durably, as far as it counts.
func (l *lead) match(r *Replica) func(hashring.SID) uint64 {
	return func(s hashring.SID) uint64 {
		if s == r.self {
			if plant.Is(plant.StrongOwnUnsynced) {
				return r.log.lastIndex()
			}
			return r.durable
		}
		if p := l.peer(s); p != nil && p.full {
			return p.match
		}
		return 0
	}
}

// propose says something to the Raft group.
func (r *Replica) propose(kind ProposalKind, prefer hashring.SID) {
	r.out.Proposals = append(r.out.Proposals, Proposal{Kind: kind, Epoch: r.cfg.Epoch, Prefer: prefer,
		Last: Position{r.log.epochAt(r.durable), r.durable}, Full: r.fit()})
}

// watch looks at what should not last: a silent primary, an epoch that is not activated,
// a role that cannot be taken, a disk that hangs.
func (r *Replica) watch() {
	l := r.lead
	switch {
	case r.cfg.Epoch == 0 || !r.cfg.IsMember(r.self):
	case l == nil && r.cfg.Primary == r.self:
		if r.forfeit && r.again(&r.saidAt, r.opts.Silence/2) {
			r.propose(AskOut, hashring.SID{})
		}
	case l == nil:
		if r.due(r.heardAt, r.opts.Silence) && r.again(&r.saidAt, r.opts.Silence/2) {
			r.propose(Silent, hashring.SID{})
		}
	case l.active && !r.cfg.Activated && r.again(&l.toldAt, r.opts.Retry):
		r.propose(Activate, hashring.SID{})
	case r.handing && r.again(&r.saidAt, r.opts.Silence/2):
		r.propose(AskOut, r.handTo)
	}
	r.watchEars()
	r.watchDisk()
	r.watchLearners()
}

// watchDisk looks at the age of the oldest batch. A member says that its disk hangs
// whatever its role is, so that it is not named; a primary gives up.
func (r *Replica) watchDisk() {
	if len(r.marks) == 0 || !r.due(r.marks[0].at, r.opts.Disk) {
		return
	}
	if r.again(&r.stalledAt, r.opts.Silence/2) {
		r.propose(Stalled, hashring.SID{})
	}
	if r.lead != nil {
		r.resign()
	}
}

// watchLearners tells when a learner has kept up.
func (r *Replica) watchLearners() {
	l := r.lead
	if l == nil || !l.active || len(r.cfg.Learners) == 0 || !r.due(r.beat(l.beatAt), 0) {
		return
	}
	l.beatAt = r.now.Mono
	for _, p := range l.peers {
		if p.member {
			continue
		}
		if p.match >= p.beatCommit && p.full && !p.differs {
			p.streak++
		} else {
			p.streak = 0
		}
		p.beatCommit = r.hard.Commit
		// The first run compared with nothing. And what it has learned must be right.
		if p.streak > caughtUpRuns && r.cfg.majority(r.offBy(0)) {
			r.propose(LearnerReady, p.sid)
		}
	}
}
