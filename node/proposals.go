package node

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/httpapi"
)

const (
	// maxProposals bounds those that wait: every partition may fill some stores and
	// purge once. What comes above it is told to come again.
	maxProposals = 4 * hashring.MaxPartitions
	// proposalBytes bounds one command's clocks as text, under MaxCommandBytes with
	// room for the numbers around MaxPlaces of them.
	proposalBytes = hashring.MaxCommandBytes / 2
	// proposalRest is the pause after a refusal: its cause, a newer ring, is on its way
	// to the shards, which would otherwise ask the same thing again at once.
	proposalRest = 100 * time.Millisecond
)

// proposer brings what the shards want in the ring state to the Raft group. While one
// command is in flight the next ones gather, so that partitions which end together,
// of all shards, go together: each command is a commit and a state pushed to all.
type proposer struct {
	waiting *queue[core.Proposal]
	propose func(context.Context, hashring.Command) (*hashring.State, error)
	ring    func() *hashring.Ring    // the newest known
	decided func(uint64, core.Event) // to the shard of that token
	log     *slog.Logger
}

func newProposer(propose func(context.Context, hashring.Command) (*hashring.State, error), ring func() *hashring.Ring,
	decided func(uint64, core.Event), log *slog.Logger) *proposer {
	return &proposer{newQueue[core.Proposal](), propose, ring, decided, log}
}

// add takes a proposal of a shard.
func (p *proposer) add(pr core.Proposal) {
	if !p.waiting.put(pr, maxProposals) {
		p.decide(pr, false)
	}
}

// run proposes until ctx ends.
func (p *proposer) run(ctx context.Context) {
	var todo []core.Proposal
	for {
		select {
		case <-p.waiting.signal:
		case <-ctx.Done():
			return
		}
		todo = p.waiting.take(todo)
		refused := false
		for _, batch := range batches(p.fresh(todo)) {
			refused = !p.settle(ctx, batch) || refused
		}
		clear(todo)
		if refused {
			select {
			case <-time.After(proposalRest):
			case <-ctx.Done():
			}
		}
	}
}

// fresh drops what the known ring would refuse for its epoch: most of what is stale is
// found here, without a commit.
func (p *proposer) fresh(todo []core.Proposal) []core.Proposal {
	r := p.ring()
	if r == nil {
		return todo
	}
	var out []core.Proposal
	for _, pr := range todo {
		at, epoch := place(&pr)
		if int(at) < len(r.Partitions) && r.Partitions[at].PlanEpoch() > epoch {
			p.decide(pr, false)
			continue
		}
		out = append(out, pr)
	}
	return out
}

// settle commits a batch; a refused one is halved until those that are in order have
// passed. False when any was not applied.
func (p *proposer) settle(ctx context.Context, batch []core.Proposal) bool {
	if ctx.Err() != nil {
		return false
	}
	_, err := p.propose(ctx, command(batch))
	switch {
	case err == nil:
		for _, pr := range batch {
			p.decide(pr, true)
		}
		return true
	case len(batch) == 1, errors.Is(err, httpapi.ErrNotProposed), errors.Is(err, ringraft.ErrUnknown):
		p.log.Debug("not committed to the ring", "changes", len(batch), "error", err)
		for _, pr := range batch {
			p.decide(pr, false)
		}
		return false
	}
	half := len(batch) / 2
	first, second := p.settle(ctx, batch[:half]), p.settle(ctx, batch[half:])
	return first && second
}

func (p *proposer) decide(pr core.Proposal, applied bool) {
	p.decided(pr.Token, core.Event{Decided: &core.Decided{Token: pr.Token, Applied: applied}})
}

// place is the partition and the epoch that a proposal names.
func place(pr *core.Proposal) (partition uint32, epoch uint64) {
	if pr.Filled != nil {
		return pr.Filled.Partition, pr.Filled.Epoch
	}
	return pr.Purge.Partition, pr.Purge.Epoch
}

// batches cuts proposals into commands: of one kind, a partition once, ascending,
// within the bounds of a command. What a filled place changes makes a purge round or
// a second place of its partition stale, so the order of the commands is free.
func batches(todo []core.Proposal) (out [][]core.Proposal) {
	todo = slices.Clone(todo)
	slices.SortStableFunc(todo, func(a, b core.Proposal) int {
		pa, _ := place(&a)
		pb, _ := place(&b)
		return cmp.Or(cmp.Compare(kindOf(&a), kindOf(&b)), cmp.Compare(pa, pb))
	})
	for len(todo) > 0 {
		var batch, rest []core.Proposal
		bytes := 0
		for _, pr := range todo {
			at, _ := place(&pr)
			if n := len(batch); n > 0 {
				last, _ := place(&batch[n-1])
				if n == hashring.MaxPlaces || bytes+textBytes(&pr) > proposalBytes || kindOf(&pr) != kindOf(&batch[0]) || last == at {
					rest = append(rest, pr)
					continue
				}
			}
			batch = append(batch, pr)
			bytes += textBytes(&pr)
		}
		out, todo = append(out, batch), rest
	}
	return out
}

func kindOf(pr *core.Proposal) int {
	if pr.Filled != nil {
		return 0
	}
	return 1
}

// textBytes is about what a proposal's clock takes in the command: base64 of it.
func textBytes(pr *core.Proposal) int {
	if pr.Purge == nil {
		return 0
	}
	return (pr.Purge.Clock.Bytes() + 2) / 3 * 4
}

func command(batch []core.Proposal) hashring.Command {
	if batch[0].Filled != nil {
		c := &hashring.Filled{}
		for _, pr := range batch {
			c.Places = append(c.Places, *pr.Filled)
		}
		return hashring.Command{Kind: hashring.KindFilled, Filled: c}
	}
	c := &hashring.PurgeRounds{}
	for _, pr := range batch {
		c.Rounds = append(c.Rounds, *pr.Purge)
	}
	return hashring.Command{Kind: hashring.KindPurge, Purge: c}
}
