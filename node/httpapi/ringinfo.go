package httpapi

import (
	"net/http"
	"strconv"

	"github.com/quoratedb/quorate/hashring"
)

type ringJSON struct {
	RingVersion uint64          `json:"ring_version"`
	Cluster     string          `json:"cluster"`
	Replicas    int             `json:"replicas"`
	Partitions  []partitionJSON `json:"partitions"`
	Nodes       []ringNodeJSON  `json:"nodes"`
}

type partitionJSON struct {
	ID       int      `json:"id"`
	Epoch    uint64   `json:"epoch"`
	Primary  *string  `json:"primary"` // null until strong mode names one
	Replicas []string `json:"replicas"`
}

type ringNodeJSON struct {
	Name  string              `json:"name"`
	SID   string              `json:"sid"`
	Zone  string              `json:"zone"`
	State hashring.StoreState `json:"state"`
	API   string              `json:"api"`
	Peer  string              `json:"peer"`
}

// ring serves the ring state, as of this node; its ETag is the ring version.
func (c *call) ring() {
	if v, given, f := one(c.r.Header, hdrRing); f != nil {
		c.fail(f)
		return
	} else if given {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			c.fail(refuse(codeInvalidArgument, hdrRing+" is a ring version, a number"))
			return
		}
		c.catchUp(n)
	}
	r := c.a.b.Ring()
	if r == nil {
		c.fail(refuse(codeStarting, "the node does not know the ring yet"))
		return
	}
	tag := `"` + strconv.FormatUint(r.Version, 10) + `"`
	c.w.Header()[hdrETag] = []string{tag}
	for _, list := range c.r.Header[hdrIfNoneMatch] {
		if matchesETag(list, tag) {
			h := c.headers()
			c.localHeaders(h)
			h.flush(c.w.Header())
			c.w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	c.json(http.StatusOK, c.a.ringJSON(r))
}

func (a *api) ringJSON(r *hashring.Ring) ringJSON {
	out := ringJSON{RingVersion: r.Version, Cluster: r.Cluster.String(), Replicas: r.Replicas,
		Partitions: make([]partitionJSON, len(r.Partitions)), Nodes: make([]ringNodeJSON, 0, len(r.Stores))}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		out.Partitions[i] = partitionJSON{i, p.Epoch, a.primary(r, p.Primary), a.names(r, p.Replicas)}
	}
	for i := range r.Stores {
		s := &r.Stores[i]
		out.Nodes = append(out.Nodes, ringNodeJSON{s.Node, s.SID.String(), s.Zone, s.State, s.API, s.Peer})
	}
	return out
}

func (a *api) primary(r *hashring.Ring, sid hashring.SID) *string {
	if sid.IsZero() {
		return nil
	}
	name := a.nodeName(r, sid)
	return &name
}

func (a *api) names(r *hashring.Ring, sids []hashring.SID) []string {
	out := make([]string, len(sids))
	for i, sid := range sids {
		out[i] = a.nodeName(r, sid)
	}
	return out
}

type locateJSON struct {
	Partition uint32   `json:"partition"`
	Epoch     uint64   `json:"epoch"`
	Primary   *string  `json:"primary"`
	Replicas  []string `json:"replicas"`
	Fallbacks []string `json:"fallbacks"` // in the order in which they are asked
}

// locate says who holds a key, whether it exists or not.
func (c *call) locate() {
	name, given := c.q.get(paramBucket)
	f := checkBucket(name)
	if !given {
		f = refuse(codeInvalidArgument, "the query parameter bucket is missing")
	}
	var key []byte
	if f == nil {
		key, f = c.queryKey()
	}
	var b *hashring.Bucket
	var r *hashring.Ring
	if f == nil {
		b, r, f = c.bucket(name)
	}
	if f == nil && !r.HasRing() {
		f = refuse(codeStarting, "the first ring has not been made yet")
	}
	if f != nil {
		c.fail(f)
		return
	}
	p := r.PartitionOf(hashring.Hash(name, key))
	n := r.N(b, p)
	part := &r.Partitions[p]
	c.json(http.StatusOK, locateJSON{p, part.Epoch, c.a.primary(r, part.Primary), c.a.names(r, r.Owners(p, n)), c.a.names(r, r.Fallbacks(p, n))})
}

// queryKey takes the key from key or key64.
func (c *call) queryKey() ([]byte, *fault) {
	text, given := c.q.get(paramKey)
	_, given64 := c.q.get(paramKey64)
	if given && given64 {
		return nil, refuse(codeInvalidArgument, "key and key64 are both given")
	}
	if given64 {
		return parseKey("", &c.q)
	}
	return []byte(text), checkKey([]byte(text))
}
