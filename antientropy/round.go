package antientropy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// Round is one purge round at its lead.
type Round struct {
	cfg      RoundConfig
	phase    Phase
	reports  map[hashring.SID]Report
	passed   map[hashring.SID]bool // exchanges of this phase
	confirms map[hashring.SID]Confirmation
	seen     version.Vector // by owners, in the survey
	block    Block
	wake     Duration
	asks     int
	gathers  int
	question uint32
}

// ask begins a new question: answers to older ones are late from now on.
func (r *Round) ask(now Duration, phase Phase) {
	r.question++
	r.phase, r.asks, r.wake = phase, 0, now+purgeAnswer
}

func (r *Round) token() uint64 { return uint64(r.cfg.Round)<<32 | uint64(r.question) }

// NewRound begins with the survey. The lead's own answers are asked for like others.
func NewRound(cfg RoundConfig, now Duration) (*Round, RoundDo) {
	r := &Round{cfg: cfg}
	return r, r.confirm(now, Surveying)
}

// Phase is where the round is.
func (r *Round) Phase() Phase { return r.phase }

// Blocked is what the round waits for, or why it ended.
func (r *Round) Blocked() Block { return r.block }

func (r *Round) waits(now Duration, why Why, store hashring.SID, count uint64) {
	if r.block.Why != why || r.block.Store != store {
		r.block.Since = now
	}
	r.block.Why, r.block.Store, r.block.Count = why, store, count
}

func (r *Round) gather(now Duration) RoundDo {
	r.ask(now, Gathering)
	r.reports = make(map[hashring.SID]Report)
	r.waits(now, NoReport, r.cfg.Stores[0].Store, 0)
	return RoundDo{Ask: r.token(), Report: sidsOf(r.cfg.Stores), Wake: r.wake}
}

func sidsOf(members []Member) []hashring.SID {
	out := make([]hashring.SID, len(members))
	for i, m := range members {
		out[i] = m.Store
	}
	return out
}

func (r *Round) over() bool { return r.phase == Purged || r.phase == Aborted }

func (r *Round) abort(now Duration, why Why, store hashring.SID) RoundDo {
	if r.over() {
		return RoundDo{}
	}
	r.phase, r.wake = Aborted, 0
	r.waits(now, why, store, 0)
	return RoundDo{Done: true}
}

func (r *Round) still() RoundDo { return RoundDo{Wake: r.wake} }

// Changed tells of the ring and view of now: it ends the round unless all is as it was.
func (r *Round) Changed(now Duration, epoch, generation uint64, owners, stores []Member) RoundDo {
	if epoch != r.cfg.Epoch || generation != r.cfg.Generation || !slices.Equal(owners, r.cfg.Owners) || !slices.Equal(stores, r.cfg.Stores) {
		return r.abort(now, MembersMoved, hashring.SID{})
	}
	return r.still()
}

// Down: a store cannot be reached any more.
func (r *Round) Down(now Duration, store hashring.SID) RoundDo {
	if !slices.Contains(sidsOf(r.cfg.Stores), store) {
		return r.still()
	}
	return r.abort(now, StoreDown, store)
}

func (r *Round) fits(m Member, boot, epoch, generation uint64) bool {
	return m.Boot == boot && epoch == r.cfg.Epoch && generation == r.cfg.Generation
}

func memberOf(members []Member, store hashring.SID) (Member, bool) {
	i := slices.IndexFunc(members, func(m Member) bool { return m.Store == store })
	if i < 0 {
		return Member{}, false
	}
	return members[i], true
}

// Reported takes a store's report.
func (r *Round) Reported(now Duration, from hashring.SID, rep Report) RoundDo {
	m, ok := memberOf(r.cfg.Stores, from)
	if r.phase != Gathering || !ok || rep.Ask != r.token() || r.block.Why == HintsWait || r.block.Why == MarksStand {
		return r.still()
	}
	if !r.fits(m, rep.Boot, rep.Epoch, rep.Generation) {
		return r.abort(now, MembersMoved, from)
	}
	if rep.Hints > 0 || rep.Marks > 0 {
		return r.unclean(now, from, rep)
	}
	r.reports[from] = rep
	for _, m := range r.cfg.Stores {
		if _, ok := r.reports[m.Store]; !ok {
			r.waits(now, NoReport, m.Store, 0)
			return r.still()
		}
	}
	r.gathers = 0
	return r.pass(now, Pulling)
}

// unclean: hints are drained first. All reports are taken again then: those that have
// come say nothing about what was handed to their stores since.
func (r *Round) unclean(now Duration, from hashring.SID, rep Report) RoundDo {
	if r.gathers++; r.gathers > maxGatherings {
		return r.abort(now, GaveUp, from)
	}
	if rep.Hints > 0 {
		r.waits(now, HintsWait, from, rep.Hints)
	} else {
		r.waits(now, MarksStand, from, rep.Marks)
	}
	r.wake = now + reportAgain
	return r.still()
}

// pass begins the exchanges of a phase.
func (r *Round) pass(now Duration, phase Phase) RoundDo {
	r.ask(now, phase)
	r.passed = make(map[hashring.SID]bool)
	others := r.others()
	if len(others) == 0 {
		return r.confirm(now, Confirming)
	}
	r.waits(now, PassUnfinish, others[0], 0)
	r.wake = 0
	return RoundDo{Ask: r.token(), Exchange: others}
}

func (r *Round) others() (out []hashring.SID) {
	for _, m := range r.cfg.Owners {
		if m.Store != r.cfg.Self {
			out = append(out, m.Store)
		}
	}
	return out
}

// Passed: the exchanges with an owner that the question asked for, one for every n,
// have ended. Only complete means that each of them was Complete.
func (r *Round) Passed(now Duration, ask uint64, with hashring.SID, complete bool) RoundDo {
	if r.phase != Pulling && r.phase != Spreading || ask != r.token() || !slices.Contains(r.others(), with) || r.passed[with] {
		return r.still()
	}
	if !complete {
		if r.asks++; r.asks > maxPurgeAsks {
			return r.abort(now, GaveUp, with)
		}
		r.waits(now, PassUnfinish, with, 0)
		return RoundDo{Ask: ask, Exchange: []hashring.SID{with}}
	}
	r.passed[with] = true
	for _, o := range r.others() {
		if !r.passed[o] {
			r.waits(now, PassUnfinish, o, 0)
			return r.still()
		}
	}
	if r.phase == Pulling {
		return r.pass(now, Spreading)
	}
	return r.confirm(now, Confirming)
}

func (r *Round) confirm(now Duration, phase Phase) RoundDo {
	r.ask(now, phase)
	r.confirms = make(map[hashring.SID]Confirmation)
	r.waits(now, NoConfirm, r.cfg.Owners[0].Store, 0)
	return RoundDo{Ask: r.token(), Confirm: sidsOf(r.cfg.Owners), Wake: r.wake}
}

// Confirmed takes an owner's answer to the survey or at the end.
func (r *Round) Confirmed(now Duration, from hashring.SID, c Confirmation) RoundDo {
	m, ok := memberOf(r.cfg.Owners, from)
	if r.phase != Surveying && r.phase != Confirming || !ok || c.Ask != r.token() {
		return r.still()
	}
	if !r.fits(m, c.Boot, c.Epoch, c.Generation) {
		return r.abort(now, MembersMoved, from)
	}
	r.confirms[from] = c
	for _, m := range r.cfg.Owners {
		if _, ok := r.confirms[m.Store]; !ok {
			r.waits(now, NoConfirm, m.Store, 0)
			return r.still()
		}
	}
	if r.phase == Surveying {
		for _, m := range r.cfg.Owners {
			r.seen = r.seen.Join(r.confirms[m.Store].Seen)
		}
		return r.gather(now)
	}
	r.ask(now, Committing)
	r.waits(now, NoCommit, hashring.SID{}, 0)
	return RoundDo{Propose: r.commit(), Wake: r.wake}
}

// commit is K and T. K is what the survey saw, and nothing beside: the contexts of what
// is to be dropped are all that is of use, and the clock is kept for ever. Of a living
// actor it never exceeds the cut; a dead one mints no more, what was seen of it has been
// spread. Less than a sound K is sound too.
func (r *Round) commit() *Commit {
	c := &Commit{Partition: r.cfg.Partition, Epoch: r.cfg.Epoch, Generation: r.cfg.Generation + 1}
	var cuts version.Vector
	for _, m := range r.cfg.Stores {
		cuts = cuts.Join(r.reports[m.Store].Cut)
	}
	for _, d := range r.seen {
		if cut := cuts.Get(d.Actor); cut > 0 {
			d.Counter = min(d.Counter, cut)
		}
		c.Clock = append(c.Clock, d)
	}
	for i, m := range r.cfg.Owners {
		if ms := r.reports[m.Store].WallMS; i == 0 || ms < c.ExpireMS {
			c.ExpireMS = ms
		}
	}
	return c
}

// Bar ends a round that this store may not go on with, and says why.
func (r *Round) Bar(now Duration, why Why) RoundDo { return r.abort(now, why, hashring.SID{}) }

// Committed: Raft has applied the command, or refused it.
func (r *Round) Committed(now Duration, applied bool) RoundDo {
	if r.phase != Committing {
		return r.still()
	}
	if !applied {
		return r.abort(now, CommitRefused, hashring.SID{})
	}
	r.phase, r.wake, r.block = Purged, 0, Block{}
	return RoundDo{Done: true}
}

// Wake: the time of the last Wake has come. What has not been answered is asked again.
func (r *Round) Wake(now Duration) RoundDo {
	if r.wake == 0 || now < r.wake || r.over() {
		return r.still()
	}
	if r.phase == Gathering && r.block.Why != NoReport {
		return r.gather(now)
	}
	if r.asks++; r.asks > maxPurgeAsks {
		return r.abort(now, GaveUp, r.block.Store)
	}
	r.wake = now + purgeAnswer
	do := r.still()
	do.Ask = r.token()
	switch r.phase {
	case Gathering:
		for _, m := range r.cfg.Stores {
			if _, ok := r.reports[m.Store]; !ok {
				do.Report = append(do.Report, m.Store)
			}
		}
	case Surveying, Confirming:
		for _, m := range r.cfg.Owners {
			if _, ok := r.confirms[m.Store]; !ok {
				do.Confirm = append(do.Confirm, m.Store)
			}
		}
	case Committing:
		do.Propose = r.commit()
	}
	return do
}

func (r *Round) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "p%d generation %d: %v", r.cfg.Partition, r.cfg.Generation, r.phase)
	if r.block.Why != NotBlocked {
		fmt.Fprintf(&b, ", %v", r.block.Why)
		if !r.block.Store.IsZero() {
			fmt.Fprintf(&b, " at %s", r.block.Store.Short())
		}
		if r.block.Count > 0 {
			fmt.Fprintf(&b, " (%d)", r.block.Count)
		}
	}
	return b.String()
}
