package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/quoratedb/quorate/hashring"
)

// What was really lost (D2, T5): how it is shown, and the operator's way out for eventual
// buckets; recover.go has that of strong ones.

// PossibleLoss names the partitions in which an operator has given something up. It is
// shown for ever.
type PossibleLoss struct {
	Eventual []int `json:"eventual"` // repair force-full
	Strong   []int `json:"strong"`   // ring recover
}

// PossibleLossOf reads the ring; nil: nothing was ever given up. Pure.
func PossibleLossOf(r *hashring.Ring) *PossibleLoss {
	if r == nil {
		return nil
	}
	l := &PossibleLoss{Eventual: []int{}, Strong: []int{}}
	for p := range r.Partitions {
		part := &r.Partitions[p]
		if part.Loss != 0 {
			l.Eventual = append(l.Eventual, p)
		}
		if part.Strong != nil && part.Strong.PossibleLoss {
			l.Strong = append(l.Strong, p)
		}
	}
	if len(l.Eventual)+len(l.Strong) == 0 {
		return nil
	}
	return l
}

// forceJSON is the answer to a request for the last resort, carried out or only planned.
type forceJSON struct {
	Applied     bool          `json:"applied"`
	RingVersion uint64        `json:"ring_version"`
	Partitions  []forcedJSON  `json:"partitions"`
	Refused     []refusedJSON `json:"refused"` // of those that were named
}

// refusedJSON is a partition that was named and needs no such thing, or cannot have it.
type refusedJSON struct {
	Partition int    `json:"partition"`
	Reason    string `json:"reason"`
}

// forcedJSON is a partition without a full owner that answers.
type forcedJSON struct {
	Partition int         `json:"partition"`
	Epoch     uint64      `json:"epoch"`
	N         int         `json:"n"` // of its first n owners none is full that answers
	GivesUp   []ownerJSON `json:"gives_up"`
	Full      []string    `json:"full"` // nodes that become full; none: the first new store begins empty
}

// ownerJSON is an owner as it stands.
type ownerJSON struct {
	Node    string `json:"node"`
	State   string `json:"state"`   // as the Raft group has it; building: it never was full
	Answers bool   `json:"answers"` // gossip holds it for alive, or it has just answered
}

// forceFull plans, or carries out, what brings partitions back whose last full owner is
// lost. A plan that has become outdated is refused whole, by the epochs it names.
func (c *call) forceFull(named []int, apply bool) {
	c.a.b.RefreshRing(c.ctx)
	r := c.a.b.Ring()
	if f := c.checkPartitions(named); f != nil {
		c.fail(f)
		return
	}
	answers := c.a.b.Alive
	plan := hashring.PlanForce(r.State, answers)
	out := forceJSON{RingVersion: r.Version, Partitions: []forcedJSON{}, Refused: []refusedJSON{}}
	var places []hashring.ForcePlace
	for _, f := range plan {
		if len(named) > 0 && !slices.Contains(named, int(f.Partition)) {
			continue
		}
		places = append(places, f.ForcePlace)
		row := forcedJSON{Partition: int(f.Partition), Epoch: f.Epoch, N: f.N, GivesUp: []ownerJSON{}, Full: c.a.names(r, f.Become)}
		for _, sid := range f.GiveUp {
			row.GivesUp = append(row.GivesUp, c.a.owner(r, int(f.Partition), sid, answers(sid)))
		}
		out.Partitions = append(out.Partitions, row)
	}
	for _, p := range named {
		if !slices.ContainsFunc(places, func(pl hashring.ForcePlace) bool { return int(pl.Partition) == p }) {
			out.Refused = append(out.Refused, refusedJSON{p, "a full owner of it answers, or nothing is left to be given up and it waits for new stores"})
		}
	}
	if apply && len(out.Refused) > 0 {
		c.fail(refuse(codeConflict, fmt.Sprintf("partition %d: %s", out.Refused[0].Partition, out.Refused[0].Reason)))
		return
	}
	if apply && len(places) > 0 {
		if err := c.force(places); err != nil {
			c.fail(lossFault(err))
			return
		}
		out.Applied, out.RingVersion = true, c.a.b.Ring().Version
		c.a.Log.Warn("an operator has given up the last full owners of partitions", "partitions", len(places))
	}
	c.json(http.StatusOK, out)
}

// force commits the places, a command at a time.
func (c *call) force(places []hashring.ForcePlace) error {
	for some := range slices.Chunk(places, hashring.MaxForced) {
		if _, err := c.a.b.Propose(c.ctx, hashring.Command{Kind: hashring.KindForce, Force: &hashring.Force{Places: some}}); err != nil {
			return err
		}
	}
	return nil
}

// lossFault says what has kept a last resort from being carried out.
func lossFault(err error) *fault {
	f := proposeFault(err)
	if f.code == codeInvalidArgument { // the ring has moved on from what was planned
		f.code = codeConflict
	}
	return f
}

// checkPartitions refuses numbers of partitions that there are not.
func (c *call) checkPartitions(named []int) *fault {
	f := c.checkPartition(0)
	for _, p := range named {
		f = cmp.Or(f, c.checkPartition(p))
	}
	return f
}

// owner describes a store of p.
func (a *api) owner(r *hashring.Ring, p int, sid hashring.SID, answers bool) ownerJSON {
	o := ownerJSON{Node: a.nodeName(r, sid), Answers: answers}
	if st, ok := r.Store(sid); ok {
		o.State, o.Answers = string(st.State), answers && st.State != hashring.StoreSuspect
		if st.State == hashring.StoreUp && slices.Contains(r.Partitions[p].Building, sid) {
			o.State = "building"
		}
	}
	return o
}
