package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"time"
)

// controlMax bounds the answers of control requests other than the ring.
const controlMax = 8 << 20

// control makes a JSON request to any node. answer may be nil.
func (c *Client) control(ctx context.Context, o op, bucket, method, path string, ask, answer any) error {
	k := &call{req: request{op: o, bucket: bucket}}
	q := &webRequest{method: method, path: path, most: controlMax}
	if path == ringPath {
		q.most = ringMax
	}
	if ask != nil {
		body, err := json.Marshal(ask)
		if err != nil {
			return c.end(k, &Error{Code: codeInternal, Outcome: NotApplied, Err: err})
		}
		q.body = body
	}
	var accept func([]byte) error
	if answer != nil {
		accept = func(body []byte) error { return json.Unmarshal(body, answer) }
	}
	k.exchange = c.web.exchange(q, accept)
	if f := c.run(ctx, k); f != nil {
		return f
	}
	return nil
}

const ringPath = "/v1/cluster/ring"

// Ring fetches the ring from a node and takes it over for routing, if it is newer.
func (c *Client) Ring(ctx context.Context) (*Ring, error) {
	r := new(Ring)
	if err := c.control(ctx, opMulti, "", "GET", ringPath, nil, r); err != nil {
		return nil, err
	}
	if !c.cfg.NoOwnerRouting {
		c.install(r)
	}
	return r, nil
}

// ClusterStatus is the truth on one screen, as one node sees it.
type ClusterStatus struct {
	Cluster     string `json:"cluster"`
	RingVersion uint64 `json:"ring_version"`
	RaftLeader  string `json:"raft_leader"` // "": none is known
	Voters      int    `json:"voters"`
	Nodes       []struct {
		Name       string `json:"name"`
		SID        string `json:"sid"`
		State      string `json:"state"` // as the Raft group has it
		Alive      bool   `json:"alive"` // as gossip has it
		Zone       string `json:"zone"`
		Version    string `json:"version"`
		API        string `json:"api"`
		Partitions int    `json:"partitions"`
		Keys       uint64 `json:"keys"`
		Bytes      uint64 `json:"bytes"`
		Hints      uint64 `json:"hints"`
		Note       string `json:"note"`
	} `json:"nodes"`
	Partitions struct {
		Total       int `json:"total"`
		OK          int `json:"ok"`
		Degraded    int `json:"degraded"`
		BelowQuorum int `json:"below_quorum"`
		Lost        int `json:"lost"`
	} `json:"partitions"`
	Hints struct {
		Pending uint64 `json:"pending"`
		Bytes   uint64 `json:"bytes"`
	} `json:"hints"`
	Repair struct {
		DebtKeys uint64 `json:"debt_keys"`
	} `json:"repair"`
}

// Cluster asks a node for the state of the cluster.
func (c *Client) Cluster(ctx context.Context) (*ClusterStatus, error) {
	s := new(ClusterStatus)
	if err := c.control(ctx, opMulti, "", "GET", "/v1/cluster", nil, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Location is who holds a key, whether it exists or not.
type Location struct {
	Partition uint32   `json:"partition"`
	Epoch     uint64   `json:"epoch"`
	Primary   string   `json:"primary"` // of its strong buckets; "" until there is one
	Replicas  []string `json:"replicas"`
	Fallbacks []string `json:"fallbacks"` // in the order in which they are asked
}

// Locate asks a node who holds a key.
func (b *Bucket) Locate(ctx context.Context, key string) (*Location, error) {
	l := new(Location)
	q := url.Values{"bucket": {b.name}, "key64": {base64.RawURLEncoding.EncodeToString([]byte(key))}}
	if err := b.c.control(ctx, opMulti, b.name, "GET", "/v1/cluster/locate?"+q.Encode(), nil, l); err != nil {
		return nil, err
	}
	return l, nil
}

// Inspection is what every owner and stand-in has of a key.
type Inspection struct {
	Partition uint32 `json:"partition"`
	Epoch     uint64 `json:"epoch"`
	Replicas  []struct {
		Node   string   `json:"node"`
		Role   string   `json:"role"`  // owner or fallback
		State  string   `json:"state"` // present, tombstone, absent, unreachable, suspect, building
		ETag   string   `json:"etag"`
		Dots   []string `json:"dots"`
		Size   int      `json:"size"`
		InSync bool     `json:"in_sync"`
	} `json:"replicas"`
}

// Inspect asks every replica what it has of a key; it repairs nothing.
func (b *Bucket) Inspect(ctx context.Context, key string) (*Inspection, error) {
	i := new(Inspection)
	path := string(appendEscaped([]byte("/v1/inspect/"), b.name)) + "?key64=" + base64.RawURLEncoding.EncodeToString([]byte(key))
	if err := b.c.control(ctx, opMulti, b.name, "GET", path, nil, i); err != nil {
		return nil, err
	}
	return i, nil
}

// Ready waits until a node answers and the ring is known, or ctx ends. Calls do not
// need it; a service may, before it says that it is ready itself.
func (c *Client) Ready(ctx context.Context) error {
	for wait := backoffFirst; ; wait = min(2*wait, backoffMost) {
		r, err := c.Ring(ctx)
		if err == nil && len(r.Partitions) > 0 {
			return nil
		}
		if !c.pause(ctx, jitter(wait)) {
			if err == nil {
				err = context.Cause(ctx)
			}
			return err
		}
	}
}

// BucketConfig is a bucket's properties. Mode, Conflict and N are fixed when it is
// created; zero values take the cluster's defaults there.
type BucketConfig struct {
	Name     string
	Mode     string // "eventual"
	Conflict string // "siblings" or "lww"
	N        int    // owners of a key
	R, W     int    // 0: a majority of the owners
	Sloppy   bool   // stand-ins may count; see Strict
	Strict   bool   // for Create: Sloppy false, where the default is true
	TTL      time.Duration
}

// BucketChange is what Update changes; nil leaves a property as it is.
type BucketChange struct {
	R, W   *int
	Sloppy *bool
	TTL    *time.Duration
}

type bucketJSON struct {
	Name     string `json:"name,omitempty"`
	Mode     string `json:"mode,omitempty"`
	Conflict string `json:"conflict,omitempty"`
	N        *int   `json:"n,omitempty"`
	R        *int   `json:"r,omitempty"`
	W        *int   `json:"w,omitempty"`
	Sloppy   *bool  `json:"sloppy,omitempty"`
	TTLMS    *int64 `json:"ttl_ms,omitempty"`
}

func (j *bucketJSON) config() *BucketConfig {
	b := &BucketConfig{Name: j.Name, Mode: j.Mode, Conflict: j.Conflict, N: value(j.N), R: value(j.R), W: value(j.W), Sloppy: value(j.Sloppy)}
	b.Strict, b.TTL = !b.Sloppy, msDuration(value(j.TTLMS))
	return b
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func unlessZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// Buckets creates, shows, changes and deletes buckets.
type Buckets struct{ c *Client }

// Buckets gives the control of buckets.
func (c *Client) Buckets() *Buckets { return &Buckets{c} }

const bucketsPath = "/v1/buckets"

func bucketPath(name string) string { return string(appendEscaped([]byte(bucketsPath+"/"), name)) }

// Create makes a bucket and gives its properties. One that exists with the same
// properties is as good; with others it is ErrConflict.
func (b *Buckets) Create(ctx context.Context, cfg BucketConfig) (*BucketConfig, error) {
	ask := bucketJSON{Name: cfg.Name, Mode: cfg.Mode, Conflict: cfg.Conflict, N: unlessZero(cfg.N), R: unlessZero(cfg.R), W: unlessZero(cfg.W),
		TTLMS: unlessZero(cfg.TTL.Milliseconds())}
	if cfg.Strict {
		ask.Sloppy = new(bool)
	}
	return b.change(ctx, cfg.Name, "POST", bucketsPath, &ask)
}

// Update changes what can be changed, and gives the properties.
func (b *Buckets) Update(ctx context.Context, name string, ch BucketChange) (*BucketConfig, error) {
	ask := bucketJSON{R: ch.R, W: ch.W, Sloppy: ch.Sloppy}
	if ch.TTL != nil {
		ms := ch.TTL.Milliseconds()
		ask.TTLMS = &ms
	}
	return b.change(ctx, name, "PATCH", bucketPath(name), &ask)
}

func (b *Buckets) change(ctx context.Context, name, method, path string, ask *bucketJSON) (*BucketConfig, error) {
	answer := new(bucketJSON)
	if err := b.c.control(ctx, opAdmin, name, method, path, ask, answer); err != nil {
		return nil, err
	}
	return answer.config(), nil
}

// Get gives the properties of a bucket.
func (b *Buckets) Get(ctx context.Context, name string) (*BucketConfig, error) {
	answer := new(bucketJSON)
	if err := b.c.control(ctx, opMulti, name, "GET", bucketPath(name), nil, answer); err != nil {
		return nil, err
	}
	return answer.config(), nil
}

// List gives all buckets, by name.
func (b *Buckets) List(ctx context.Context) ([]BucketConfig, error) {
	var answer struct {
		Buckets []bucketJSON `json:"buckets"`
	}
	if err := b.c.control(ctx, opMulti, "", "GET", bucketsPath, nil, &answer); err != nil {
		return nil, err
	}
	out := make([]BucketConfig, len(answer.Buckets))
	for i := range answer.Buckets {
		out[i] = *answer.Buckets[i].config()
	}
	return out, nil
}

// Delete removes a bucket with all its keys.
func (b *Buckets) Delete(ctx context.Context, name string) error {
	return b.c.control(ctx, opAdmin, name, "DELETE", bucketPath(name), nil, nil)
}
