package node

import (
	"context"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/httpapi"
)

// methodStrongLogs: where your logs of strong partitions end.
const methodStrongLogs = "strong_logs"

// strongLogs asks the shards of this node about every strong partition it holds.
func (n *Node) strongLogs(ctx context.Context) httpapi.NodeLogs {
	out := httpapi.NodeLogs{SID: n.self, Logs: map[uint32]httpapi.StrongLog{}}
	ring := n.ring.Load()
	if ring == nil {
		return out
	}
	for _, s := range n.router.shards {
		s.ask(ctx, func(c *core.Core) {
			for p := s.id; p < len(ring.Partitions); p += len(n.router.shards) {
				if l, ok := c.StrongLog(uint32(p)); ok {
					out.Logs[uint32(p)] = httpapi.StrongLog{Epoch: l.Last.Epoch, Index: l.Last.Index, Commit: l.Commit, Full: l.Full}
				}
			}
		})
	}
	return out
}

// StrongLogs asks every live node.
func (b backend) StrongLogs(ctx context.Context) (out []httpapi.NodeLogs) {
	for _, a := range askAll(ctx, b.n, methodStrongLogs, struct{}{}, b.n.strongLogs) {
		if a.ok {
			out = append(out, a.v)
		}
	}
	return out
}

// Such a node asks no others: that what they have is shown needs one that serves.
func (b sick) StrongLogs(context.Context) []httpapi.NodeLogs { return nil }

// lossFigures: what an operator has had to give up, by the ring state.
var lossFigures = []figure{
	gauge("partitions_possible_loss", "Partitions of which an operator has given up the last full owner (repair force-full).", func(s *snapshot) float64 { return float64(len(lossOf(s.ring).Eventual)) }),
	gauge("strong_partitions_possible_loss", "Partitions whose strong buckets an operator has recovered without a majority (ring recover).", func(s *snapshot) float64 { return float64(len(lossOf(s.ring).Strong)) }),
}

func lossOf(r *hashring.Ring) httpapi.PossibleLoss {
	if l := httpapi.PossibleLossOf(r); l != nil {
		return *l
	}
	return httpapi.PossibleLoss{}
}
