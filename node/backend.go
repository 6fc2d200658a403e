package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/internal/buildinfo"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/httpapi"
)

// backend is the node as the HTTP API sees it.
type backend struct{ n *Node }

var _ httpapi.Backend = backend{}

func (b backend) Do(ctx context.Context, req *core.Request) *core.Reply {
	return b.n.router.do(ctx, b.n.ring.Load(), req)
}

func (b backend) Admit(req *core.Request) bool    { return b.n.router.admit(b.n.ring.Load(), req) }
func (b backend) Ring() *hashring.Ring            { return b.n.ring.Load() }
func (b backend) RefreshRing(ctx context.Context) { b.n.life.refresh(ctx) }
func (b backend) Alive(sid hashring.SID) bool     { return sid == b.n.self || b.n.alive(sid) }
func (b backend) Gatherer() prometheus.Gatherer   { return b.n.registry }

func (b backend) Propose(ctx context.Context, cmd hashring.Command) (*hashring.State, error) {
	return proposeAgain(ctx, cmd, b.n.life.propose)
}

// proposeAgainAfter is the pause before a command of unknown outcome is repeated: its
// cause is an election, which takes longer.
const proposeAgainAfter = 100 * time.Millisecond

// proposeAgain repeats what makes or changes a bucket until its outcome is known: twice
// is the same as once. Not so a deletion: by then the name may be another bucket's.
func proposeAgain(ctx context.Context, cmd hashring.Command, propose func(context.Context, hashring.Command) (*hashring.State, error)) (*hashring.State, error) {
	for {
		st, err := propose(ctx, cmd)
		if !errors.Is(err, ringraft.ErrUnknown) {
			return st, err
		}
		if cmd.Kind == hashring.KindCreateBucket || cmd.Kind == hashring.KindUpdateBucket {
			select {
			case <-time.After(proposeAgainAfter):
				continue
			case <-ctx.Done():
			}
		}
		return nil, fmt.Errorf("%w: %w", httpapi.ErrMaybeProposed, err)
	}
}

func (b backend) MovePrimary(ctx context.Context, partition uint32, to hashring.SID) error {
	return b.n.life.movePrimary(ctx, partition, to)
}

func (b backend) Self() httpapi.Self {
	id := b.n.store.Identity()
	return httpapi.Self{SID: id.SID, Node: b.n.cfg.Name, Version: buildinfo.Version, Cluster: id.Cluster}
}

// nodeReport is what a node tells another one about itself (control call "status").
type nodeReport struct {
	Version   string   `json:"version"`
	Keys      uint64   `json:"keys"`
	Bytes     uint64   `json:"bytes"`
	Hints     uint64   `json:"hints"`
	HintBytes uint64   `json:"hint_bytes"`
	DebtKeys  uint64   `json:"debt_keys"`
	Testing   []string `json:"testing,omitempty"`
}

const (
	methodStatus  = "status"
	statusTimeout = time.Second // a node that takes longer is shown without figures
)

func (n *Node) report() nodeReport {
	t := n.totals()
	return nodeReport{Version: buildinfo.Version, Keys: t.Keys, Bytes: t.Bytes, Hints: t.Hints, HintBytes: t.HintBytes, DebtKeys: t.Repair.DebtKeys, Testing: n.testing.on()}
}

func (n *Node) reportJSON() ([]byte, error) { return json.Marshal(n.report()) }

// Cluster asks every live node for its figures, all at once.
func (b backend) Cluster(ctx context.Context) httpapi.ClusterStatus {
	n := b.n
	ring := n.ring.Load()
	out := httpapi.ClusterStatus{Cluster: n.store.Identity().Cluster.String(), Nodes: httpapi.NodesFromRing(ring, b.Alive),
		Partitions: httpapi.Health(ring, b.Alive)}
	if ring == nil {
		return out
	}
	out.RingVersion = ring.Version
	if leader, _ := n.life.leader(); !leader.IsZero() {
		if st, ok := ring.Store(leader); ok {
			out.RaftLeader = st.Node
		}
	}
	voters := map[string]bool{}
	for _, v := range n.life.voters(ctx) {
		voters[v.String()] = true
	}
	out.Voters = len(voters)
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var all sync.WaitGroup
	for i := range out.Nodes {
		node := &out.Nodes[i]
		node.Voter = voters[node.SID]
		if node.Alive {
			all.Go(func() { n.fill(ctx, ring, node) })
		}
	}
	all.Wait()
	for i := range out.Nodes {
		out.Hints.Pending += out.Nodes[i].Hints
		out.Hints.Bytes += out.Nodes[i].HintBytes
		out.Repair.DebtKeys += out.Nodes[i].DebtKeys
		for _, on := range out.Nodes[i].Testing {
			out.Testing = append(out.Testing, out.Nodes[i].Name+" "+on)
		}
	}
	return out
}

// fill adds what the node itself says; one that does not answer stays without.
func (n *Node) fill(ctx context.Context, ring *hashring.Ring, node *httpapi.NodeStatus) {
	r := n.report()
	if node.SID != n.self.String() {
		sid, err := hashring.ParseSID(node.SID)
		if err != nil {
			return
		}
		st, ok := ring.Store(sid)
		if !ok {
			return
		}
		b, err := n.peers.Call(ctx, st.Peer, methodStatus, nil)
		if err != nil || json.Unmarshal(b, &r) != nil {
			return
		}
	}
	node.Version, node.Keys, node.Bytes, node.Hints, node.HintBytes = r.Version, r.Keys, r.Bytes, r.Hints, r.HintBytes
	node.DebtKeys = r.DebtKeys
	node.Testing = r.Testing
}
