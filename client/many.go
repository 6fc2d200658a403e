package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"
)

// Got is what GetMany found under one key: a Value or an error.
type Got struct {
	Key   string
	Value *Value
	Err   error
}

// GetMany reads many keys, each on its own: the results are in the order of keys, and
// are not a snapshot. Options that speak of one key (ReadAfter, IfNoneMatch) are
// refused. The error is of the whole: nothing was asked.
func (b *Bucket) GetMany(ctx context.Context, keys []string, opts ...GetOption) ([]Got, error) {
	k := b.call(opMulti, "")
	for _, o := range opts {
		o.applyGet(k)
	}
	if k.req.after != "" || k.req.noneMatch != "" {
		return nil, b.c.end(k, &Error{Code: "invalid_argument", Status: 400, Detail: "ReadAfter and IfNoneMatch speak of one key, not of many"})
	}
	out := make([]Got, len(keys))
	for i, key := range keys {
		out[i] = Got{Key: key, Err: b.c.end(k, &Error{Code: codeTimeout, Retryable: true, Err: context.DeadlineExceeded})}
	}
	ctx, cancel := b.c.within(ctx)
	defer cancel()
	if b.session != nil || b.c.cfg.Transport != HTTP {
		b.getEach(ctx, out, opts)
		return out, nil
	}
	query := string(appendQuery(nil, '?', &k.req))
	b.rounds(ctx, len(keys),
		func(items []int) []*chunk {
			return b.chunks(opGet, items, func(i int) string { return keys[i] }, func(int) int { return 0 })
		},
		func(ctx context.Context, c *chunk) ([]int, *Error) { return b.getChunk(ctx, c, query, out) })
	return out, nil
}

// getEach reads each key by a request of its own.
func (b *Bucket) getEach(ctx context.Context, out []Got, opts []GetOption) {
	at := make([]*Got, len(out))
	for i := range out {
		at[i] = &out[i]
	}
	inParallel(at, singlesAtOnce, func(g *Got) { g.Value, g.Err = b.Get(ctx, g.Key, opts...) })
}

// within gives ctx a deadline if it has none.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.cfg.Timeout)
}

// getChunk asks one node for its part, and gives the keys to be asked for again.
func (b *Bucket) getChunk(ctx context.Context, c *chunk, query string, out []Got) (again []int, why *Error) {
	var ask struct {
		Keys   []string `json:"keys,omitempty"`
		Keys64 []string `json:"keys64,omitempty"`
	}
	order := make([]int, 0, len(c.items)) // the answer's: texts first
	var rest []int
	for _, i := range c.items {
		if asText(out[i].Key) {
			ask.Keys = append(ask.Keys, out[i].Key)
			order = append(order, i)
		} else {
			ask.Keys64 = append(ask.Keys64, base64.RawURLEncoding.EncodeToString([]byte(out[i].Key)))
			rest = append(rest, i)
		}
	}
	order = append(order, rest...)
	var answer resultsJSON
	f := b.post(ctx, opMulti, c.to, ":get"+query, "", ask, &answer, len(order))
	if f != nil {
		for _, i := range c.items {
			out[i].Err = f
		}
		return nil, nil // its own attempts were made
	}
	for at, i := range order {
		r := &answer.Results[at]
		if f := r.fault(opGet, b.name); f != nil {
			out[i].Err = f
			if decide(opGet, false, f).again {
				again, why = append(again, i), f
			}
			continue
		}
		out[i].Value, out[i].Err = r.value(), nil
	}
	return again, why
}

func (r *resultJSON) value() *Value {
	v := &Value{ContentType: r.ContentType, Context: r.Context, ETag: ETag(r.ETag), Receipt: parseReceipt([]byte(r.Receipt)), Count: max(r.Count, 1)}
	if len(r.Siblings) > 1 {
		v.Siblings, v.Count = siblingList(r.Siblings), len(r.Siblings)
		return v
	}
	v.Data, v.Size = r.Value, int64(len(r.Value))
	if v.Data == nil {
		v.Data = []byte{}
	}
	return v
}

// post sends JSON to a route of the bucket and reads the JSON that comes back.
func (b *Bucket) post(ctx context.Context, o op, to *node, route, idempotency string, ask any, answer *resultsJSON, want int) *Error {
	k := &call{req: request{op: o, bucket: b.name, idempotency: idempotency}, prefer: to, once: o == opBatch && idempotency == ""}
	body, err := json.Marshal(ask)
	if err != nil {
		return b.c.end(k, &Error{Code: codeInternal, Outcome: NotApplied, Err: err})
	}
	q := &webRequest{method: "POST", path: string(appendEscaped([]byte("/v1/kv/"), b.name)) + route, body: body, most: manyMax}
	if idempotency != "" {
		q.header = map[string]string{"Idempotency-Key": idempotency}
	}
	k.exchange = b.c.web.exchange(q, func(body []byte) error {
		*answer = resultsJSON{}
		if err := json.Unmarshal(body, answer); err != nil {
			return err
		}
		if len(answer.Results) != want {
			return errShortAnswer
		}
		return nil
	})
	return b.c.run(ctx, k)
}

// Operation is one write of a Batch.
type Operation struct {
	Key         string
	Delete      bool // else it is a put of Data
	Data        []byte
	ContentType string        // "": application/octet-stream
	TTL         time.Duration // 0: the bucket's
	Context     Context       // what the write replaces; "": what its coordinator holds

	// Of strong buckets: the write is done only if the key is as these want it.
	IfMatch  ETag // what the key holds
	IfAbsent bool // the key holds nothing
}

// Done is what became of one Operation: a Result or an error.
type Done struct {
	Key    string
	Result *Result
	Err    error

	unknown bool // an attempt may have been applied
}

type operationJSON struct {
	Op          string  `json:"op"`
	Key         *string `json:"key,omitempty"`
	Key64       string  `json:"key64,omitempty"`
	Value       *[]byte `json:"value,omitempty"`
	ContentType string  `json:"content_type,omitempty"`
	TTLMS       int64   `json:"ttl_ms,omitempty"`
	Context     Context `json:"context,omitempty"`
	IfMatch     ETag    `json:"if_match,omitempty"`
	IfNoneMatch ETag    `json:"if_none_match,omitempty"`
	Idempotency string  `json:"idempotency_key,omitempty"`
}

// Batch writes many keys in few requests. It is not atomic: each operation has a
// result of its own, in the order of ops. W, PW, Sloppy and the like hold for all; With
// and IdempotencyKey are refused, as are IfMatch and IfAbsent, which an Operation has for
// itself. Operations that were not applied are tried again; one whose outcome is unknown
// is repeated in a strong bucket, where it acts once, else only together with its whole
// request. The error is of the whole: nothing was sent.
func (b *Bucket) Batch(ctx context.Context, ops []Operation, opts ...WriteOption) ([]Done, error) {
	k := b.call(opBatch, "")
	for _, o := range opts {
		o.applyPut(k)
	}
	if k.req.context != "" || k.req.idempotency != "" || k.req.match != "" || k.req.noneMatch != "" {
		return nil, b.c.end(k, &Error{Code: "invalid_argument", Status: 400, Outcome: NotApplied, Detail: "With, IdempotencyKey, IfMatch and IfAbsent speak of one write, not of many"})
	}
	out := make([]Done, len(ops))
	for i := range ops {
		out[i] = Done{Key: ops[i].Key, Err: b.c.end(k, &Error{Code: codeTimeout, Outcome: NotApplied, Retryable: true, Err: context.DeadlineExceeded})}
	}
	ctx, cancel := b.c.within(ctx)
	defer cancel()
	ids := b.batchIDs(k, ops)
	query := string(appendQuery(nil, '?', &k.req))
	b.rounds(ctx, len(ops),
		func(items []int) []*chunk {
			return b.chunks(opPut, items, func(i int) string { return ops[i].Key }, func(i int) int { return len(ops[i].Data) })
		},
		func(ctx context.Context, c *chunk) ([]int, *Error) {
			return b.writeChunk(ctx, c, query, ops, ids, k.once, out)
		})
	return out, nil
}

// batchIDs names each operation on its own, where that makes a repeat of it act once;
// nil elsewhere.
func (b *Bucket) batchIDs(k *call, ops []Operation) []string {
	strong := b.known.strong.Load()
	for i := range ops {
		strong = strong || ops[i].IfMatch != "" || ops[i].IfAbsent
	}
	if !strong || k.once {
		return nil
	}
	ids := make([]string, len(ops))
	for i := range ids {
		ids[i] = newIdempotencyKey()
	}
	return ids
}

func (b *Bucket) writeChunk(ctx context.Context, c *chunk, query string, ops []Operation, ids []string, once bool, out []Done) (again []int, why *Error) {
	var ask struct {
		Operations []operationJSON `json:"operations"`
	}
	for _, i := range c.items {
		j := ops[i].json()
		if ids != nil {
			j.Idempotency = ids[i]
		}
		ask.Operations = append(ask.Operations, j)
	}
	var answer resultsJSON
	whole := ""
	if !once {
		whole = newIdempotencyKey()
	}
	f := b.post(ctx, opBatch, c.to, ":batch"+query, whole, ask, &answer, len(c.items))
	if f != nil {
		for _, i := range c.items {
			mine := *f
			out[i].fail(&mine)
		}
		return nil, nil
	}
	for at, i := range c.items {
		r := &answer.Results[at]
		o := opPut
		if ops[i].Delete {
			o = opDelete
		}
		if f := r.fault(o, b.name); f != nil {
			if ids != nil {
				f.IdempotencyKey = ids[i]
			}
			out[i].fail(f)
			// Not what is unknown without an id of its own: at another place of another
			// request it would be another write.
			if (f.Outcome == NotApplied || ids != nil) && decide(o, ids == nil, f).again {
				again, why = append(again, i), f
			}
			continue
		}
		out[i].Result, out[i].Err = &Result{Context: r.Context, ETag: ETag(r.ETag), Created: r.Status == 201, Receipt: parseReceipt([]byte(r.Receipt)), Attempts: 1}, nil
		if b.session != nil && r.Context != "" {
			b.session.saw(b.name, ops[i].Key, r.Context)
		}
	}
	return again, why
}

// fail notes why an attempt failed. Once one of them may have been applied the outcome
// stays unknown, but for the refusal of a condition under an id of its own.
func (d *Done) fail(f *Error) {
	if d.unknown && (f.Code != codePrecondition || f.IdempotencyKey == "") {
		f.Outcome = Unknown
	}
	d.Err, d.unknown = f, f.Outcome == Unknown
}

func (o *Operation) json() operationJSON {
	j := operationJSON{Op: "put", ContentType: o.ContentType, TTLMS: o.TTL.Milliseconds(), Context: o.Context, IfMatch: o.IfMatch}
	if o.IfAbsent {
		j.IfNoneMatch = "*"
	}
	if asText(o.Key) {
		j.Key = &o.Key
	} else {
		j.Key64 = base64.RawURLEncoding.EncodeToString([]byte(o.Key))
	}
	if o.Delete {
		j.Op = "delete"
		return j
	}
	data := o.Data
	if data == nil {
		data = []byte{}
	}
	j.Value = &data
	return j
}
