package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// replacing is what a newcomer under a taken node name knows of the store that has
// the name.
type replacing struct {
	able     bool // this node's data path handles building replicas (lifeConfig.Rebuild)
	feature  uint16
	alive    bool // gossip holds the other store for alive
	answered bool // a process has just answered under its id
	waited   time.Duration
	patience time.Duration
}

type replaceVerdict uint8

const (
	replaceWait replaceVerdict = iota
	replaceNow                 // it is dead: take its place
	replaceEnd                 // the name is another's: end and say so
)

// verdict is the rule of the contract: a node that comes back with an empty data
// directory takes the place of its dead store as soon as no live process answers
// under the old id; under a live name it waits, for patience, and then ends. The ring
// has the last word: the old store's boot count must be the one seen here, and every
// partition must keep a full owner.
func (r replacing) verdict() replaceVerdict {
	live := r.alive || r.answered
	can := r.able && r.feature >= hashring.FeatureBuilding
	switch {
	case can && !live:
		return replaceNow
	case r.waited >= r.patience:
		return replaceEnd
	}
	return replaceWait
}

// nameTaken is what to do about a node name that another store has.
func (l *lifecycle) nameTaken(ctx context.Context, other hashring.Store, reg *registration) (bool, error) {
	now := time.Now()
	if reg.taken.IsZero() {
		reg.taken = now
	}
	r := replacing{able: l.cfg.Rebuild, alive: l.parts.Load().gossip.View().Alive(other.SID), waited: now.Sub(reg.taken), patience: l.cfg.Times.Name}
	if ring := l.ring.Load(); ring != nil {
		r.feature = ring.Feature
	}
	if r.able && !r.alive {
		r.answered = l.answers(ctx, &other)
	}
	switch r.verdict() {
	case replaceNow:
		return l.replace(ctx, &other, reg)
	case replaceEnd:
		return false, &NameTakenError{Node: l.cfg.Name, Other: other, Alive: r.alive || r.answered}
	}
	l.say(slog.LevelWarn, "the node name is taken; waiting for it to become free", "name", l.cfg.Name, "other_store", other.SID.Short(),
		"other_peer", other.Peer, "other_alive", r.alive || r.answered, "at_most", l.cfg.Times.Name)
	return false, nil
}

// answers tells whether a process runs the store, by asking at its address. It may
// be this node's own address by now: then somebody else answers, or nobody.
func (l *lifecycle) answers(ctx context.Context, st *hashring.Store) bool {
	if st.Peer == l.cfg.Peer {
		return false
	}
	var out clusterAnswer
	return l.ask(ctx, st.Peer, methodCluster, l.introduction(), &out) == nil && out.SID == st.SID
}

// replace proposes that this store takes the dead one's place.
func (l *lifecycle) replace(ctx context.Context, old *hashring.Store, reg *registration) (bool, error) {
	_, err := l.propose(ctx, hashring.Command{Kind: hashring.KindReplaceStore,
		ReplaceStore: &hashring.ReplaceStore{Old: old.SID, Boot: old.Boot, Store: l.me()}})
	switch {
	case err == nil:
		l.log.Info("this store takes the place of the node's dead one", "dead_store", old.SID.Short(), "store", l.self.Short())
	case errors.Is(err, hashring.ErrSame):
		return true, nil
	case errors.Is(err, hashring.ErrLastFull):
		l.say(slog.LevelWarn, "the dead store of this node cannot be replaced yet: bring its data directory back, or wait for the other replicas",
			"dead_store", old.SID.Short(), "reason", err)
		return false, nil
	case errors.Is(err, hashring.ErrUnknownStore), errors.Is(err, hashring.ErrNameTaken):
		return false, nil // the ring has changed; the next try sees it
	}
	return l.registerAnswer(ctx, err, reg)
}

// errReplaced ends a process whose store was taken for dead.
var errReplaced = errors.New("another store has taken this store's place in the ring")

func replacedError(me *hashring.Store) error {
	return fmt.Errorf("%w: store %s of node %s was taken for dead, and store %s stands for it. What this data directory holds is of no use to the "+
		"cluster any more: to run a node here, start it with an empty data directory, and under another --name if that one runs elsewhere",
		errReplaced, me.SID.Short(), me.Node, me.Successor.Short())
}

// growLists is a duty of the Raft leader: lists that are shorter than they should be
// get a store each, once no new node has appeared for Quiet.
func (l *lifecycle) growLists(ctx context.Context, t *term, st *hashring.State) error {
	if !l.cfg.Rebuild || time.Since(t.changed) < l.cfg.Times.Quiet {
		return nil
	}
	places := hashring.PlanGrow(st, l.parts.Load().gossip.View().Alive)
	if len(places) == 0 {
		return nil
	}
	places = places[:min(len(places), hashring.MaxPlaces)]
	err := l.decree(ctx, hashring.Command{Kind: hashring.KindGrow, Grow: &hashring.Grow{Places: places}})
	if err == nil {
		l.log.Info("replica lists grow", "partitions", len(places))
	}
	return err
}
