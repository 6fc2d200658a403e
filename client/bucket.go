package client

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"time"
)

// Bucket is a named set of keys. It costs nothing to make; one that is kept learns
// how many owners its keys have, and whether their primaries are to be asked. Keys are 1 to 1,024 bytes, any bytes.
type Bucket struct {
	c       *Client
	name    string
	known   *knowledge
	session *Session // nil: none
}

// Bucket gives a bucket by name. Whether it exists is found out by the first call.
func (c *Client) Bucket(name string) *Bucket {
	return &Bucket{c: c, name: name, known: new(knowledge)}
}

// Name of the bucket.
func (b *Bucket) Name() string { return b.name }

func (b *Bucket) call(o op, key string) *call {
	return &call{req: request{op: o, bucket: b.name, key: key}, keyed: true, known: b.known}
}

// Get reads a key. It fails with ErrNotFound where there is no value; the *Error then
// has the Context to write with, if the key was deleted.
func (b *Bucket) Get(ctx context.Context, key string, opts ...GetOption) (*Value, error) {
	return b.read(ctx, b.call(opGet, key), opts)
}

// Head is Get without the value: its size, type, version and context. Where there
// are siblings only their Count is given.
func (b *Bucket) Head(ctx context.Context, key string, opts ...GetOption) (*Value, error) {
	return b.read(ctx, b.call(opHead, key), opts)
}

func (b *Bucket) read(ctx context.Context, k *call, opts []GetOption) (*Value, error) {
	for _, o := range opts {
		o.applyGet(k)
	}
	if b.session != nil && k.req.after == "" {
		k.req.after = b.session.token(b.name, k.req.key)
	}
	if f := k.check(); f != nil {
		return nil, b.c.end(k, f)
	}
	if f := b.c.run(ctx, k); f != nil {
		if b.session != nil && f.Context != "" {
			b.session.saw(b.name, k.req.key, f.Context)
		}
		return nil, f
	}
	p := &k.resp
	if b.session != nil && p.context != "" {
		b.session.saw(b.name, k.req.key, p.context)
	}
	if p.status == 304 {
		return nil, ErrNotModified
	}
	return p.read(), nil
}

// read is the answer to a read, as the caller is given it.
func (p *response) read() *Value {
	return &Value{Data: p.value, ContentType: p.contentType, Size: p.size, Siblings: p.siblings, Count: max(p.count, 1),
		Context: p.context, ETag: p.etag, Receipt: p.receipt, Node: p.servedBy, Stale: p.stale, Applied: p.applied}
}

// Put writes a key. data is not touched any more once Put has returned.
func (b *Bucket) Put(ctx context.Context, key string, data []byte, opts ...PutOption) (*Result, error) {
	k := b.call(opPut, key)
	k.req.value = data
	for _, o := range opts {
		o.applyPut(k)
	}
	return b.write(ctx, k)
}

// Delete removes a key. Deleting what is not there succeeds.
func (b *Bucket) Delete(ctx context.Context, key string, opts ...DeleteOption) (*Result, error) {
	k := b.call(opDelete, key)
	for _, o := range opts {
		o.applyDelete(k)
	}
	return b.write(ctx, k)
}

func (b *Bucket) write(ctx context.Context, k *call) (*Result, error) {
	k.name()
	if f := k.check(); f != nil {
		return nil, b.c.end(k, f)
	}
	if f := b.c.run(ctx, k); f != nil {
		return nil, f
	}
	p := &k.resp
	if b.session != nil && p.context != "" {
		b.session.saw(b.name, k.req.key, p.context)
	}
	return &Result{Context: p.context, ETag: p.etag, Receipt: p.receipt, Node: p.servedBy, Created: p.status == 201, Attempts: k.attempts}, nil
}

// name gives a write its idempotency key, unless it is to have none.
func (k *call) name() {
	if k.req.idempotency == "" && !k.unnamed {
		k.req.idempotency = newIdempotencyKey()
	}
}

// Update reads a key, gives what it saw to change, and writes what that returns in
// its place: siblings become one again. A key that is not there is a Value without
// Data and Context. It is not a compare-and-set: a concurrent Update makes a sibling,
// which the next one is given (in a strong bucket, Swap is). Nothing is written when change fails.
func (b *Bucket) Update(ctx context.Context, key string, change func(*Value) ([]byte, error), opts ...PutOption) (*Result, error) {
	v, err := b.Get(ctx, key)
	if err != nil {
		f, ok := err.(*Error)
		if !ok || f.Code != codeKeyNotFound {
			return nil, err
		}
		v = &Value{Context: f.Context}
	}
	data, err := change(v)
	if err != nil {
		return nil, err
	}
	with := make([]PutOption, 0, 2+len(opts))
	if v.Context != "" {
		with = append(with, With(v.Context))
	}
	if v.ContentType != "" {
		with = append(with, ContentType(v.ContentType))
	}
	return b.Put(ctx, key, data, append(with, opts...)...)
}

// newIdempotencyKey is <unix_ms>-<random>: 64 random bits beside the millisecond.
func newIdempotencyKey() string {
	var room [40]byte
	b := strconv.AppendInt(room[:0], time.Now().UnixMilli(), 10)
	b = append(b, '-')
	var r [8]byte
	v := rand.Uint64()
	for i := range r {
		r[i] = byte(v >> (8 * i))
	}
	return string(hex.AppendEncode(b, r[:]))
}

// check refuses what cannot be sent as it is. Everything else is the node's to judge.
func (k *call) check() *Error {
	q := &k.req
	for _, h := range [...]string{string(q.context), string(q.after), string(q.noneMatch), string(q.match), q.idempotency, q.contentType} {
		if !printable(h) {
			return &Error{Code: "invalid_argument", Status: 400, Outcome: NotApplied, Detail: "a token, ETag, key of idempotency or content type has bytes that no header may have"}
		}
	}
	if q.key == "" {
		return &Error{Code: "invalid_argument", Status: 400, Outcome: NotApplied, Detail: "the key is empty; a key has 1 to 1024 bytes"}
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
