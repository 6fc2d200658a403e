package node

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/httpapi"
)

// What nodes ask each other for people, beside "status": what a node keeps for others,
// how its repair goes, and to begin comparisons now.
const (
	methodHints       = "hints"
	methodRepair      = "repair"
	methodStartRepair = "repair_start"
)

// partitionAsk is the payload of the calls that may be about one partition; -1: all.
type partitionAsk struct {
	Partition int `json:"partition"`
}

var errAsk = errors.New("the call's payload is not its JSON")

// statusCall serves those calls; false: it is none of them.
func (n *Node) statusCall(ctx context.Context, method string, payload []byte) (answer []byte, mine bool, err error) {
	var ask partitionAsk
	if method == methodHints || method == methodStartRepair {
		if json.Unmarshal(payload, &ask) != nil {
			return nil, true, errAsk
		}
	}
	switch method {
	case methodStatus:
		answer, err = n.reportJSON()
	case methodHints:
		answer, err = json.Marshal(n.hintsReport(ask.Partition, n.now().WallMS))
	case methodRepair:
		answer, err = json.Marshal(n.repairReport(ctx))
	case methodStartRepair:
		answer, err = json.Marshal(n.startRepair(ctx, ask.Partition))
	case methodStrongLogs:
		answer, err = json.Marshal(n.strongLogs(ctx))
	default:
		return nil, false, nil
	}
	return answer, true, err
}

// storeNodes are the nodes of the stores that are not retired.
func storeNodes(ring *hashring.Ring) (names []string) {
	if ring == nil {
		return nil
	}
	for i := range ring.Stores {
		if s := &ring.Stores[i]; s.State != hashring.StoreRetired {
			names = append(names, s.Node)
		}
	}
	return names
}

// askAll asks every live node of the ring the same, all at once, and gives its answers
// in the order of the stores; ok is false where there is none.
func askAll[T any](ctx context.Context, n *Node, method string, ask any, own func(ctx context.Context) T) []askedOf[T] {
	ring := n.ring.Load()
	if ring == nil {
		return nil
	}
	payload, err := json.Marshal(ask)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var out []askedOf[T]
	for _, name := range storeNodes(ring) {
		out = append(out, askedOf[T]{node: name})
	}
	var all sync.WaitGroup
	at := 0
	for i := range ring.Stores {
		s := &ring.Stores[i]
		if s.State == hashring.StoreRetired {
			continue
		}
		to := &out[at]
		at++
		switch {
		case s.SID == n.self:
			to.v, to.ok = own(ctx), true
		case n.alive(s.SID):
			all.Go(func() {
				b, err := n.peers.Call(ctx, s.Peer, method, payload)
				to.ok = err == nil && json.Unmarshal(b, &to.v) == nil
			})
		}
	}
	all.Wait()
	return out
}

type askedOf[T any] struct {
	node string
	v    T
	ok   bool
}

// hintsReport adds up the newest statistics, of one partition or of all.
func (n *Node) hintsReport(partition int, nowMS int64) httpapi.NodeHints {
	out := httpapi.NodeHints{Node: n.cfg.Name, Answered: true}
	at := map[hashring.SID]int{}

	for _, s := range n.router.shards {
		p := s.stats.Load()
		if p == nil {
			continue
		}
		for i := range p.Owed {
			if o := &p.Owed[i]; partition < 0 || o.Partition == uint32(partition) {
				addLines(&out, at, o.Lines, nowMS)
			}
		}
	}
	return out
}

func addLines(out *httpapi.NodeHints, at map[hashring.SID]int, lines []antientropy.HintLine, nowMS int64) {
	for _, l := range lines {
		i, ok := at[l.Target]
		if !ok {
			i = len(out.Targets)
			at[l.Target] = i
			out.Targets = append(out.Targets, httpapi.TargetHints{SID: l.Target.String()})
		}
		t := &out.Targets[i]
		t.Hints += l.Hints
		t.Bytes += l.Bytes
		if l.Dirty != 0 {
			t.DirtyPartitions++
		}
		if l.Hints > 0 {
			t.OldestAgeMS = max(t.OldestAgeMS, nowMS-l.OldestMS)
		}
	}
}

// Hints asks every live node what it keeps.
func (b backend) Hints(ctx context.Context, partition int) []httpapi.NodeHints {
	var out []httpapi.NodeHints
	for _, a := range askAll(ctx, b.n, methodHints, partitionAsk{partition}, func(context.Context) httpapi.NodeHints { return b.n.hintsReport(partition, b.n.now().WallMS) }) {
		a.v.Node, a.v.Answered = a.node, a.ok
		out = append(out, a.v)
	}
	return out
}

// repairReport asks the shards of this node.
func (n *Node) repairReport(ctx context.Context) httpapi.NodeRepair {
	out := httpapi.NodeRepair{Node: n.cfg.Name, Answered: true}
	ring := n.ring.Load()
	for _, s := range n.router.shards {
		s.ask(ctx, func(c *core.Core) {
			repair, purge := c.RepairStatus(), c.PurgeStatus()
			n.addRepair(&out, ring, &repair)
			n.addPurges(&out, ring, &purge)
		})
	}
	out.Trim()
	return out
}

func (n *Node) addRepair(out *httpapi.NodeRepair, ring *hashring.Ring, s *core.RepairStatus) {
	out.RateBytes += s.Rate
	var keys uint64 // of this partition, the most of its pairs
	quiet := true
	for i := range s.Rows {
		r := &s.Rows[i]
		pair := httpapi.RepairPair{Partition: r.Partition, N: r.N, Peer: nodeName(ring, r.Peer), State: string(r.State), Doing: r.Doing, Building: r.Building,
			Dirty: r.Dirty, Never: r.Never, Keys: r.Keys, BehindMS: r.Behind.Milliseconds(), Sent: r.Sent, Received: r.Received}
		out.BehindMS = max(out.BehindMS, pair.BehindMS)
		if r.State == core.RepairRunning {
			out.Running++
		}
		if !pair.Quiet() {
			quiet = false
			out.Pairs = append(out.Pairs, pair)
		}
		keys = max(keys, r.Keys)
		if i+1 == len(s.Rows) || s.Rows[i+1].Partition != r.Partition {
			out.Partitions++
			if quiet {
				out.InSync++
			}
			out.DebtKeys += keys
			quiet, keys = true, 0
		}
	}
}

func (n *Node) addPurges(out *httpapi.NodeRepair, ring *hashring.Ring, s *core.PurgeStatus) {
	out.Tombstones += s.Tombstones
	out.Expiring += s.Expiring
	for i := range s.Rows {
		r := &s.Rows[i]
		row := httpapi.RepairPurge{Partition: r.Partition, Generation: r.Generation, Tombstones: r.Tombstones, Expiring: r.Expiring, Phase: r.Phase}
		if r.Block.Why != antientropy.NotBlocked {
			row.Blocked, row.By, row.Count, row.ForMS = r.Block.Why.String(), nodeName(ring, r.Block.Store), r.Block.Count, r.For.Milliseconds()
		}
		out.Purges = append(out.Purges, row)
	}
}

func nodeName(ring *hashring.Ring, sid hashring.SID) string {
	if ring == nil || sid.IsZero() {
		return ""
	}
	if st, ok := ring.Store(sid); ok {
		return st.Node
	}
	return sid.Short()
}

// Repair asks every live node.
func (b backend) Repair(ctx context.Context) []httpapi.NodeRepair {
	var out []httpapi.NodeRepair
	for _, a := range askAll(ctx, b.n, methodRepair, struct{}{}, b.n.repairReport) {
		a.v.Node, a.v.Answered = a.node, a.ok
		out = append(out, a.v)
	}
	return out
}

// startRepair begins comparisons here, of one partition or of all.
func (n *Node) startRepair(ctx context.Context, partition int) (out httpapi.NodeAsked) {
	for i, s := range n.router.shards {
		if partition < 0 || partition%len(n.router.shards) == i {
			s.ask(ctx, func(c *core.Core) { out.Comparisons += c.CompareNow(partition) })
		}
	}
	return out
}

// StartRepair asks every live node to.
func (b backend) StartRepair(ctx context.Context, partition int) []httpapi.NodeAsked {
	out := []httpapi.NodeAsked{}
	for _, a := range askAll(ctx, b.n, methodStartRepair, partitionAsk{partition}, func(ctx context.Context) httpapi.NodeAsked { return b.n.startRepair(ctx, partition) }) {
		a.v.Node, a.v.Answered = a.node, a.ok
		out = append(out, a.v)
	}
	return out
}

// askTimeout bounds how long a person's question waits for a shard.
const askTimeout = time.Second

// ask runs f between two steps of the shard, and returns after it; not at all when the
// shard has ended or has no time.
func (s *shard) ask(ctx context.Context, f func(*core.Core)) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	done := make(chan struct{})
	select {
	case s.asks <- func(c *core.Core) { f(c); close(done) }:
		<-done // it is running
	case <-ctx.Done():
	}
}
