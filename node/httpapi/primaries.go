package httpapi

import (
	"fmt"
	"net/http"

	"github.com/quoratedb/quorate/hashring"
)

// primariesBody is what POST /v1/cluster/primaries takes.
type primariesBody struct {
	Partition *int   `json:"partition"`
	To        string `json:"to"` // node name
}

// primariesJSON says what was asked of whom.
type primariesJSON struct {
	Partition int     `json:"partition"`
	From      *string `json:"from"`
	To        string  `json:"to"`
	Epoch     uint64  `json:"epoch"` // of the partition's strong configuration before the move
}

// movePrimary asks for the graceful hand-over of one partition to another of its
// members. It is done when GET /v1/cluster/ring shows it.
func (c *call) movePrimary() {
	var body primariesBody
	f := c.decode(&body, maxControlBody)
	if f == nil && body.Partition == nil {
		f = refuse(codeInvalidArgument, "partition is missing")
	}
	if f == nil {
		f = c.checkPartition(*body.Partition)
	}
	if f != nil {
		c.fail(f)
		return
	}
	ctx, cancel, f := c.controlContext()
	if f != nil {
		c.fail(f)
		return
	}
	defer cancel()
	r, p := c.a.b.Ring(), *body.Partition
	to, f := moveTarget(r, p, body.To)
	if f != nil {
		c.fail(f)
		return
	}
	part := &r.Partitions[p]
	if part.Primary != to {
		if !c.a.b.Alive(to) {
			c.fail(refuse(codePrimaryUnavailable, "node "+body.To+" is not reachable and cannot take over"))
			return
		}
		if err := c.a.b.MovePrimary(ctx, uint32(p), to); err != nil {
			c.fail(proposeFault(err))
			return
		}
	}
	c.json(http.StatusAccepted, primariesJSON{p, c.a.primary(r, part.Primary), body.To, part.Strong.Epoch})
}

// moveTarget is the store that runs on a node, which must be able to lead p: one of its
// members.
func moveTarget(r *hashring.Ring, p int, node string) (hashring.SID, *fault) {
	strong := r.Partitions[p].Strong
	if strong == nil {
		return hashring.SID{}, refuse(codeInvalidArgument, fmt.Sprintf("partition %d has no primary: there has been no strong bucket yet", p))
	}
	st, ok := r.StoreByNode(node)
	if !ok {
		return hashring.SID{}, refuse(codeInvalidArgument, "to is not the name of a node")
	}
	if !strong.IsMember(st.SID) {
		return hashring.SID{}, refuse(codeInvalidArgument, fmt.Sprintf("node %s is not a member of partition %d and cannot lead it", node, p))
	}
	return st.SID, nil
}
