package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"
)

const (
	// ringEvery is the least time between two fetches that answers ask for: a node
	// that has seen a newer ring than those that are asked must not cause a storm.
	ringEvery = 100 * time.Millisecond
	// ringTimeout bounds one fetch, ringTries the nodes it asks.
	ringTimeout = 2 * time.Second
	ringTries   = 3
	// ringMax bounds the ring's text: 16,384 partitions of five replicas fit.
	ringMax = 16 << 20
)

// view is a ring as requests need it. It never changes.
type view struct {
	version uint64
	cluster string
	owners  [][]*node // of each partition, in the order of its replica list
	primary []*node   // of each partition; nil: none
	nodes   []*node   // all that may coordinate
	byName  map[string]*node
}

// ownersOf are the owners of a call's key: as many as its bucket has, where that is
// known from a receipt.
func (v *view) ownersOf(k *call) []*node {
	if len(v.owners) == 0 {
		return nil
	}
	list := v.owners[partitionOf(v, k.req.bucket, k.req.key)]
	if k.known != nil {
		if n := int(k.known.owners.Load()); n > 0 && n < len(list) {
			return list[:n]
		}
	}
	return list
}

// Ring is the state of the ring: who owns what.
type Ring struct {
	Version    uint64          `json:"ring_version"`
	Cluster    string          `json:"cluster"`
	Replicas   int             `json:"replicas"`
	Partitions []RingPartition `json:"partitions"`
	Nodes      []RingNode      `json:"nodes"`
}

// RingPartition is one arc of the ring.
type RingPartition struct {
	ID       int      `json:"id"`
	Epoch    uint64   `json:"epoch"`
	Primary  string   `json:"primary"` // of its strong buckets; "" until there is one
	Replicas []string `json:"replicas"`
}

// RingNode is one registered store and the node that runs on it.
type RingNode struct {
	Name   string `json:"name"`
	SID    string `json:"sid"`
	Zone   string `json:"zone"`
	State  string `json:"state"`
	API    string `json:"api"`
	Peer   string `json:"peer"`
	Frames string `json:"frames"` // where the node takes frames; "": nowhere
}

// noted hears which ring version a node has shown, and fetches the ring if it is a
// newer one.
func (c *Client) noted(n *node, version uint64) {
	if version == 0 {
		return
	}
	if n.known.Load() < version {
		n.known.Store(version)
	}
	v := c.ring.Load()
	if v != nil && v.version >= version {
		return
	}
	c.refreshSoon(n, version)
}

// refreshSoon fetches the ring beside the call that found out, unless somebody does
// already.
func (c *Client) refreshSoon(from *node, want uint64) {
	now := c.clock()
	last := c.asked.Load()
	if last != 0 && now-last < int64(ringEvery) || !c.asked.CompareAndSwap(last, max(now, 1)) {
		return
	}
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(c.ctx, ringTimeout)
		defer cancel()
		for range ringTries {
			if err := c.refresh(ctx, from, want); err != nil {
				c.log.Debug("the ring could not be fetched", "error", err)
			}
			// It may have joined a fetch that began before the newer ring was there.
			if v := c.ring.Load(); v != nil && v.version >= want || !c.pause(ctx, ringEvery) {
				return
			}
		}
	})
}

// refresh fetches the ring and takes it over if it is newer. However many callers
// want it, one fetch runs at a time. from, if not nil, is asked first.
func (c *Client) refresh(ctx context.Context, from *node, want uint64) error {
	done := make(chan error, 1)
	started := c.spawn(func() {
		_, err, _ := c.flight.Do("ring", func() (any, error) {
			ctx, cancel := context.WithTimeout(c.ctx, ringTimeout) // not one caller's alone
			defer cancel()
			return nil, c.fetchRing(ctx, from, want)
		})
		done <- err
	})
	if !started {
		return ErrClosed
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		return err
	}
}

// fetchRing asks up to ringTries nodes.
func (c *Client) fetchRing(ctx context.Context, from *node, want uint64) (err error) {
	c.stats.ringFetches.Add(1)
	k := &call{req: request{op: opMulti}}
	for range ringTries {
		if from == nil {
			from = c.pick(k)
		}
		k.try(from)
		var r *Ring
		if r, err = c.askRing(ctx, from, want); err == nil {
			if r != nil {
				c.install(r)
			}
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		from = nil
	}
	return err
}

// askRing asks one node; nil without an error says that nothing has changed.
func (c *Client) askRing(ctx context.Context, from *node, want uint64) (*Ring, error) {
	h := map[string]string{}
	v := c.ring.Load()
	if v != nil {
		h["If-None-Match"] = `"` + strconv.FormatUint(v.version, 10) + `"`
	}
	if want != 0 {
		h["Quorate-Ring"] = strconv.FormatUint(want, 10)
	}
	status, body, err := c.web.get(ctx, from, "/v1/cluster/ring", h, ringMax)
	switch {
	case err != nil:
		return nil, err
	case status == 304:
		return nil, nil
	case status != 200:
		return nil, parseProblem(status, body)
	}
	r := new(Ring)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("the ring is not the JSON it should be: %w", err)
	}
	return r, nil
}

// install takes a newer ring over; nodes that are in both keep what is known of them.
func (c *Client) install(r *Ring) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.ring.Load()
	if old != nil && old.cluster == r.Cluster && old.version >= r.Version {
		return
	}
	if old != nil && old.cluster != r.Cluster {
		c.log.Warn("the endpoints lead to another cluster now", "old", old.cluster, "new", r.Cluster)
	}
	v := &view{version: r.Version, cluster: r.Cluster, byName: map[string]*node{}}
	for _, x := range r.Nodes {
		if n := c.ringNode(old, &x); n != nil {
			v.byName[x.Name] = n
			v.nodes = append(v.nodes, n)
		}
	}
	for _, p := range r.Partitions {
		list := make([]*node, 0, len(p.Replicas))
		for _, name := range p.Replicas {
			if n := v.byName[name]; n != nil {
				list = append(list, n)
			}
		}
		v.owners = append(v.owners, list)
		v.primary = append(v.primary, v.byName[p.Primary])
	}
	c.ring.Store(v)
	c.stats.ringChanges.Add(1)
	c.dropOthers(old, v)
	c.log.Debug("ring", "version", v.version, "nodes", len(v.nodes))
}

// ringNode finds or makes the node of a ring's row; nil if it cannot be asked.
func (c *Client) ringNode(old *view, x *RingNode) *node {
	host, _, err := net.SplitHostPort(x.API)
	if err != nil || x.State == "retired" {
		return nil
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return nil // it is not known under which address others reach it
	}
	if old != nil {
		if n := old.byName[x.Name]; n != nil && n.addr == x.API && n.peer == x.Peer && n.frames == x.Frames {
			return n
		}
	}
	return &node{target: target{name: x.Name, base: c.scheme + "://" + x.API, tls: c.scheme == "https", addr: x.API, peer: x.Peer, frames: x.Frames}}
}

// dropOthers closes connections to nodes that the new ring does not have, and those
// to the endpoints: they are dialed again when they are needed.
func (c *Client) dropOthers(old, v *view) {
	if old == nil {
		if !c.cfg.NoOwnerRouting {
			for _, n := range c.seeds {
				c.link.forget(&n.target)
			}
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(old.byName)) {
		n := old.byName[name]
		if v.byName[name] != n {
			n.gone.Store(true)
			c.link.forget(&n.target)
		}
	}
}
