package httpapi

import (
	"net/http"
	"strings"

	"github.com/quoratedb/quorate/hashring"
	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
)

type inspectJSON struct {
	Key         string           `json:"key"`             // with U+FFFD where it is not UTF-8
	Key64       string           `json:"key64,omitempty"` // then the key itself
	Partition   uint32           `json:"partition"`
	Epoch       uint64           `json:"epoch"`
	RingVersion uint64           `json:"ring_version"`
	Replicas    []inspectReplica `json:"replicas"`
}

type inspectReplica struct {
	Node   string   `json:"node"`
	SID    string   `json:"sid"`
	Role   string   `json:"role"`  // owner or fallback
	State  string   `json:"state"` // present, tombstone, absent, unreachable, suspect, building
	ETag   string   `json:"etag"`  // empty: it holds nothing
	Dots   []string `json:"dots"`
	Size   int      `json:"size"` // bytes, about
	HLC    string   `json:"hlc,omitempty"`
	AgeMS  *int64   `json:"age_ms,omitempty"` // since the newest stamp, by this node's clock
	InSync bool     `json:"in_sync"`          // with the join of all owners that answered
}

// inspect shows what every owner and hint holder has of a key. It repairs nothing.
func (c *call) inspect() {
	req, f := c.data(core.OpInspect)
	if f != nil {
		c.fail(f)
		return
	}
	if c.p.noneMatch != "" || c.p.match != "" || c.p.consistency != "" || req.HasAfter {
		c.fail(refuse(codeInvalidArgument, "inspect asks every replica; it has no conditions and no consistency"))
		return
	}
	req.OwnerOnly = false // every node can ask all of them
	rep := c.a.b.Do(c.ctx, req)
	if f := fromReply(rep); f != nil {
		c.fail(f)
		return
	}
	ring := c.a.b.Ring()
	out := inspectJSON{Key: strings.ToValidUTF8(string(req.Key), "\uFFFD"), Partition: rep.Partition, Epoch: rep.Epoch,
		RingVersion: rep.RingVersion, Replicas: make([]inspectReplica, 0, len(rep.Inspect))}
	if text, key64 := keyJSON(req.Key); text == nil {
		out.Key64 = key64
	}
	for i := range rep.Inspect {
		out.Replicas = append(out.Replicas, c.replica(ring, &rep.Inspect[i]))
	}
	c.json(http.StatusOK, out)
}

func (c *call) replica(ring *hashring.Ring, row *core.InspectRow) inspectReplica {
	r := inspectReplica{Node: c.a.nodeName(ring, row.Store), SID: row.Store.String(), Role: "owner", State: row.State.String(),
		Dots: []string{}, Size: row.Size, InSync: row.InSync}
	if row.Fallback {
		r.Role = "fallback"
	}
	switch {
	case !row.Version.IsZero():
		r.ETag = rules.VersionETag(row.Version)
	case row.Hash != 0:
		r.ETag = etag(row.Hash)
	}
	for _, d := range row.Dots {
		r.Dots = append(r.Dots, strings.Trim(siblingETag(d), `"`))
	}
	if row.HLC != 0 {
		r.HLC = hlcText(row.HLC)
		age := max(0, c.start.UnixMilli()-row.HLC.MS())
		r.AgeMS = &age
	}
	return r
}
