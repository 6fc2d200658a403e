package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/core"
)

func fill(token uint64, p uint32, epoch uint64) core.Proposal {
	return core.Proposal{Token: token, Filled: &hashring.Place{Partition: p, Epoch: epoch, SID: hashring.SID{9}, Session: 1}}
}

func purge(token uint64, p uint32, epoch uint64, actors int) core.Proposal {
	r := &hashring.PurgeRound{Partition: p, Epoch: epoch, Generation: 1, TimeMS: 1}
	for a := range actors {
		r.Clock = append(r.Clock, hashring.Dot{Actor: uint64(a) << 32, Counter: 1 << 40})
	}
	return core.Proposal{Token: token, Purge: r}
}

// council is a Raft group that refuses a command when it has one of the stale partitions.
type council struct {
	stale map[uint32]bool
	err   error
	taken []hashring.Command
	asked int
}

func (c *council) propose(_ context.Context, cmd hashring.Command) (*hashring.State, error) {
	c.asked++
	if c.err != nil {
		return nil, c.err
	}
	if _, err := hashring.EncodeCommand(cmd); err != nil {
		return nil, err
	}
	if cmd.Filled != nil {
		for _, pl := range cmd.Filled.Places {
			if c.stale[pl.Partition] {
				return nil, hashring.ErrStaleEpoch
			}
		}
	}
	c.taken = append(c.taken, cmd)
	return nil, nil
}

// proposeAll lets one proposer settle them all, and gives what the shards hear.
func proposeAll(c *council, ring *hashring.Ring, todo []core.Proposal) map[uint64]bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	heard, left := map[uint64]bool{}, len(todo)
	p := newProposer(c.propose, func() *hashring.Ring { return ring }, func(token uint64, e core.Event) {
		heard[token] = e.Decided.Applied
		if left--; left == 0 {
			cancel()
		}
	}, slog.New(slog.DiscardHandler))
	for _, pr := range todo {
		p.add(pr)
	}
	p.run(ctx)
	return heard
}

// What ends together goes together; one place in the way holds nobody up.
func TestProposalsGoTogether(t *testing.T) {
	ring := hashring.NewRing(&hashring.State{Version: 3, Partitions: make([]hashring.Partition, 1200)})
	ring.Partitions[7].Epoch = 5
	c := &council{stale: map[uint32]bool{400: true}}
	var todo []core.Proposal
	for i := range uint64(1200) {
		todo = append(todo, fill(i, uint32(1199-i), 4))
	}
	todo = append(todo, fill(5000, 30, 4), purge(6000, 30, 4, 2)) // a partition again, and another kind
	heard := proposeAll(c, ring, todo)
	var not []uint64
	for token, applied := range heard {
		if !applied {
			not = append(not, token)
		}
	}
	slices.Sort(not)
	if len(heard) != 1202 || !slices.Equal(not, []uint64{799, 1192}) { // 400 is refused, 7 is stale
		t.Fatalf("%d heard, refused: %v", len(heard), not)
	}
	if c.asked > 30 {
		t.Fatalf("%d commands", c.asked)
	}
	for _, cmd := range c.taken {
		if cmd.Filled != nil && (len(cmd.Filled.Places) > hashring.MaxPlaces || !slices.IsSortedFunc(cmd.Filled.Places, func(a, b hashring.Place) int { return int(a.Partition) - int(b.Partition) })) {
			t.Fatal("a batch is too long or out of order")
		}
	}
}

func TestPurgeRoundsFitACommand(t *testing.T) {
	c := &council{}
	var todo []core.Proposal
	for i := range uint64(40) {
		todo = append(todo, purge(i, uint32(i), 1, 1000)) // 15 KiB each
	}
	for token, applied := range proposeAll(c, nil, todo) {
		if !applied {
			t.Errorf("%d was not applied", token)
		}
	}
	if len(c.taken) < 10 || len(c.taken) > 40 {
		t.Fatalf("%d commands", len(c.taken))
	}
}

// An outcome that nobody knows is told as one that may be asked for again, not tried
// again here in smaller pieces.
func TestProposalsOfUnknownOutcome(t *testing.T) {
	c := &council{err: fmt.Errorf("%w: lost", ringraft.ErrUnknown)}
	for token, applied := range proposeAll(c, nil, []core.Proposal{fill(1, 1, 1), fill(2, 2, 1)}) {
		if applied {
			t.Errorf("%d was applied", token)
		}
	}
	if c.asked != 1 {
		t.Fatalf("asked %d times", c.asked)
	}
}
