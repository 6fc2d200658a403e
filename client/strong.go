package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
)

// ETag is a version as HTTP has it, quotes included; "" is none.
type ETag string

// Version of a value in a strong bucket. It grows with every write of the key and is
// never used again, so it serves as a fencing token: whoever guards a resource keeps the
// greatest one that it has seen and refuses what comes with a smaller one.
type Version struct {
	Incarnation, Epoch, Index uint64
}

// Compare orders versions of one key.
func (v Version) Compare(o Version) int {
	for _, x := range [...][2]uint64{{v.Incarnation, o.Incarnation}, {v.Epoch, o.Epoch}, {v.Index, o.Index}} {
		if x[0] != x[1] {
			if x[0] < x[1] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// Version reads the ETag of a strong bucket; false: it is none.
func (e ETag) Version() (v Version, ok bool) {
	text, found := strings.CutPrefix(string(e), `"`)
	text, closed := strings.CutSuffix(text, `"`)
	if !found || !closed {
		return v, false
	}
	for i, to := range [...]*uint64{&v.Incarnation, &v.Epoch, &v.Index} {
		part, rest, more := strings.Cut(text, ".")
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil || more != (i < 2) {
			return Version{}, false
		}
		*to, text = n, rest
	}
	return v, true
}

// ReadLevel is how a read of a strong bucket is done.
type ReadLevel uint8

// The levels. All but Stale are linearizable.
const (
	// Leader asks the primary, which makes sure that it still is one. The default.
	Leader ReadLevel = iota
	// Quorum asks a majority and no primary.
	Quorum
	// Replica asks any replica, which the primary has told how much there is to see.
	Replica
	// Stale is what a replica has: some committed past state. Value.Applied says which.
	Stale
	// Lease asks the primary, which asks nobody if it holds a lease: nodes with strong-lease
	// set grant them. Else it is Leader. Linearizable as long as clocks drift apart by less
	// than a tenth.
	Lease
)

var readLevels = [...]consistency{levelLeader, levelQuorum, levelReplica, levelStale, levelLease}

func (l ReadLevel) applyGet(c *call) {
	if int(l) < len(readLevels) {
		c.req.level = readLevels[l]
	}
	c.strong = true
}

// Consistency chooses how a read of a strong bucket is done.
func Consistency(l ReadLevel) GetOption { return l }

type matchOption ETag

func (t matchOption) applyPut(c *call)    { c.req.match, c.strong = ETag(t), true }
func (t matchOption) applyDelete(c *call) { c.req.match, c.strong = ETag(t), true }

// IfMatch writes only if the key still holds what this ETag names, and fails with
// ErrPreconditionFailed otherwise; IfMatch("*") only if it holds something. In strong
// buckets.
func IfMatch(etag ETag) WriteOption { return matchOption(etag) }

type absentOption struct{}

func (absentOption) applyPut(c *call) { c.req.noneMatch, c.strong = "*", true }

// IfAbsent writes only if the key holds nothing, and fails with ErrPreconditionFailed
// otherwise. In strong buckets.
func IfAbsent() PutOption { return absentOption{} }

type noKeyOption struct{}

func (noKeyOption) applyPut(c *call)    { c.unnamed, c.once = true, true }
func (noKeyOption) applyDelete(c *call) { c.unnamed, c.once = true, true }

// NoIdempotencyKey sends a write without one. The cluster then keeps no record of its
// outcome, which saves some work; it is never sent again once it may have been applied.
func NoIdempotencyKey() WriteOption { return noKeyOption{} }

// PutIf writes a key of a strong bucket if it still is as etag names it: the version
// that a read or a write has told, or "" for a key that holds nothing. Otherwise it fails
// with ErrPreconditionFailed, and the *Error has the current ETag. Of any number of
// callers with one etag, one succeeds.
func (b *Bucket) PutIf(ctx context.Context, key string, data []byte, etag ETag, opts ...PutOption) (*Result, error) {
	k := b.call(opPut, key)
	k.req.value, k.strong = data, true
	for _, o := range opts {
		o.applyPut(k)
	}
	if k.req.match, k.req.noneMatch = etag, ""; etag == "" {
		k.req.noneMatch = "*"
	}
	return b.write(ctx, k)
}

// DeleteIf removes a key of a strong bucket if it still holds what etag names.
func (b *Bucket) DeleteIf(ctx context.Context, key string, etag ETag, opts ...DeleteOption) (*Result, error) {
	k := b.call(opDelete, key)
	for _, o := range opts {
		o.applyDelete(k)
	}
	k.req.match, k.strong = etag, true
	if etag == "" {
		return nil, b.c.end(k, &Error{Code: "invalid_argument", Status: 400, Outcome: NotApplied, Detail: "DeleteIf without an ETag; Delete removes whatever is there"})
	}
	return b.write(ctx, k)
}

// Swap reads a key of a strong bucket, gives change what is there, and writes what that
// returns in its place if nobody else has written meanwhile; else it begins again, until
// ctx or the client's timeout ends. A key that is not there is a Value without Data and
// ETag. change may be called several times. Nothing is written when it fails.
func (b *Bucket) Swap(ctx context.Context, key string, change func(*Value) ([]byte, error), opts ...PutOption) (*Result, error) {
	ctx, cancel := b.c.within(ctx)
	defer cancel()
	for attempts := 0; ; attempts++ {
		v, err := b.Get(ctx, key, Consistency(Leader))
		if errors.Is(err, ErrNotFound) {
			v, err = &Value{}, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := change(v)
		if err != nil {
			return nil, err
		}
		with := opts
		if v.ContentType != "" {
			with = append([]PutOption{ContentType(v.ContentType)}, opts...)
		}
		r, err := b.PutIf(ctx, key, data, v.ETag, with...)
		if !errors.Is(err, ErrPreconditionFailed) {
			return r, err
		}
		// Whoever loses again and again waits longer and longer for the others.
		if !b.c.pause(ctx, jitter(min(swapFirst<<min(attempts, 10), swapMost))) {
			return r, err
		}
	}
}

// Counter is a counter of a strong bucket.
type Counter struct {
	Value    int64
	ETag     ETag
	Receipt  Receipt
	Node     string // that coordinated
	Attempts int
	Stale    bool // an answer to Consistency(Stale)
	Applied  uint64
}

// Increment adds delta to a counter of a strong bucket; one that is not there is 0.
// The idempotency key makes it act once however often it is sent. It fails with
// ErrConflict if the key holds something else than a counter, or if the counter would
// leave 64 bits.
func (b *Bucket) Increment(ctx context.Context, key string, delta int64, opts ...WriteOption) (*Counter, error) {
	k := b.call(opIncrement, key)
	k.req.delta, k.strong = delta, true
	for _, o := range opts {
		o.applyPut(k)
	}
	k.name()
	return b.count(ctx, k)
}

// Counter reads a counter. It fails with ErrNotFound where there is none.
func (b *Bucket) Counter(ctx context.Context, key string, opts ...GetOption) (*Counter, error) {
	k := b.call(opCount, key)
	k.strong = true
	for _, o := range opts {
		o.applyGet(k)
	}
	return b.count(ctx, k)
}

func (b *Bucket) count(ctx context.Context, k *call) (*Counter, error) {
	if f := k.check(); f != nil {
		return nil, b.c.end(k, f)
	}
	if f := b.c.run(ctx, k); f != nil {
		return nil, f
	}
	p := &k.resp
	if p.status == 304 {
		return nil, ErrNotModified
	}
	return &Counter{Value: p.counted, ETag: p.etag, Receipt: p.receipt, Node: p.servedBy, Attempts: k.attempts, Stale: p.stale, Applied: p.applied}, nil
}

// knowledge is what answers have told of a bucket.
type knowledge struct {
	owners atomic.Int32 // of a key; 0: not known
	strong atomic.Bool
}

// learn takes an answer in. ETags of strong buckets have dots, others have none.
func (k *knowledge) learn(p *response) {
	if k == nil {
		return
	}
	if p.receipt.N > 0 && k.owners.Load() != int32(p.receipt.N) {
		k.owners.Store(int32(p.receipt.N))
	}
	if p.etag == "" {
		return
	}
	if is := strings.IndexByte(string(p.etag), '.') >= 0; is != k.strong.Load() {
		k.strong.Store(is)
	}
}

// primaryOnly: nobody but the primary can answer the call; others forward it.
func (k *call) primaryOnly() bool {
	if !k.keyed || !k.strong && (k.known == nil || !k.known.strong.Load()) {
		return false
	}
	return k.req.op.write() || k.req.level == 0 || k.req.level == levelLeader || k.req.level == levelLease
}

// primaryOf is the node to ask for what only a primary can answer, nil if there is no
// such node or no need.
func (v *view) primaryOf(k *call) *node {
	if len(v.primary) == 0 || !k.primaryOnly() {
		return nil
	}
	return v.primary[partitionOf(v, k.req.bucket, k.req.key)]
}

// allowPrimary lets the primary be asked again, unless it is the one that has just
// failed.
func (c *Client) allowPrimary(k *call, failed *node) {
	v := c.ring.Load()
	if v == nil {
		return
	}
	if p := v.primaryOf(k); p != nil && p != failed {
		c.allow(k, []string{p.name})
	}
}

// settled tells that a refusal speaks for every copy of the write that was sent before:
// the primary that compared has put its refusal, with the write's idempotency key, into
// the log, where no copy had been.
func (k *call) settled(f *Error) bool {
	if k.req.idempotency == "" {
		return false
	}
	return f.Code == codePrecondition || f.Code == codeConflict && k.req.op == opIncrement
}

const deltaHead = `{"delta":`

// deltaBody is the length of the body of an increment.
func deltaBody(delta int64) int {
	var room [24]byte
	return len(deltaHead) + len(strconv.AppendInt(room[:0], delta, 10)) + 1
}

// parseCounter reads the body of a counter's answer.
func (p *response) parseCounter(body []byte) error {
	var c struct {
		Value *int64 `json:"value"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(body), &c); err != nil || c.Value == nil {
		return badAnswer("it is no counter")
	}
	p.counted = *c.Value
	return nil
}
