package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/quoratedb/quorate/hashring"
)

// maxControlBody bounds the JSON of a control request.
const maxControlBody = 64 << 10

// bucketJSON is a bucket as clients see it.
type bucketJSON struct {
	Name     string            `json:"name"`
	Mode     hashring.Mode     `json:"mode"`
	Conflict hashring.Conflict `json:"conflict"`
	N        int               `json:"n"`
	R        int               `json:"r"` // 0: a majority of the owners there are
	W        int               `json:"w"` // 0: the same
	Sloppy   bool              `json:"sloppy"`
	TTLMS    int64             `json:"ttl_ms"` // 0: for ever
}

func showBucket(b *hashring.Bucket) bucketJSON {
	conflict := b.Conflict
	if b.Mode == hashring.Strong { // which has no concurrent writes to merge
		conflict = hashring.Siblings
	}
	return bucketJSON{b.Name, b.Mode, conflict, b.N, b.R, b.W, b.Sloppy, b.TTL.Milliseconds()}
}

// bucketBody is what POST and PATCH take; absent members keep their default or
// their value.
type bucketBody struct {
	Name     *string            `json:"name"`
	Mode     *hashring.Mode     `json:"mode"`
	Conflict *hashring.Conflict `json:"conflict"`
	N        *int               `json:"n"`
	R        *int               `json:"r"`
	W        *int               `json:"w"`
	Sloppy   *bool              `json:"sloppy"`
	TTLMS    *int64             `json:"ttl_ms"`
	// Limits have their place in the contract and no effect yet.
	Limits json.RawMessage `json:"limits"`
}

func (c *call) listBuckets() {
	ring := c.a.b.Ring()
	if ring == nil {
		c.fail(refuse(codeStarting, "the node does not know the ring yet"))
		return
	}
	out := struct {
		Buckets []bucketJSON `json:"buckets"`
	}{[]bucketJSON{}}
	for _, b := range ring.Buckets {
		out.Buckets = append(out.Buckets, showBucket(&b))
	}
	slices.SortFunc(out.Buckets, func(x, y bucketJSON) int { return strings.Compare(x.Name, y.Name) })
	c.json(http.StatusOK, out)
}

func (c *call) getBucket() {
	name, f := c.bucketName()
	var b *hashring.Bucket
	if f == nil {
		b, _, f = c.find(name)
	}
	if f != nil {
		c.fail(f)
		return
	}
	c.json(http.StatusOK, showBucket(b))
}

func (c *call) bucketName() (string, *fault) {
	if c.write && (len(c.h.Values(hdrIfMatch)) > 0 || len(c.h.Values(hdrIfNoneMatch)) > 0) {
		return "", refuse(codeNotSupported, "conditional changes of buckets are not supported yet")
	}
	return parseBucket(mux.Vars(c.r)["bucket"])
}

func (c *call) createBucket() {
	var body bucketBody
	f := c.decode(&body, maxControlBody)
	var b hashring.Bucket
	if f == nil {
		b, f = c.newBucket(&body)
	}
	if f != nil {
		c.fail(f)
		return
	}
	st, err := c.propose(hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &b})
	switch {
	case err == nil:
		made := st.Buckets[b.Name]
		c.w.Header()[hdrLocation] = []string{"/v1/buckets/" + b.Name}
		c.json(http.StatusCreated, showBucket(&made))
	case errors.Is(err, hashring.ErrSame):
		c.json(http.StatusOK, showBucket(&b))
	default:
		c.fail(proposeFault(err))
	}
}

// newBucket fills the defaults and checks what can be checked without the leader.
func (c *call) newBucket(body *bucketBody) (b hashring.Bucket, f *fault) {
	ring := c.a.b.Ring()
	if ring == nil {
		return b, refuse(codeStarting, "the node does not know the ring yet")
	}
	if body.Name == nil {
		return b, refuse(codeInvalidArgument, "name is missing")
	}
	if body.Mode != nil && *body.Mode == hashring.Strong {
		return c.newStrong(ring, body)
	}
	b = hashring.Bucket{Name: *body.Name, Mode: hashring.Eventual, Conflict: hashring.Siblings, N: ring.Replicas, Sloppy: true}
	setIf(&b.Mode, body.Mode)
	setIf(&b.Conflict, body.Conflict)
	setIf(&b.N, body.N)
	setIf(&b.R, body.R)
	setIf(&b.W, body.W)
	setIf(&b.Sloppy, body.Sloppy)
	if f = checkBucket(b.Name); f != nil {
		return b, f
	}
	switch {
	case b.Mode != hashring.Eventual:
		return b, refuse(codeInvalidArgument, "mode is eventual or strong")
	case b.Conflict != hashring.Siblings && b.Conflict != hashring.LWW:
		return b, refuse(codeInvalidArgument, "conflict is siblings or lww")
	case b.N < 1:
		return b, refuse(codeInvalidArgument, "n is at least 1")
	case b.N > ring.Replicas:
		return b, refuse(codeQuorumImpossible, "n is "+strconv.Itoa(b.N)+", the cluster keeps at most "+strconv.Itoa(ring.Replicas)+" replicas")
	}
	b.TTL, f = checkMutable(body, b.N)
	return b, f
}

// checkMutable checks the members that PATCH takes too.
func checkMutable(body *bucketBody, n int) (ttl time.Duration, f *fault) {
	for _, m := range []struct {
		name string
		v    *int
	}{{"r", body.R}, {"w", body.W}} {
		switch {
		case m.v == nil:
		case *m.v < 0:
			return 0, refuse(codeInvalidArgument, m.name+" is a number of replicas, or 0 for a majority")
		case *m.v > n:
			return 0, refuse(codeQuorumImpossible, m.name+" is "+strconv.Itoa(*m.v)+", the bucket has n="+strconv.Itoa(n))
		}
	}
	if body.Limits != nil {
		return 0, refuse(codeNotSupported, "limits are reserved, this version does not keep them yet")
	}
	if body.TTLMS == nil {
		return 0, nil
	}
	if *body.TTLMS < 0 || *body.TTLMS > MaxTTL.Milliseconds() {
		return 0, refuse(codeInvalidArgument, "ttl_ms is 0 (for ever) to 100 years")
	}
	return time.Duration(*body.TTLMS) * time.Millisecond, nil
}

func (c *call) patchBucket() {
	name, f := c.bucketName()
	var body bucketBody
	if f == nil {
		f = c.decode(&body, maxControlBody)
	}
	if f == nil {
		f = onlyMutable(&body)
	}
	var b *hashring.Bucket
	if f == nil {
		b, _, f = c.find(name)
	}
	u := &hashring.UpdateBucket{Name: name, R: body.R, W: body.W, Sloppy: body.Sloppy}
	if f == nil && b.Mode == hashring.Strong {
		f = checkStrong(&body)
	}
	if f == nil {
		var ttl time.Duration
		if ttl, f = checkMutable(&body, b.N); body.TTLMS != nil {
			u.TTL = &ttl
		}
	}
	if f != nil {
		c.fail(f)
		return
	}
	st, err := c.propose(hashring.Command{Kind: hashring.KindUpdateBucket, UpdateBucket: u})
	switch {
	case err == nil:
		changed := st.Buckets[name]
		c.json(http.StatusOK, showBucket(&changed))
	case errors.Is(err, hashring.ErrSame):
		c.json(http.StatusOK, showBucket(b))
	default:
		c.fail(proposeFault(err))
	}
}

// onlyMutable refuses what is fixed at creation.
func onlyMutable(body *bucketBody) *fault {
	switch {
	case body.N != nil:
		return refuse(codeNotSupported, "n is fixed at creation for now")
	case body.Mode != nil:
		return refuse(codeNotSupported, "mode is fixed at creation")
	case body.Conflict != nil:
		return refuse(codeNotSupported, "conflict is fixed at creation")
	case body.Name != nil:
		return refuse(codeNotSupported, "a bucket keeps its name")
	case body.R == nil && body.W == nil && body.Sloppy == nil && body.TTLMS == nil && body.Limits == nil:
		return refuse(codeInvalidArgument, "nothing to change: give r, w, sloppy or ttl_ms")
	}
	return nil
}

func (c *call) deleteBucket() {
	name, f := c.bucketName()
	if f == nil {
		_, _, f = c.find(name)
	}
	if f == nil && c.length != 0 {
		f = refuse(codeInvalidArgument, "a DELETE has no body")
	}
	if f != nil {
		c.fail(f)
		return
	}
	if _, err := c.propose(hashring.Command{Kind: hashring.KindDeleteBucket, DeleteBucket: &hashring.DeleteBucket{Name: name}}); err != nil {
		c.fail(proposeFault(err))
		return
	}
	h := c.headers()
	c.localHeaders(h)
	h.flush(c.w.Header())
	c.w.WriteHeader(http.StatusNoContent)
}

func setIf[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// controlTimeout bounds a ring command where the client gives no deadline: a Raft
// election fits in.
const controlTimeout = 10 * time.Second

func (c *call) propose(cmd hashring.Command) (*hashring.State, error) {
	ctx, cancel, f := c.controlContext()
	if f != nil {
		return nil, f
	}
	defer cancel()
	return c.a.b.Propose(ctx, cmd)
}

// proposeFault maps why a ring command was not carried out, or may have been.
func proposeFault(err error) *fault {
	var f *fault
	var refusal *hashring.Refusal
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, hashring.ErrUnknownBucket):
		return refuse(codeBucketNotFound, "there is no such bucket")
	case errors.Is(err, hashring.ErrExists):
		return refuse(codeConflict, "the bucket exists with other properties")
	case errors.Is(err, hashring.ErrNotSupported):
		return refuse(codeNotSupported, "the ring does not support this yet")
	case errors.Is(err, hashring.ErrNoCluster):
		return refuse(codeStarting, "the cluster has not been made yet")
	case errors.As(err, &refusal):
		return refuse(codeInvalidArgument, refusal.Error())
	case errors.Is(err, ErrNotProposed):
		return refuse(codeQuorumUnavailable, "the Raft group has no leader that took the change: "+err.Error())
	case errors.Is(err, ErrMaybeProposed):
		return refuse(codeWriteQuorumTimeout, err.Error())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse(codeWriteQuorumTimeout, "the Raft group had not committed the change by the deadline")
	}
	return refuse(codeInternal, "the change failed: "+err.Error())
}
