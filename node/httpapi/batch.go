package httpapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"github.com/quoratedb/quorate/hashring"
	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

const (
	// MaxBatch is the contract's bound of keys or operations in one request.
	MaxBatch = 1000
	// maxBatchBody bounds the JSON of one batch: 24 MiB of values as base64.
	maxBatchBody = 32 << 20
	// batchAnswer bounds the values of one :get; keys beyond are told to ask again.
	batchAnswer = 32 << 20
	// batchWidth is how many operations of one request run at a time: enough to
	// share syncs, few enough that one batch is no flood.
	batchWidth = 32
)

type multiGetBody struct {
	Keys   []string `json:"keys"`
	Keys64 []string `json:"keys64"` // base64url; results follow those of keys
}

type batchBody struct {
	Operations []batchOperation `json:"operations"`
}

type batchOperation struct {
	Op          string  `json:"op"` // put or delete
	Key         *string `json:"key"`
	Key64       string  `json:"key64"`
	Value       *string `json:"value"` // base64
	ContentType string  `json:"content_type"`
	TTLMS       int64   `json:"ttl_ms"`
	Context     string  `json:"context"`
	// Of a strong bucket: ETags in quotes, or *.
	IfMatch     *string `json:"if_match"`
	IfNoneMatch *string `json:"if_none_match"`
	// IdempotencyKey of this operation alone; else the header's is used, with its place.
	IdempotencyKey string `json:"idempotency_key"`
}

// batchResult is the fate of one key or operation: what a request of its own would
// have got, in the order that was asked for.
type batchResult struct {
	Key         *string       `json:"key,omitempty"`
	Key64       string        `json:"key64,omitempty"`
	Status      int           `json:"status"`
	ETag        string        `json:"etag,omitempty"`
	Context     string        `json:"context,omitempty"`
	Receipt     string        `json:"receipt,omitempty"`
	Consistency string        `json:"consistency,omitempty"` // as the header, of a read of a strong bucket
	Stale       string        `json:"stale,omitempty"`       // as the header Quorate-Stale
	ContentType string        `json:"content_type,omitempty"`
	Value       []byte        `json:"value,omitzero"`
	Count       int           `json:"siblings_count,omitempty"` // when above 1
	Siblings    []siblingJSON `json:"siblings,omitempty"`       // with status 300
	Problem     *problem      `json:"problem,omitempty"`        // with status 400 and above
}

type batchReply struct {
	Results []batchResult `json:"results"`
}

// batchRun carries out the operations of one request.
type batchRun struct {
	c       *call
	base    core.Request // all but key and value
	results []batchResult
	bytes   atomic.Int64 // of values in the answer
}

func (c *call) newBatch(kind core.Op) (*batchRun, *fault) {
	b := &batchRun{c: c, base: core.Request{Op: kind}}
	name, _ := bucketAction(mux.Vars(c.r)["bucket"])
	var f *fault
	if b.base.Bucket, f = parseBucket(name); f != nil {
		return nil, f
	}
	h := c.h
	if len(h.Values(hdrContext)) > 0 || len(h.Values(hdrReadAfter)) > 0 {
		return nil, refuse(codeInvalidArgument, "a causal token belongs to one key, not to a batch")
	}
	if len(h.Values(hdrIfNoneMatch)) > 0 {
		return nil, refuse(codeInvalidArgument, "If-None-Match belongs to one key, not to a batch")
	}
	if f = parseCommon(h, &b.base, &c.p); f != nil {
		return nil, f
	}
	b.base.OwnerOnly = false // the keys of a batch have many owners
	c.catchUp(c.p.ring)
	bucket, ring, f := c.find(b.base.Bucket)
	if f == nil && bucket.Mode == hashring.Strong && len(h.Values(hdrIfMatch)) > 0 {
		f = refuse(codeInvalidArgument, "If-Match belongs to one key, not to a batch; operations have an if_match each")
	}
	if f == nil {
		f = c.ask(&b.base, bucket, ring)
	}
	return b, f
}

func (c *call) multiGet() {
	c.write = false // a POST only because the keys do not fit a URL
	b, f := c.newBatch(core.OpGet)
	var body multiGetBody
	if f == nil {
		f = c.decode(&body, maxBatchBody)
	}
	n := len(body.Keys) + len(body.Keys64)
	if f == nil {
		f = checkBatch(n, "keys")
	}
	if f != nil {
		c.fail(f)
		return
	}
	b.run(n, func(i int) (*core.Request, *fault) {
		var key *string
		key64 := ""
		if i < len(body.Keys) {
			key = &body.Keys[i]
		} else {
			key64 = body.Keys64[i-len(body.Keys)]
		}
		b.results[i].Key, b.results[i].Key64 = key, key64
		if b.bytes.Load() > batchAnswer {
			return nil, refuse(codeOverloaded, "the answer holds its "+strconv.Itoa(batchAnswer>>20)+" MiB; ask for this key again")
		}
		req, f := b.request(key, key64)
		if f == nil {
			req.ID = randomID()
		}
		return req, f
	})
	c.json(http.StatusOK, batchReply{b.results})
}

func (c *call) batch() {
	b, f := c.newBatch(core.OpPut)
	var body batchBody
	if f == nil {
		f = c.decode(&body, maxBatchBody)
	}
	if f == nil {
		f = checkBatch(len(body.Operations), "operations")
	}
	if f != nil {
		c.fail(f)
		return
	}
	b.run(len(body.Operations), func(i int) (*core.Request, *fault) { return b.operation(i, &body.Operations[i]) })
	c.json(http.StatusOK, batchReply{b.results})
}

func checkBatch(n int, what string) *fault {
	if n == 0 || n > MaxBatch {
		return refuse(codeInvalidArgument, "a batch has 1 to "+strconv.Itoa(MaxBatch)+" "+what+", this one "+strconv.Itoa(n))
	}
	return nil
}

// run makes and carries out n requests, batchWidth at a time, within the deadline
// of the whole. It returns when all are done.
func (b *batchRun) run(n int, make1 func(i int) (*core.Request, *fault)) {
	b.results = make([]batchResult, n)
	budget := b.base.Timeout
	if budget == 0 {
		budget = core.DefaultDeadline
	}
	deadline := b.c.start.Add(budget)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, batchWidth) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				req, f := make1(int(i))
				if f == nil {
					f = b.limit(req, deadline)
				}
				if f == nil {
					b.do(&b.results[i], req)
				} else {
					b.fail(&b.results[i], f)
				}
			}
		})
	}
	wg.Wait()
}

// limit gives a request what is left of the time; nothing left means that it was
// not begun.
func (b *batchRun) limit(req *core.Request, deadline time.Time) *fault {
	if req.Timeout = deadline.Sub(b.c.a.Now()); req.Timeout <= 0 {
		return refuse(codeOverloaded, "the deadline of the batch passed before this one was begun")
	}
	return nil
}

// request is one key's request with what the whole batch has in common.
func (b *batchRun) request(key *string, key64 string) (*core.Request, *fault) {
	req := b.base
	var f *fault
	if req.Key, f = jsonKey(key, key64); f != nil {
		return nil, f
	}
	return &req, nil
}

func (b *batchRun) operation(i int, o *batchOperation) (*core.Request, *fault) {
	b.results[i].Key, b.results[i].Key64 = o.Key, o.Key64
	req, f := b.request(o.Key, o.Key64)
	if f != nil {
		return nil, f
	}
	if f = b.fill(req, o); f != nil {
		return nil, f
	}
	if b.c.strong() {
		return req, b.strong(i, req, o)
	}
	if o.IfMatch != nil || o.IfNoneMatch != nil {
		return nil, asFault(rules.NeedsStrong())
	}
	if o.Context != "" {
		if req.Context, f = contextJSON(o.Context); f != nil {
			return nil, f
		}
		req.HasContext = true
	}
	key := b.key(i, o)
	switch req.ID = randomID(); {
	case key == "":
	case !validIdempotencyKey(key):
		return nil, refuse(codeInvalidArgument, "idempotency_key is UNIX_MS-RANDOM, at most 256 characters")
	default:
		req.ID = hashID(key + "/" + o.Op + "/" + strconv.FormatUint(uint64(req.Sum), 16))
	}
	return req, nil
}

// key is the idempotency key of an operation, "" if it has none.
func (b *batchRun) key(i int, o *batchOperation) string {
	if o.IdempotencyKey != "" {
		return o.IdempotencyKey
	}
	if key := b.c.h.Values(hdrIdempotencyKey); len(key) > 0 {
		return key[0] + "/" + strconv.Itoa(i)
	}
	return ""
}

// fill puts what is written into the request.
func (b *batchRun) fill(req *core.Request, o *batchOperation) *fault {
	switch o.Op {
	case "delete":
		if o.Value != nil || o.ContentType != "" || o.TTLMS != 0 {
			return refuse(codeInvalidArgument, "a delete has no value, content_type or ttl_ms")
		}
		req.Op = core.OpDelete
		return nil
	case "put":
	default:
		return refuse(codeInvalidArgument, "op is put or delete")
	}
	if o.Value == nil {
		return refuse(codeInvalidArgument, "a put needs a value, as base64")
	}
	value, err := base64.StdEncoding.DecodeString(*o.Value)
	switch {
	case err != nil:
		return refuse(codeInvalidArgument, "value is not base64")
	case len(value) > b.c.a.MaxValue:
		return tooLarge(int64(len(value)), b.c.a.MaxValue)
	case len(o.ContentType) > core.MaxContentType || !printable(o.ContentType):
		return refuse(codeInvalidArgument, "content_type is at most 256 printable characters")
	case o.TTLMS < 0 || o.TTLMS > MaxTTL.Milliseconds():
		return refuse(codeInvalidArgument, "ttl_ms is from 1 to 100 years")
	}
	if req.ContentType = o.ContentType; req.ContentType == "" {
		req.ContentType = typeOctets
	}
	req.Value, req.Sum, req.TTL = value, checksum(value), time.Duration(o.TTLMS)*time.Millisecond
	return nil
}

// printable tells that text can be a header's value.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

func contextJSON(token string) (version.Context, *fault) {
	ctx, err := version.ParseContext(token)
	if err != nil {
		return ctx, refuse(codeContextInvalid, err.Error())
	}
	return ctx, nil
}

func (b *batchRun) fail(res *batchResult, f *fault) {
	res.Status, res.Problem = errorTable[f.code].status, b.c.problem(f)
	if res.ETag = f.etag; f.reply != nil && len(f.reply.Context.Seen) > 0 {
		res.Context = f.reply.Context.Token()
	}
}

// do carries out one request and writes its result down.
func (b *batchRun) do(res *batchResult, req *core.Request) {
	ctx, cancel := context.WithTimeout(b.c.ctx, req.Timeout+time.Second) // the core ends it first
	defer cancel()
	rep := b.c.a.b.Do(ctx, req)
	if rep.Code != core.OK {
		b.fail(res, fromReply(rep))
		return
	}
	res.Receipt = rep.Receipt.String()
	if b.c.strong() {
		b.showStrong(res, req, rep)
		return
	}
	res.ETag = etag(rep.Object.Hash())
	if len(rep.Context.Seen) > 0 || rep.NothingWritten {
		res.Context = rep.Context.Token()
	}
	if req.Op != core.OpGet {
		res.Status = http.StatusNoContent
		return
	}
	b.show(res, rep)
}

func (b *batchRun) show(res *batchResult, rep *core.Reply) {
	var room [1]*version.Sibling
	seen := live(rep.Object, b.c.a.Now().UnixMilli(), &room)
	if len(seen) == 0 {
		*res = batchResult{Key: res.Key, Key64: res.Key64}
		b.fail(res, &fault{code: codeKeyNotFound, detail: "the key has no value", reply: rep})
		return
	}
	for _, s := range seen {
		if b.bytes.Add(int64(len(s.Value))); checksum(s.Value) != s.Sum {
			*res = batchResult{Key: res.Key, Key64: res.Key64}
			b.fail(res, &fault{code: codeInternal, detail: "the value fails its checksum and is not shown", reply: rep})
			return
		}
	}
	if len(seen) > 1 {
		res.Count = len(seen)
		if !b.c.p.newest {
			res.Status, res.Siblings = http.StatusMultipleChoices, siblingList(seen)
			return
		}
	}
	res.Status, res.ContentType, res.Value = http.StatusOK, seen[0].ContentType, seen[0].Value
	if res.Value == nil {
		res.Value = []byte{}
	}
}
