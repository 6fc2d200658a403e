package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// workload is one way to use the store, with its number in the project's list of
// workloads if it has one.
type workload struct {
	name   string
	number string
	about  string
	make   func(o *order)
}

// order is one operation that a workload wants.
type order struct {
	w      *World
	r      *rand.Rand
	client *client
	node   *node // nil: any
	req    core.Request
	token  *token
	again  bool
	lock   *lockOrder
}

var workloads = slices.Concat(eventualWorkloads, strongWorkloads)

var eventualWorkloads = []workload{
	{"register", "", "values read and written without contexts, on every kind of eventual bucket", register},
	{"strict", "", "the same where R+W>N and stand-ins do not count", strictRegister},
	{"sets", "W6", "siblings added and removed with contexts, fresh and stale", sets},
	{"churn", "W7", "keys deleted and created anew", churn},
	{"ttl", "W8", "values that expire", ttl},
	{"sessions", "W9", "reads at any node after a token of a write or a read", sessions},
	{"durable", "W10", "sloppy writes at W=2 and more while owners die", durable},
	{"late", "W13", "buckets that were made a moment ago, some nodes know them and some do not", late},
	{"stale_map", "W16", "writes that name no owner, with many hops and old ring states", staleMap},
	{"pile", "", "writes that keep every sibling, until there is no room for more (F71)", pile},
	{"retries", "", "the same write sent to two nodes under one request id", retries},
	{"survey", "", "listings and inspections beside everything else", survey},
}

func (d *Draw) drawWorkloads(o *Options, r *rand.Rand) {
	for _, w := range workloads {
		weight := []int{0, 1, 2, 4}[r.IntN(4)]
		if w.name == "survey" || w.name == "pile" {
			weight = min(weight, 1)
		}
		switch {
		case o.Workloads == nil:
		case slices.Contains(o.Workloads, w.name):
			weight = max(weight, 1)
		default:
			weight = 0
		}
		if weight > 0 {
			d.Workloads[w.name] = weight
		}
	}
	if o.Workloads == nil && r.IntN(3) == 0 { // one world in three has no strong bucket
		for i := range strongWorkloads {
			delete(d.Workloads, strongWorkloads[i].name)
		}
	}
	if len(d.Workloads) == 0 {
		d.Workloads["register"], d.Workloads["sets"] = 1, 1
	}
}

// era is how long a set of keys is used: contexts grow with the process starts that a
// key has seen, and old keys are what a store mostly holds.
const era = time.Minute

// on picks a key of the workload's present set in a bucket.
func (o *order) on(bucket string, set byte) *keyTruth {
	return o.at(bucket, fmt.Appendf(nil, "%c%d.%d", set, o.w.now/era, o.r.IntN(o.w.draw.Keys)))
}

// at names the key, and mostly a node that owns it.
func (o *order) at(bucket string, key []byte) *keyTruth {
	o.req.Bucket, o.req.Key = bucket, key
	ring := o.w.auth.ringAt(o.w.auth.state.Version)
	b, ok := ring.Bucket(bucket)
	if !ok {
		return nil
	}
	kt := o.w.truth.key(b, key, ring.PartitionOf(hashring.Hash(bucket, key)))
	if o.r.IntN(8) == 0 {
		o.req.Timeout = between(o.r, 100*time.Millisecond, 5*time.Second)
	}
	if o.r.IntN(3) > 0 { // a client that knows the ring
		owners := ring.Owners(kt.partition, ring.N(b, kt.partition))
		o.node = o.w.bySID[owners[o.r.IntN(len(owners))]]
	}
	return kt
}

func (o *order) get() { o.req.Op = core.OpGet }

func (o *order) put() {
	o.req.Op = core.OpPut
	o.w.load.valueSeq++
	v := fmt.Appendf(nil, "v%d", o.w.load.valueSeq)
	if n := o.w.draw.ValueSize; n > 0 {
		v = append(append(v, ' '), strings.Repeat("x", o.r.IntN(n))...)
	}
	o.req.Value = v
}

func (o *order) del() { o.req.Op = core.OpDelete }

// with sends the client's context of the key along, if it has one.
func (o *order) with(kt *keyTruth) {
	if t := o.client.tokens[kt]; t != nil && t.text != "" {
		o.having(t)
	}
}

func (o *order) having(t *token) {
	c, err := version.ParseContext(t.text)
	if err != nil {
		o.w.violate(Violation{Check: "codec", Kind: "MALFORMED", Detail: "a context token of ours is refused: " + err.Error()})
		return
	}
	o.req.HasContext, o.req.Context, o.token = true, c, t
}

// fresh is a context that has seen nothing: the write keeps every sibling there is.
func (o *order) fresh(kt *keyTruth) {
	o.req.HasContext = true
	o.req.Context = version.Context{Bucket: uint64(kt.bucket), KeyHash: hashring.Hash(kt.name, []byte(kt.key))}
}

func register(o *order) {
	bucket := []string{"sloppy", "sloppy", "lww", "lwwstrict", "one"}[o.r.IntN(5)]
	kt := o.on(bucket, 'r')
	switch k := o.r.IntN(20); {
	case k < 10:
		o.get()
		if o.r.IntN(2) == 0 {
			o.req.R = 1
		}
	case k < 18:
		o.put()
		if o.r.IntN(4) == 0 {
			o.with(kt)
		}
	default:
		o.del()
	}
}

func strictRegister(o *order) {
	kt := o.on("strict", 's')
	switch k := o.r.IntN(20); {
	case k < 9:
		o.get()
	case k < 17:
		o.put()
		if o.r.IntN(2) == 0 {
			o.with(kt)
		}
	case k < 19:
		o.del()
		if o.r.IntN(2) == 0 {
			o.with(kt)
		}
	default:
		o.put()
		o.fresh(kt)
	}
}

func sets(o *order) {
	kt := o.on("sloppy", 'q')
	switch k := o.r.IntN(20); {
	case k < 7:
		o.get()
		o.req.R = core.Count(o.r.IntN(3))
	case k < 13: // what the client saw last becomes one value
		o.put()
		o.with(kt)
	case k < 17: // one more value
		o.put()
		o.fresh(kt)
	default:
		o.del()
		o.with(kt)
	}
}

func churn(o *order) {
	kt := o.on([]string{"sloppy", "strict", "lww"}[o.r.IntN(3)], 'd')
	switch k := o.r.IntN(10); {
	case k < 3:
		o.get()
	case k < 6:
		o.put()
		if o.r.IntN(2) == 0 {
			o.with(kt)
		}
	default:
		o.del()
		if o.r.IntN(2) == 0 {
			o.with(kt)
		}
	}
}

func ttl(o *order) {
	kt := o.on("ttl", 't')
	switch k := o.r.IntN(10); {
	case k < 5:
		o.get()
		o.req.R = core.Count(o.r.IntN(3))
	case k < 9:
		o.put()
		o.req.TTL = between(o.r, time.Second, 40*time.Second).Truncate(time.Millisecond)
		if o.r.IntN(2) == 0 {
			o.with(kt)
		}
	default:
		o.del()
	}
}

func sessions(o *order) {
	kt := o.on([]string{"sloppy", "one", "strict"}[o.r.IntN(3)], 'n')
	switch k := o.r.IntN(10); {
	case k < 6:
		o.get()
		o.req.R = 1
		if t := o.client.tokens[kt]; t != nil && t.text != "" {
			if c, err := version.ParseContext(t.text); err == nil {
				o.req.HasAfter, o.req.After, o.token = true, c, t
			}
		}
	default:
		o.put()
		o.req.W = core.Count(o.r.IntN(2))
		if o.r.IntN(3) > 0 {
			o.with(kt)
		}
	}
}

func durable(o *order) {
	kt := o.on("sloppy", 'w')
	switch k := o.r.IntN(10); {
	case k < 2:
		o.get()
	default:
		o.put()
		n := o.w.draw.Replicas
		o.req.W = core.Count(min(n, 2+o.r.IntN(2)))
		switch o.r.IntN(4) {
		case 0:
			o.req.W = core.All
		case 1:
			o.req.PW = 1
		}
		if o.r.IntN(3) == 0 {
			o.with(kt)
		}
		if o.r.IntN(4) == 0 {
			o.req.Sloppy = core.No
		}
	}
}

func late(o *order) {
	names := o.w.auth.late
	if len(names) == 0 {
		register(o)
		return
	}
	o.on(names[max(0, len(names)-1-o.r.IntN(2))], 'l')
	if o.node = nil; o.r.IntN(2) == 0 {
		o.get()
	} else {
		o.put()
	}
}

func staleMap(o *order) {
	kt := o.on([]string{"sloppy", "strict"}[o.r.IntN(2)], 'm')
	o.node = o.w.nodes[o.r.IntN(len(o.w.nodes))]
	switch k := o.r.IntN(10); {
	case k < 3:
		o.get()
	case k < 9:
		o.put()
		if o.r.IntN(2) == 0 {
			o.with(kt)
		}
	default:
		o.del()
	}
}

func pile(o *order) {
	kt := o.at("sloppy", []byte("pile")) // one key, the whole run long
	switch k := o.r.IntN(100); {
	case k < 90:
		o.put()
		o.fresh(kt)
	case k < 99:
		o.get()
	default:
		o.put()
		o.with(kt)
	}
}

func retries(o *order) {
	kt := o.on([]string{"sloppy", "strict"}[o.r.IntN(2)], 'e')
	if o.r.IntN(3) == 0 {
		o.get()
		return
	}
	o.put()
	o.again = true
	if o.r.IntN(2) == 0 {
		o.with(kt)
	}
}

func survey(o *order) {
	o.on([]string{"sloppy", "strict", "lww"}[o.r.IntN(3)], []byte("rsqdw")[o.r.IntN(5)])
	if o.r.IntN(3) > 0 {
		o.req.Op = core.OpInspect
		return
	}
	o.req.Op = core.OpList
	o.req.List = core.ListRequest{Limit: 1 + o.r.IntN(50), Values: o.r.IntN(2) == 0}
}
