package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// leadership is one node's time as leader of the Raft group, with the judge that hears
// what stores say of strong partitions. For a while after it has ended there are two.
type leadership struct {
	n      *node
	inc    uint32
	judge  *strong.Judge
	began  time.Duration
	frozen *hashring.State // what it knew when it was deposed; nil: it leads
	turn   bool            // it looks soon
}

// leaders of the Raft group.
type leaders struct {
	now, old *leadership
	none     time.Duration // until then nobody is elected
}

const (
	judgeEvery  = 500 * time.Millisecond // a judge looks, whatever it has heard
	electMost   = 2 * time.Second        // how long the group is without a leader
	lingerMost  = 2 * time.Second        // how long a deposed leader does not know it
	judgeGather = 3 * time.Millisecond
)

// lead has the group led from the start.
func (a *authority) lead() {
	a.w.do(between(a.w.ctlRand, judgeEvery/2, judgeEvery), func() {
		a.elect()
		for _, l := range []*leadership{a.leaders.now, a.leaders.old} {
			a.looks(l)
		}
		a.lead()
	})
}

// elect looks after the leadership: a leader that died, stands still or has lost its
// quorum is followed by another node after a while.
func (a *authority) elect() {
	w, l := a.w, a.leaders.now
	if l != nil && (l.n.inc != l.inc || !a.reachable(l.n) || !l.n.running()) {
		a.depose()
		l = nil
	}
	if l != nil || w.now < a.leaders.none || a.outage > 0 {
		return
	}
	for _, i := range w.ctlRand.Perm(len(w.nodes)) {
		if n := w.nodes[i]; n.running() && n.confirmed && a.reachable(n) {
			a.leaders.now = &leadership{n: n, inc: n.inc, judge: strong.NewJudge(strong.JudgeOptions{Window: max(2*time.Second, 3*w.draw.Strong.Silence/2)}), began: w.now}
			w.note("%s leads the group", n.name)
			return
		}
	}
}

// depose ends the present leadership; its node may not know for a while.
func (a *authority) depose() {
	l := a.leaders.now
	if l == nil {
		return
	}
	a.w.note("%s leads the group no more", l.n.name)
	a.w.probe.hit(pLeaderChange)
	l.frozen = a.state
	a.leaders.now, a.leaders.old = nil, l
	a.leaders.none = a.w.now + between(a.w.ctlRand, 0, electMost)
	a.w.do(between(a.w.ctlRand, 0, lingerMost), func() {
		if a.leaders.old == l {
			a.leaders.old = nil
		}
	})
}

// said brings a shard's words to whom its node takes for the leader.
func (n *node) said(words []strong.Word) {
	w, a := n.w, &n.w.auth
	if len(words) == 0 {
		return
	}
	if w.telling() {
		for i := range words {
			word := &words[i]
			w.note("%s says of p%d: %v of epoch %d, log to %v", n.name, word.Partition, word.Kind, word.Epoch, word.Last)
		}
	}
	words = slices.Clone(words)
	inc := n.inc
	w.do(between(w.ctlRand, time.Millisecond, 15*time.Millisecond), func() {
		a.elect()
		l := a.leaders.now
		if old := a.leaders.old; old != nil && (l == nil || w.ctlRand.IntN(4) == 0) {
			l = old
		}
		if l == nil || n.inc != inc || a.outage > 0 || l.n != n && !w.talks(n, l.n) || !l.n.running() || l.n.inc != l.inc {
			return // they say it again
		}
		for _, word := range words {
			l.judge.Take(w.now-l.began, word)
		}
		if !l.turn {
			l.turn = true
			w.do(between(w.ctlRand, judgeGather, 3*judgeGather), func() { a.looks(l) })
		}
	})
}

// looks has a judge say what is to change, and sends that on its way into the log.
func (a *authority) looks(l *leadership) {
	if l == nil {
		return
	}
	l.turn = false
	w := a.w
	if l.n.inc != l.inc || !l.n.running() {
		return
	}
	st := a.state
	if l.frozen != nil {
		st = l.frozen
	}
	alive := func(sid hashring.SID) bool { return sid == l.n.sid || l.n.view.alive[sid] }
	changes := l.judge.Changes(w.now-l.began, st, alive)
	if a.tame { // a script decides itself
		changes = slices.DeleteFunc(changes, func(c hashring.StrongChange) bool { return c.Kind != hashring.StrongActivate })
	}
	if next := l.judge.Next(); next > 0 && !l.turn {
		l.turn = true
		w.do(max(next-(w.now-l.began), judgeGather), func() { a.looks(l) })
	}
	if len(changes) == 0 {
		return
	}
	w.do(between(w.ctlRand, time.Millisecond, 40*time.Millisecond), func() { a.judged(l, changes) })
}

// judged commits the changes, if the leader still has its quorum, or had when it wrote
// them to its log.
func (a *authority) judged(l *leadership, changes []hashring.StrongChange) {
	if a.outage > 0 || l.frozen != nil && a.w.ctlRand.IntN(2) == 0 {
		a.w.probe.hit(pChangeLost)
		return
	}
	a.w.probe.hitIf(l.frozen != nil, pTwoJudges)
	a.change(changes)
}

// change applies changes of strong configurations.
func (a *authority) change(changes []hashring.StrongChange) {
	slices.SortFunc(changes, func(x, y hashring.StrongChange) int { return int(x.Partition) - int(y.Partition) })
	before := a.state
	err := a.apply(hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: changes}})
	switch {
	case errors.Is(err, hashring.ErrStaleEpoch):
		a.w.probe.hit(pChangeStale)
		return
	case err != nil:
		a.w.note("changes refused: %v", err)
		a.w.probe.hit(pChangeRefused)
		return
	}
	for i := range changes {
		c := &changes[i]
		if a.state.Partitions[c.Partition].Strong == before.Partitions[c.Partition].Strong {
			continue // its epoch had passed
		}
		if a.w.telling() {
			a.w.note("p%d: %s at epoch %d: %s", c.Partition, c.Kind, c.Epoch, a.drawConfig(c.Partition))
		}
		switch c.Kind {
		case hashring.StrongPrimary:
			a.w.probe.named(a.w, before.Partitions[c.Partition].Primary, c)
		case hashring.StrongJoint:
			a.w.probe.hit(pJoint)
		case hashring.StrongSettle:
			a.w.probe.hit(pSettled)
		case hashring.StrongAbort:
			a.w.probe.hit(pAborted)
		case hashring.StrongLearners:
			a.w.probe.hit(pLearners)
		}
	}
}
