package api

import (
	"encoding/json"
	"strconv"

	"github.com/quoratedb/quorate/hashring"
)

// RingView is the ring as clients are shown it.
type RingView struct {
	RingVersion uint64          `json:"ring_version"`
	Cluster     string          `json:"cluster"`
	Replicas    int             `json:"replicas"`
	Partitions  []PartitionView `json:"partitions"`
	Nodes       []RingNodeView  `json:"nodes"`
}

// PartitionView is one partition of it.
type PartitionView struct {
	ID       int      `json:"id"`
	Epoch    uint64   `json:"epoch"`
	Primary  *string  `json:"primary"` // null until strong mode names one
	Replicas []string `json:"replicas"`
	Building []string `json:"building,omitempty"` // those of them that are being filled
	// PossibleLoss: an operator has given up its last full owner.
	PossibleLoss bool `json:"possible_loss,omitempty"`
	// Strong is who orders and who counts in strong buckets; nil until there is one.
	Strong *StrongView `json:"strong,omitempty"`
}

// StrongView is a partition's configuration of strong mode; Primary orders.
type StrongView struct {
	Epoch  uint64     `json:"epoch"`
	Active bool       `json:"active"` // the primary of the epoch has begun to serve
	Sets   [][]string `json:"sets"`   // node names; a majority of each counts. Two while the members change
	// Learners are being filled: they get every write and count for nothing.
	Learners     []string `json:"learners,omitempty"`
	PossibleLoss bool     `json:"possible_loss,omitempty"` // an operator has forced a recovery
}

// RingNodeView is one node of it.
type RingNodeView struct {
	Name   string              `json:"name"`
	SID    string              `json:"sid"`
	Zone   string              `json:"zone"`
	State  hashring.StoreState `json:"state"`
	API    string              `json:"api"`
	Peer   string              `json:"peer"`
	Frames string              `json:"frames,omitempty"` // where it takes frames, if it does
}

// Ring shows r as of this node.
func (s *Self) Ring(r *hashring.Ring) RingView {
	out := RingView{RingVersion: r.Version, Cluster: r.Cluster.String(), Replicas: r.Replicas,
		Partitions: make([]PartitionView, len(r.Partitions)), Nodes: make([]RingNodeView, 0, len(r.Stores))}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		out.Partitions[i] = PartitionView{i, p.Epoch, s.Primary(r, p.Primary), s.Names(r, p.Replicas), s.Names(r, p.Building), p.Loss != 0, s.strong(r, p.Strong)}
	}
	for i := range r.Stores {
		st := &r.Stores[i]
		out.Nodes = append(out.Nodes, RingNodeView{st.Node, st.SID.String(), st.Zone, st.State, st.API, st.Peer, st.Frames})
	}
	return out
}

func (s *Self) strong(r *hashring.Ring, c *hashring.StrongConfig) *StrongView {
	if c == nil {
		return nil
	}
	out := &StrongView{Epoch: c.Epoch, Active: c.Activated, PossibleLoss: c.PossibleLoss}
	for _, set := range c.Sets {
		out.Sets = append(out.Sets, s.Names(r, set))
	}
	if len(c.Learners) > 0 {
		out.Learners = s.Names(r, c.Learners)
	}
	return out
}

// Primary is the node name of a partition's primary, nil if it has none.
func (s *Self) Primary(r *hashring.Ring, sid hashring.SID) *string {
	if sid.IsZero() {
		return nil
	}
	name := s.NodeName(r, sid)
	return &name
}

// Names are the node names of stores.
func (s *Self) Names(r *hashring.Ring, sids []hashring.SID) []string {
	out := make([]string, len(sids))
	for i, sid := range sids {
		out[i] = s.NodeName(r, sid)
	}
	return out
}

// RingETag is the ETag of a ring version.
func RingETag(v uint64) string { return `"` + strconv.FormatUint(v, 10) + `"` }

// LookRing is the answer to a client that asks for the ring: its JSON, or status
// 304 when noneMatch, a list of ETags, holds its version.
func (s *Self) LookRing(r *hashring.Ring, noneMatch string) (status int, body []byte, f *Fault) {
	if r == nil {
		return 0, nil, Refuse(Starting, "the node does not know the ring yet")
	}
	if noneMatch != "" && MatchesETag(noneMatch, RingETag(r.Version)) {
		return 304, nil, nil
	}
	body, err := json.Marshal(s.Ring(r))
	if err != nil {
		return 0, nil, &Fault{Code: Internal, Detail: "the reply could not be encoded", Damaged: true}
	}
	return 200, body, nil
}
