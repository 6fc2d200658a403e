package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// Forced recovery of strong partitions (T5), by an operator only, where a majority of a
// partition's members is silent or gone.

// NodeLogs is what one live node has of strong partitions.
type NodeLogs struct {
	SID  hashring.SID         `json:"sid"`
	Logs map[uint32]StrongLog `json:"logs"` // by partition
}

// StrongLog is where a store's log of a partition ends.
type StrongLog struct {
	Epoch  uint64 `json:"epoch"`
	Index  uint64 `json:"index"`
	Commit uint64 `json:"commit"` // known there to be committed
	Full   bool   `json:"full"`   // false: it is damaged, or the store has forgotten something
}

// recoverBody is what POST /v1/cluster/recover takes; nothing at all is a plan for every
// partition that needs it.
type recoverBody struct {
	Partitions []int    `json:"partitions"`
	From       []string `json:"from"` // node names, at most two; none: the furthest logs that answer
	Apply      bool     `json:"apply"`
}

type recoverJSON struct {
	Applied     bool            `json:"applied"`
	RingVersion uint64          `json:"ring_version"`
	Partitions  []recoveredJSON `json:"partitions"`
	Refused     []refusedJSON   `json:"refused"`
}

// recoveredJSON is a partition that has lost a majority, and what would go on.
type recoveredJSON struct {
	Partition   int          `json:"partition"`
	Epoch       uint64       `json:"epoch"` // of its strong configuration
	Incarnation uint64       `json:"incarnation"`
	Members     []memberJSON `json:"members"`
	From        []string     `json:"from"` // nodes whose logs go on
	Primary     string       `json:"primary"`
	GivesUp     []string     `json:"gives_up"` // members whose word counts no more: wipe them before they come back
	Empty       bool         `json:"empty"`    // nobody has a log: it begins without keys
	change      hashring.StrongChange
}

// memberJSON is a member as it stands, with its log if it answers.
type memberJSON struct {
	ownerJSON
	Log *StrongLog `json:"log"`
}

// recovery is one look at the ring and at who answers what.
type recovery struct {
	a     *api
	r     *hashring.Ring
	heard map[hashring.SID]*NodeLogs
	from  []hashring.SID // as the operator names them
}

// recoverStrong plans or carries out a forced recovery.
func (c *call) recoverStrong() {
	var body recoverBody
	f := c.decodeMaybe(&body, maxControlBody)
	c.a.b.RefreshRing(c.ctx)
	if f == nil {
		f = c.checkPartitions(body.Partitions)
	}
	if f != nil {
		c.fail(f)
		return
	}
	x := recovery{a: c.a, r: c.a.b.Ring(), heard: map[hashring.SID]*NodeLogs{}}
	if x.from, f = recoverFrom(x.r, body.From); f != nil {
		c.fail(f)
		return
	}
	logs := c.a.b.StrongLogs(c.ctx)
	for i := range logs {
		x.heard[logs[i].SID] = &logs[i]
	}
	out := x.plan(body.Partitions)
	if !body.Apply || len(out.Partitions)+len(out.Refused) == 0 {
		c.json(http.StatusOK, out)
		return
	}
	if len(out.Refused) > 0 {
		c.fail(refuse(codeConflict, fmt.Sprintf("partition %d: %s", out.Refused[0].Partition, out.Refused[0].Reason)))
		return
	}
	if err := c.recoverAll(out.Partitions); err != nil {
		c.fail(lossFault(err))
		return
	}
	out.Applied, out.RingVersion = true, c.a.b.Ring().Version
	c.a.Log.Warn("an operator has recovered strong partitions without a majority", "partitions", len(out.Partitions))
	c.json(http.StatusOK, out)
}

// recoverBatch partitions go into one command: so many fit its bound.
const recoverBatch = 128

func (c *call) recoverAll(rows []recoveredJSON) error {
	for some := range slices.Chunk(rows, recoverBatch) {
		var changes []hashring.StrongChange
		for i := range some {
			changes = append(changes, some[i].change)
		}
		st, err := c.a.b.Propose(c.ctx, hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: changes}})
		if err != nil {
			return err
		}
		for i := range some {
			if p := some[i].Partition; st != nil && st.Partitions[p].Strong.Incarnation == some[i].Incarnation {
				return refuse(codeConflict, fmt.Sprintf("partition %d has changed meanwhile, others may be recovered: look again", p))
			}
		}
	}
	return nil
}

// recoverFrom finds the stores of the named nodes.
func recoverFrom(r *hashring.Ring, names []string) (out []hashring.SID, f *fault) {
	if len(names) > 2 {
		return nil, refuse(codeInvalidArgument, "from names at most two nodes: a recovery goes by the logs of one or two")
	}
	for _, name := range names {
		st, ok := r.StoreByNode(name)
		if !ok || slices.Contains(out, st.SID) {
			return nil, refuse(codeInvalidArgument, "from names a node twice, or one that is not in the ring")
		}
		out = append(out, st.SID)
	}
	return out, nil
}

// plan looks at every partition, or at the named ones, which it refuses where there is a
// majority.
func (x *recovery) plan(named []int) recoverJSON {
	out := recoverJSON{RingVersion: x.r.Version, Partitions: []recoveredJSON{}, Refused: []refusedJSON{}}
	for p := range x.r.Partitions {
		part := &x.r.Partitions[p]
		asked := slices.Contains(named, p)
		if len(named) > 0 && !asked {
			continue
		}
		why := "it has no strong configuration: there has been no strong bucket yet"
		if part.Strong != nil {
			if why = x.majority(part.Strong); why == "" {
				var row recoveredJSON
				if row, why = x.row(p, part); why == "" {
					out.Partitions = append(out.Partitions, row)
					continue
				}
				asked = true // it needs it, and cannot have it like that
			}
		}
		if asked {
			out.Refused = append(out.Refused, refusedJSON{p, why})
		}
	}
	return out
}

// majority says that every set has one that is there; "": some set has lost it.
func (x *recovery) majority(c *hashring.StrongConfig) string {
	for _, set := range c.Sets {
		up := 0
		for _, sid := range set {
			if x.serves(sid) && x.there(sid) {
				up++
			}
		}
		if up < hashring.Majority(len(set)) && !plant.Is(plant.RecoverAnyway) {
			return ""
		}
	}
	if plant.Is(plant.RecoverAnyway) {
		return ""
	}
	return "a majority of its members is reachable: they bring it back by themselves"
}

func (x *recovery) there(sid hashring.SID) bool { return x.heard[sid] != nil || x.a.b.Alive(sid) }

// serves tells whether the ring lets a store stand for what it holds.
func (x *recovery) serves(sid hashring.SID) bool {
	st, ok := x.r.Store(sid)
	return ok && st.State != hashring.StoreSuspect && st.State != hashring.StoreRetired
}

// log of a store that can be trusted; nil: it has none, or is not to be gone by.
func (x *recovery) log(p int, c *hashring.StrongConfig, sid hashring.SID) *StrongLog {
	if n := x.heard[sid]; n != nil && x.serves(sid) && !slices.Contains(c.Lost, sid) {
		if l, ok := n.Logs[uint32(p)]; ok && l.Full {
			return &l
		}
	}
	return nil
}

// row says who goes on, or why nobody can.
func (x *recovery) row(p int, part *hashring.Partition) (row recoveredJSON, why string) {
	c := part.Strong
	row = recoveredJSON{Partition: p, Epoch: c.Epoch, Incarnation: c.Incarnation, GivesUp: []string{}}
	var able []hashring.SID // members with a log, the furthest first
	for _, sid := range c.Members() {
		m := memberJSON{ownerJSON: x.a.owner(x.r, p, sid, x.there(sid))}
		if n := x.heard[sid]; n != nil {
			if l, ok := n.Logs[uint32(p)]; ok {
				m.Log = &l
			}
		}
		row.Members = append(row.Members, m)
		if x.log(p, c, sid) != nil {
			able = append(able, sid)
		}
	}
	slices.SortStableFunc(able, func(a, b hashring.SID) int {
		la, lb := x.log(p, c, a), x.log(p, c, b)
		return cmp.Or(cmp.Compare(lb.Epoch, la.Epoch), cmp.Compare(lb.Index, la.Index))
	})
	stores := slices.DeleteFunc(slices.Clone(able), func(sid hashring.SID) bool { return len(x.from) > 0 && !slices.Contains(x.from, sid) })
	switch {
	case len(stores) > 0:
		stores = stores[:min(2, len(stores))]
	case len(able) > 0:
		return row, "none of the named nodes has its log, and node " + x.a.nodeName(x.r, able[0]) + " has"
	case len(x.from) == 0:
		return row, "no member answers with a log that can be trusted; name a node in service, and it begins there without keys"
	default:
		for _, sid := range x.from {
			if n := x.heard[sid]; n == nil || !x.serves(sid) || slices.Contains(c.Lost, sid) || n.Logs[uint32(p)] != (StrongLog{}) {
				return row, "node " + x.a.nodeName(x.r, sid) + " is not in service, its log is damaged, or a recovery has left it out before"
			}
		}
		stores, row.Empty = x.from[:1], true
	}
	for _, sid := range c.Members() {
		if !slices.Contains(stores, sid) {
			row.GivesUp = append(row.GivesUp, x.a.nodeName(x.r, sid))
		}
	}
	row.From, row.Primary = x.a.names(x.r, stores), x.a.nodeName(x.r, stores[0])
	row.change = hashring.StrongChange{Partition: uint32(p), Epoch: c.Epoch, Kind: hashring.StrongRecover, Primary: stores[0], Stores: stores}
	return row, ""
}
