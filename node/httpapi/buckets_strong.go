package httpapi

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// newStrong is a bucket in strong mode: every key is kept by the partition's whole
// list, a write needs a majority of it, and nothing of that can be chosen. What says
// just that (r and w 0, sloppy false, ttl_ms 0, conflict siblings, n the list's) is
// taken, so that a bucket as it is shown can be sent again.
func (c *call) newStrong(ring *hashring.Ring, body *bucketBody) (b hashring.Bucket, f *fault) {
	b = hashring.Bucket{Name: *body.Name, Mode: hashring.Strong, Conflict: hashring.Siblings, N: ring.Replicas}
	if f = checkBucket(b.Name); f != nil {
		return b, f
	}
	switch {
	case body.N != nil && *body.N < 1:
		return b, refuse(codeInvalidArgument, "n is at least 1")
	case body.N != nil && *body.N != ring.Replicas:
		return b, refuse(codeNotSupported, "strong buckets use the whole replica list: n is "+strconv.Itoa(ring.Replicas)+" in this cluster, "+strconv.Itoa(*body.N)+" is not supported")
	case body.Conflict != nil && *body.Conflict != hashring.Siblings && *body.Conflict != hashring.LWW:
		return b, refuse(codeInvalidArgument, "conflict is siblings or lww")
	case body.Conflict != nil && *body.Conflict == hashring.LWW:
		return b, refuse(codeInvalidArgument, "conflict lww is for eventual buckets: a strong bucket has no concurrent values")
	}
	if f = checkStrong(body); f == nil {
		f = c.awaitFeature()
	}
	return b, f
}

// checkStrong refuses the defaults that strong buckets do not have.
func checkStrong(body *bucketBody) *fault {
	switch {
	case body.R != nil && *body.R != 0, body.W != nil && *body.W != 0:
		return refuse(codeInvalidArgument, "a strong bucket has no r and w: a write needs a majority of the replica list")
	case body.Sloppy != nil && *body.Sloppy:
		return refuse(codeInvalidArgument, "a strong bucket is never sloppy")
	case body.TTLMS != nil && *body.TTLMS != 0:
		return refuse(codeNotSupported, "values of strong buckets do not expire: ttl_ms is not supported")
	case body.Limits != nil:
		return refuse(codeNotSupported, "limits are reserved, this version does not keep them yet")
	}
	return nil
}

// featureLook is how often the ring is looked at for a feature level that is about to
// rise: in a new cluster it does within a second.
const featureLook = 50 * time.Millisecond

// awaitFeature returns when the cluster is able to have strong buckets. While some node
// runs an older version it refuses at once, naming them; when none does, the level is
// about to rise.
func (c *call) awaitFeature() *fault {
	ctx, cancel, f := c.controlContext()
	if f != nil {
		return f
	}
	defer cancel()
	look := time.NewTicker(featureLook)
	defer look.Stop()
	for {
		ring := c.a.b.Ring()
		if ring != nil && ring.Feature >= hashring.FeatureStrong {
			return nil
		}
		c.a.refresh.wait(ctx)
		if ring = c.a.b.Ring(); ring != nil && ring.Feature >= hashring.FeatureStrong {
			return nil
		}
		if old := olderThan(ring, hashring.FeatureStrong); len(old) > 0 {
			return refuse(codeNotSupported, "mode strong needs every node to be upgraded first; older versions run on "+strings.Join(old, ", "))
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return refuse(codeStarting, "the cluster has not agreed on its feature level yet")
		}
	}
}

// olderThan names the nodes whose binary does not speak a feature level.
func olderThan(ring *hashring.Ring, level uint16) (names []string) {
	if ring == nil {
		return nil
	}
	for i := range ring.Stores {
		if s := &ring.Stores[i]; s.State != hashring.StoreRetired && s.FeatureMax < level {
			names = append(names, s.Node)
		}
	}
	return names
}

// controlContext ends at the deadline of a control request.
func (c *call) controlContext() (context.Context, context.CancelFunc, *fault) {
	limit := controlTimeout
	if v, given, f := one(c.h, hdrTimeout); f != nil {
		return nil, nil, f
	} else if given {
		if limit, f = parseTimeout(v); f != nil {
			return nil, nil, f
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	return ctx, cancel, nil
}
