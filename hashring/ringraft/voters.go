package ringraft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"github.com/quoratedb/quorate/hashring"
)

const (
	// stepsMax bounds one reconciliation: five voters replaced one by one take 15.
	stepsMax = 32
	// catchUpPoll is how often a newcomer's progress is looked at.
	catchUpPoll = 20 * time.Millisecond
)

// stepKind is one membership change.
type stepKind uint8

const (
	stepNone    stepKind = iota
	stepRemove           // a server that is not wanted
	stepAdd              // a newcomer that gets the log and has no vote
	stepAddress          // a voter that moved
	stepWait             // newcomers are still behind
	stepPromote          // a newcomer becomes a voter
)

type step struct {
	kind stepKind
	id   raft.ServerID
	addr raft.ServerAddress
}

// Voters are the stores that vote, in the newest configuration, sorted.
func (r *Raft) Voters() []hashring.SID {
	f := r.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	var out []hashring.SID
	for _, s := range f.Configuration().Servers {
		if sid, err := hashring.ParseSID(string(s.ID)); err == nil && s.Suffrage == raft.Voter {
			out = append(out, sid)
		}
	}
	slices.SortFunc(out, hashring.SID.Compare)
	return out
}

// ReconcileVoters makes want the voters: one change at a time, newcomers first as
// non-voters until they have the whole log, then vote by vote, an added one before
// the removed one that it replaces, unless both have one address. The number is even
// only between two such steps.
// Only on the leader; it returns when done, when ctx ends or on the first error,
// and goes on from wherever the group is when called again. Removing this store
// itself comes last and ends its leadership.
func (r *Raft) ReconcileVoters(ctx context.Context, want []hashring.SID, addr func(hashring.SID) string) error {
	if len(want)%2 == 0 {
		return fmt.Errorf("raft: %d voters wanted, the number must be odd", len(want))
	}
	r.reconcile.Lock()
	defer r.reconcile.Unlock()
	for range stepsMax {
		if !r.IsLeader() {
			return r.notLeader()
		}
		f := r.raft.GetConfiguration()
		if err := f.Error(); err != nil {
			return fmt.Errorf("raft: configuration: %w", err)
		}
		s, err := r.nextStep(f.Configuration().Servers, want, addr)
		if err != nil || s.kind == stepNone {
			return err
		}
		if err := r.take(ctx, s, f); err != nil {
			return err
		}
		if s.kind == stepRemove && s.id == serverID(r.cfg.SID) {
			return nil
		}
	}
	return errors.New("raft: voters are not settled yet")
}

// take carries out one step against configuration c.
func (r *Raft) take(ctx context.Context, s step, c raft.ConfigurationFuture) error {
	var f raft.Future
	index := c.Index()
	switch s.kind {
	case stepWait:
		return r.awaitNewcomers(ctx, c.Configuration().Servers)
	case stepRemove:
		f = r.raft.RemoveServer(s.id, index, enqueueWait)
	case stepAdd:
		f = r.raft.AddNonvoter(s.id, s.addr, index, enqueueWait)
	default:
		f = r.raft.AddVoter(s.id, s.addr, index, enqueueWait)
	}
	if err := r.wait(ctx, f); err != nil {
		return fmt.Errorf("raft voters: %s of %s: %w", s.kind, s.id, r.failed(err))
	}
	r.log.Info("raft voters: one step", "step", s.kind.String(), "store", string(s.id))
	return nil
}

func (k stepKind) String() string {
	return [...]string{"none", "remove", "add", "address", "wait", "promote"}[k]
}

// awaitNewcomers waits until every server without a vote has the log up to what is
// committed now.
func (r *Raft) awaitNewcomers(ctx context.Context, servers []raft.Server) error {
	goal := r.raft.CommitIndex()
	t := time.NewTicker(catchUpPoll)
	defer t.Stop()
	for {
		behind := slices.IndexFunc(servers, func(s raft.Server) bool {
			return s.Suffrage != raft.Voter && r.transport.match(s.ID) < goal
		})
		if behind < 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("raft voters: store %s has not caught up to %d: %w", servers[behind].ID, goal, ctx.Err())
		case <-t.C:
			if !r.IsLeader() {
				return r.notLeader()
			}
		}
	}
}

// nextStep compares the configuration with what is wanted.
func (r *Raft) nextStep(servers []raft.Server, want []hashring.SID, addr func(hashring.SID) string) (step, error) {
	wanted := make(map[raft.ServerID]raft.ServerAddress, len(want))
	for _, sid := range want {
		wanted[serverID(sid)] = raft.ServerAddress(addr(sid))
	}
	have := make(map[raft.ServerID]raft.Server, len(servers))
	for _, s := range servers {
		have[s.ID] = s
		_, keep := wanted[s.ID]
		if s.Suffrage != raft.Voter && !keep {
			return step{kind: stepRemove, id: s.ID}, nil
		}
	}
	for _, sid := range want {
		id := serverID(sid)
		s, there := have[id]
		switch a := wanted[id]; {
		case !there && a == "":
			return step{}, fmt.Errorf("raft voters: no address of store %s is known", sid.Short())
		case !there:
			if old, taken := unwantedAt(servers, wanted, a); taken {
				return step{kind: stepRemove, id: old}, nil
			}
			return step{stepAdd, id, a}, nil
		case a != "" && s.Address != a && s.Suffrage == raft.Voter:
			return step{stepAddress, id, a}, nil
		case a != "" && s.Address != a:
			return step{stepAdd, id, a}, nil
		}
	}
	return r.nextVote(servers, wanted), nil
}

// unwantedAt finds the server that has a newcomer's address and is to go: a node whose
// disk was wiped comes back at its address under a new store id, and raft takes no
// address twice. Its old vote goes first then; the store is dead, so the others need
// each other before and after.
func unwantedAt(servers []raft.Server, wanted map[raft.ServerID]raft.ServerAddress, addr raft.ServerAddress) (raft.ServerID, bool) {
	for _, s := range servers {
		if _, keep := wanted[s.ID]; !keep && s.Address == addr {
			return s.ID, true
		}
	}
	return "", false
}

// nextVote promotes or removes one voter; newcomers are all in the configuration.
func (r *Raft) nextVote(servers []raft.Server, wanted map[raft.ServerID]raft.ServerAddress) step {
	var voters int
	var in, out []raft.Server
	behind := false
	for _, s := range servers {
		_, keep := wanted[s.ID]
		switch {
		case s.Suffrage != raft.Voter:
			in = append(in, s)
			behind = behind || r.transport.match(s.ID) < r.raft.CommitIndex()
		case !keep:
			out = append(out, s)
			voters++
		default:
			voters++
		}
	}
	self := serverID(r.cfg.SID)
	slices.SortFunc(out, func(a, b raft.Server) int { // this store goes last
		return cmp.Or(boolCompare(a.ID == self, b.ID == self), cmp.Compare(a.ID, b.ID))
	})
	switch {
	case len(in) > 0 && behind && voters%2 == 1:
		return step{kind: stepWait} // all of them first: the number stays odd meanwhile
	case len(in) > 0 && (voters <= len(wanted) || len(out) == 0):
		return step{stepPromote, in[0].ID, in[0].Address}
	case len(out) > 0:
		return step{kind: stepRemove, id: out[0].ID}
	}
	return step{}
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
