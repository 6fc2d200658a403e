package httpapi

import (
	"net/http"
	"strconv"

	"github.com/quoratedb/quorate/hashring"
	rules "github.com/quoratedb/quorate/node/api"
)

// ringJSON is the ring as clients are shown it.
type ringJSON = rules.RingView

// ring serves the ring state, as of this node; its ETag is the ring version.
func (c *call) ring() {
	if v, given, f := one(c.h, hdrRing); f != nil {
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
	tag := rules.RingETag(r.Version)
	c.w.Header()[hdrETag] = []string{tag}
	for _, list := range c.h.Values(hdrIfNoneMatch) {
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
	self := a.asSelf()
	return self.Ring(r)
}

// asSelf names this node for the rules that both ways in share.
func (a *api) asSelf() rules.Self {
	return rules.Self{SID: a.self.SID, Node: a.self.Node, Cluster: a.self.Cluster}
}

func (a *api) primary(r *hashring.Ring, sid hashring.SID) *string {
	self := a.asSelf()
	return self.Primary(r, sid)
}

func (a *api) names(r *hashring.Ring, sids []hashring.SID) []string {
	self := a.asSelf()
	return self.Names(r, sids)
}

type locateJSON struct {
	Partition uint32   `json:"partition"`
	Epoch     uint64   `json:"epoch"`
	Primary   *string  `json:"primary"`   // of a key in a strong bucket
	Replicas  []string `json:"replicas"`  // of a strong bucket: the members
	Fallbacks []string `json:"fallbacks"` // in the order in which they are asked; a strong bucket has none
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
		b, r, f = c.find(name)
	}
	if f == nil && !r.HasRing() {
		f = refuse(codeStarting, "the first ring has not been made yet")
	}
	if f != nil {
		c.fail(f)
		return
	}
	c.json(http.StatusOK, c.a.place(r, b, r.PartitionOf(hashring.Hash(name, key))))
}

// place says who holds the keys of a bucket in a partition.
func (a *api) place(r *hashring.Ring, b *hashring.Bucket, p uint32) locateJSON {
	part := &r.Partitions[p]
	if b.Mode == hashring.Strong && part.Strong != nil {
		return locateJSON{p, part.Strong.Epoch, a.primary(r, part.Primary), a.names(r, part.Strong.Members()), []string{}}
	}
	n := r.N(b, p)
	return locateJSON{p, part.Epoch, nil, a.names(r, r.Owners(p, n)), a.names(r, r.Fallbacks(p, n))}
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
