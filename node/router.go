package node

import (
	"context"
	"sync"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/frames"
)

// router brings messages to the shard they belong to, replies to the client that
// waits, and everything else to the peers.
type router struct {
	self   hashring.SID
	shards []*shard
	send   func(*core.Message) // to peers
	idle   sync.Pool           // *waiting
}

// message sends m: shards of this node talk to each other through their mailboxes.
func (r *router) message(m *core.Message) {
	if m.To != r.self {
		r.send(m)
		return
	}
	m.From = r.self
	r.deliver(m)
}

// deliver takes a message that has arrived. A shard that is too far behind drops
// it: its sender's timer deals with that as with a lossy network.
func (r *router) deliver(m *core.Message) {
	i := int(m.Partition) % len(r.shards)
	if m.Kind.IsReply() {
		i = core.ShardOf(m.ID)
	}
	if i < len(r.shards) {
		r.shards[i].offer(core.Event{Message: m})
	}
}

// tell gives every shard the same event.
func (r *router) tell(e core.Event) {
	for _, s := range r.shards {
		s.tell(e)
	}
}

// decided tells the shard of the token what became of its proposal.
func (r *router) decided(token uint64, e core.Event) {
	if i := core.ShardOf(token); i < len(r.shards) {
		r.shards[i].tell(e)
	}
}

// reply hands a reply to the goroutine that waits for it.
func (r *router) reply(waiter any, reply *core.Reply) {
	switch w := waiter.(type) {
	case *waiting:
		w.ch <- reply // has room for the one reply it gets
	case frames.Waiter:
		w.Reply(reply)
	}
}

// shardOf is the index of the shard of the request's partition.
func (r *router) shardOf(ring *hashring.Ring, req *core.Request) int {
	if ring == nil || !ring.HasRing() || len(r.shards) == 1 {
		return 0
	}
	return int(ring.PartitionOf(hashring.Hash(req.Bucket, req.Key))) % len(r.shards)
}

// waiting is a front end's goroutine that waits for its reply.
type waiting struct{ ch chan *core.Reply }

// waiter takes a waiting from the idle ones.
func (r *router) waiter() *waiting {
	if w, ok := r.idle.Get().(*waiting); ok {
		return w
	}
	return &waiting{make(chan *core.Reply, 1)}
}

// do hands a request to its shard and waits. The core answers every request by its
// deadline; ctx only ends the wait of a client that has gone.
func (r *router) do(ctx context.Context, ring *hashring.Ring, req *core.Request) *core.Reply {
	w := r.waiter()
	req.Waiter = w
	if s := r.shards[r.shardOf(ring, req)]; s.mailbox.late() || !s.offer(core.Event{Request: req}) {
		r.idle.Put(w)
		return busy(req)
	}
	select {
	case reply := <-w.ch:
		r.idle.Put(w)
		return reply
	case <-ctx.Done(): // w is left to its late reply
		return gone(req, ctx.Err())
	}
}

func busy(req *core.Request) *core.Reply {
	return &core.Reply{Code: core.Overloaded, Outcome: fate(req, core.NotApplied), Detail: "too many requests wait for this shard", RetryAfter: time.Second}
}

func gone(req *core.Request, why error) *core.Reply {
	return &core.Reply{Code: core.Internal, Outcome: fate(req, core.Unknown), Detail: "the wait for the reply ended: " + why.Error()}
}

// fate is the outcome of a write, none of a read.
func fate(req *core.Request, o core.Outcome) core.Outcome {
	if req.Op == core.OpPut || req.Op == core.OpDelete {
		return o
	}
	return core.OutcomeNone
}
