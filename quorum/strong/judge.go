package strong

import (
	"cmp"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// Judge turns what stores say of strong partitions into changes of the ring state. The
// Raft group's leader has one and commits what it finds. It remembers words for a short
// while and nothing that matters: a new leader's Judge hears all of it again, and two of
// them at once cannot do harm, because every change is a compare-and-swap on the epoch
// (S1). What it decides is a matter of liveness only: whoever it names has to seal a
// majority of every set before it leads (S6).
//
//	Activate from the primary of the epoch            -> activated
//	the primary asks out, or its disk hangs           -> T1
//	a majority of EVERY set calls the primary silent  -> T1
//	the primary's store is suspect or retired         -> T1
//	an epoch is not activated though majorities live  -> T1
//	an operator moves the primary                     -> T1
//	the sets are not the list                         -> learners, T2, T3; T4 when that hangs
//	a primary has more than its share, all is quiet   -> T1 (judge_spread.go)
//
// A Judge is not safe for concurrent use.
type Judge struct {
	opts     JudgeOptions
	dockets  map[uint32]*docket
	stalled  map[hashring.SID]time.Duration // when a store last said that its disk hangs
	suspects map[hashring.SID]*suspect
	failover pace          // of T1
	moves    pace          // of T2
	spreader pace          // of T1 that spread primaries
	unrest   time.Duration // when something last failed or was changed by others
	begun    bool
	next     time.Duration
}

// JudgeOptions: patience and bounds. The zero value is right for production.
type JudgeOptions struct {
	// Window is how long a word counts. 0: 2 s. Silent stores say so every half of
	// Options.Silence.
	Window time.Duration
	// Spacing after a change of primary before the partition's next one; it doubles with
	// each further change up to SpacingMost, and halves with each Calm without one. 0: 250
	// ms, 8 s, 4 s. The first change of a quiet partition never waits, nor does one that
	// comes every Options.Silence and Calm.
	Spacing, SpacingMost, Calm time.Duration
	// CoolOff is how long a store whose disk hung is named only if there is nobody else.
	// 0: 30 s.
	CoolOff time.Duration
	// Stuck is how long an epoch may stay without activation while a majority of every set
	// is alive. It doubles with each change of a partition that has not become active
	// since, up to StuckMost, and grows by as much with every 512 partitions that are not
	// active: those take longer together. 0: 5 s, 20 s.
	Stuck, StuckMost time.Duration
	// Doubt is how long a primary whose store was deposed by a false alarm before must be
	// called silent. It doubles with each further one, up to DoubtMost. 0: 2 s, 16 s.
	Doubt, DoubtMost time.Duration
	// Quiet is how long nothing must have failed before primaries are spread, SpreadRate
	// how many of them are moved in a second. 0: 30 s, 4.
	Quiet      time.Duration
	SpreadRate int
	// Abort is how long a joint epoch may, before its new set is given up. 0: 20 s.
	Abort time.Duration
	// Rate is how many primaries are named in a second, after Burst at once: a dead store's
	// partitions must not come back as one wave of seals, nor wait long (F41). 0: 512, 512.
	Rate, Burst int
	// MoveRate is how many sets are changed in a second (each costs the partition a
	// pause), Learning how many partitions may have live learners at once (each pulls a
	// snapshot). 0: 32, 64.
	MoveRate, Learning int
}

const (
	// sayAgain is after how long a change that has not come about is given again: by then
	// its commit has failed.
	sayAgain = 500 * time.Millisecond
	// again is when what one command had no room for, or what its pace held back, is tried
	// again.
	again = 50 * time.Millisecond
	// moveFor is how long an operator's move is tried.
	moveFor = 10 * time.Second
	// maxVoices bounds the stores that a partition's words are kept of: two sets.
	maxVoices = 2 * hashring.MaxReplicas
	// maxLevel bounds the doublings of Spacing.
	maxLevel = 16
	// stuckTogether partitions without activation at a time add Stuck to the patience with
	// each of them: at 4,096 a store opens, seals and syncs hundreds of times as many.
	stuckTogether = 512
	// commandRoom is what one command's changes may take of hashring.MaxCommandBytes as
	// text; changeBytes and storeBytes are the most that one change and each store named
	// in it take.
	commandRoom = hashring.MaxCommandBytes - 1024
	changeBytes = 90
	storeBytes  = 37
)

func (o JudgeOptions) filled() JudgeOptions {
	or(&o.Window, 2*time.Second)
	or(&o.Spacing, 250*time.Millisecond)
	or(&o.SpacingMost, 8*time.Second)
	or(&o.Calm, 4*time.Second)
	or(&o.CoolOff, 30*time.Second)
	or(&o.Stuck, 5*time.Second)
	or(&o.StuckMost, 20*time.Second)
	or(&o.Doubt, 2*time.Second)
	or(&o.DoubtMost, 16*time.Second)
	or(&o.Quiet, 30*time.Second)
	or(&o.SpreadRate, 4)
	or(&o.Abort, 20*time.Second)
	or(&o.Rate, 512)
	or(&o.Burst, 512)
	or(&o.MoveRate, 32)
	or(&o.Learning, 64)
	return o
}

// NewJudge makes the Judge of one term of leadership.
func NewJudge(o JudgeOptions) *Judge {
	o = o.filled()
	return &Judge{opts: o, dockets: map[uint32]*docket{}, stalled: map[hashring.SID]time.Duration{}, suspects: map[hashring.SID]*suspect{},
		failover: newPace(o.Rate, o.Burst), moves: newPace(o.MoveRate, o.MoveRate), spreader: newPace(o.SpreadRate, o.SpreadRate)}
}

// Take hears a word. Words of stores that have no say, or of other epochs, are harmless.
func (j *Judge) Take(now time.Duration, w Word) {
	if w.Partition >= hashring.MaxPartitions || w.From.IsZero() {
		return
	}
	d := j.docket(w.Partition)
	if w.Epoch < d.epoch {
		return
	}
	if s := j.suspects[w.From]; s != nil {
		s.spoke = true
	}
	v := d.voice(w.From)
	v.at, v.last, v.full = now, w.Last, w.Full
	o := order{w.From, w.Prefer, w.Epoch, now}
	switch w.Kind {
	case Activate:
		d.active = o
	case Silent:
		v.silent, v.said = w.Epoch, now
	case AskOut:
		d.out = o
	case LearnerReady:
		d.learned(o)
	case Spare:
		d.spare = o
	case Stalled:
		if len(j.stalled) < hashring.MaxStores {
			j.stalled[w.From] = now
		}
	}
}

func (j *Judge) docket(p uint32) *docket {
	d := j.dockets[p]
	if d == nil {
		d = &docket{}
		j.dockets[p] = d
	}
	return d
}

// Move asks for a hand-over: the store to shall lead partition p. See CheckMove. The
// order stands for ten seconds; the ring state tells when it has been carried out.
func (j *Judge) Move(now time.Duration, p uint32, to hashring.SID) {
	if p < hashring.MaxPartitions && !to.IsZero() {
		j.docket(p).move = order{to: to, at: now}
	}
}

// Next is when Changes is worth calling without a new word or ring state; 0: not before.
func (j *Judge) Next() time.Duration { return j.next }

func (j *Judge) wake(at time.Duration) {
	if at = max(at, 1); j.next == 0 || at < j.next {
		j.next = at
	}
}

// finding is a change and how urgent it is.
type finding struct {
	hashring.StrongChange
	class int
}

// The classes, by urgency. A command has room for some of them.
const (
	toActivate = iota
	toLead
	toSettle // T3, T4
	toJoin   // T2
	toLearn
	toSpread // T1 that nobody is in need of
)

// Changes gives what is to be committed now as one command: ascending by partition, a
// partition once, within the bounds of a command. alive is what gossip says; a store that
// has just been heard counts as alive whatever it says. A change that does not come about
// is given again after half a second, as long as its reason stands.
func (j *Judge) Changes(now time.Duration, st *hashring.State, alive func(hashring.SID) bool) []hashring.StrongChange {
	j.next = 0
	j.cool(now)
	if !j.begun { // what a former judge saw fail is not known
		j.begun = true
		j.restless(now)
	}
	c := &court{Judge: j, now: now, st: st, alive: alive, busy: -1}
	c.inactive = inactive(st)
	c.learn()
	var all []finding
	for p := range st.Partitions {
		part := &st.Partitions[p]
		if part.Strong == nil {
			continue
		}
		d := j.docket(uint32(p))
		if d.observe(now, part.Strong, &j.opts) {
			j.restless(now)
		}
		if f, ok := c.decide(d, uint32(p), part); ok {
			f.Partition, f.Epoch = uint32(p), part.Strong.Epoch
			all = append(all, f)
		}
	}
	return c.fit(all)
}

// cool forgets stalls that are over.
func (j *Judge) cool(now time.Duration) {
	for sid, at := range j.stalled { // order-free
		if now-at >= j.opts.CoolOff {
			delete(j.stalled, sid)
		}
	}
}

// inactive counts the partitions whose primary has not taken its role.
func inactive(st *hashring.State) (n int) {
	for p := range st.Partitions {
		if cfg := st.Partitions[p].Strong; cfg != nil && !cfg.Activated {
			n++
		}
	}
	return n
}

// spaced tells whether the partition's last change is long enough ago.
func (j *Judge) spaced(now time.Duration, d *docket) bool {
	level := d.levelAt(now, &j.opts)
	if level == 0 || plant.Is(plant.JudgeUnspaced) {
		return true
	}
	wait := d.since + min(j.opts.Spacing<<(level-1), j.opts.SpacingMost)
	if now >= wait {
		return true
	}
	j.wake(wait)
	return false
}

// fresh tells whether a word of time at still counts.
func (j *Judge) fresh(now, at time.Duration) bool {
	return now-at < j.opts.Window || plant.Is(plant.JudgeOldWords)
}

// court is one sitting.
type court struct {
	*Judge
	now               time.Duration
	st                *hashring.State
	alive             func(hashring.SID) bool
	led               map[hashring.SID]int // partitions that each store leads, those named now included
	busy              int                  // partitions with live learners or joint sets; -1: not counted yet
	inactive, spreads int                  // partitions that are not active; that are spread in this sitting
}

// decide finds the one change that a partition needs most.
func (c *court) decide(d *docket, p uint32, part *hashring.Partition) (finding, bool) {
	cfg := part.Strong
	said := hashring.StrongKind("")
	if d.said.epoch == cfg.Epoch && c.now < d.said.at+sayAgain {
		said = d.said.kind // it is on its way
		c.wake(d.said.at + sayAgain)
	}
	switch {
	case said != "" && said != hashring.StrongLearners && (said != hashring.StrongActivate || !cfg.Activated):
		return finding{}, false
	case !cfg.Activated && d.active.epoch == cfg.Epoch && d.active.by == part.Primary && c.fresh(c.now, d.active.at):
		return finding{hashring.StrongChange{Kind: hashring.StrongActivate}, toActivate}, true
	}
	if f, ok := c.primary(d, p, part); ok {
		c.restless(c.now)
		return f, true
	}
	if said != "" || !cfg.Activated && len(cfg.Sets) == 1 || !c.spaced(c.now, d) {
		return finding{}, false // sets are changed in quiet partitions
	}
	if f, ok := c.sets(d, part); ok {
		return f, true
	}
	if to, ok := c.spread(d, p, part); ok {
		return finding{hashring.StrongChange{Kind: hashring.StrongPrimary, Primary: to}, toSpread}, true
	}
	return finding{}, false
}

// fit takes the most urgent findings that one command has room for.
func (c *court) fit(all []finding) []hashring.StrongChange {
	slices.SortStableFunc(all, func(a, b finding) int { return cmp.Compare(a.class, b.class) })
	var out []hashring.StrongChange
	room := commandRoom
	for i := range all {
		f := &all[i].StrongChange
		room -= changeBytes + storeBytes*len(f.Stores)
		if !f.Primary.IsZero() {
			room -= storeBytes + 8
		}
		if room < 0 || len(out) == hashring.MaxPlaces {
			c.wake(c.now + again)
			break
		}
		if !c.allowed(all[i].class) {
			c.wake(c.now + again)
			continue
		}
		d := c.dockets[f.Partition]
		d.said.epoch, d.said.kind, d.said.at, d.said.spread = f.Epoch, f.Kind, c.now, all[i].class == toSpread
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b hashring.StrongChange) int { return cmp.Compare(a.Partition, b.Partition) })
	return out
}

// allowed takes a place in the pace of a class.
func (c *court) allowed(class int) bool {
	switch class {
	case toLead:
		return c.failover.take(c.now)
	case toJoin:
		return c.moves.take(c.now)
	case toSpread:
		return c.spreader.take(c.now)
	}
	return true
}
