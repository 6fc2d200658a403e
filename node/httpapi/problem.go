package httpapi

import (
	"encoding/json"
	"strconv"

	"github.com/quoratedb/quorate/node/core"
)

// problem is an error body, RFC 9457 with the members of the contract.
type problem struct {
	Type         string         `json:"type"`
	Title        string         `json:"title"`
	Status       int            `json:"status"`
	Detail       string         `json:"detail"`
	Instance     string         `json:"instance"`
	Code         string         `json:"code"`
	Outcome      string         `json:"outcome,omitempty"`
	Retryable    bool           `json:"retryable"`
	RetryAfterMS int64          `json:"retry_after_ms,omitempty"`
	Quorum       *problemQuorum `json:"quorum,omitempty"`
	RingVersion  uint64         `json:"ring_version,omitempty"`
	Epoch        uint64         `json:"epoch,omitempty"`
	Partition    *uint32        `json:"partition,omitempty"`
	Owners       []string       `json:"owners,omitempty"`
	ETag         string         `json:"etag,omitempty"`
	Checks       []Check        `json:"checks,omitempty"`
}

type problemQuorum struct {
	N         int             `json:"n"`
	Need      int             `json:"need"`
	Acks      int             `json:"acks"`
	Owners    int             `json:"owners"`
	Fallbacks int             `json:"fallbacks"`
	Failed    []problemFailed `json:"failed"`
}

type problemFailed struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// problem builds the body of a fault.
func (c *call) problem(f *fault) *problem {
	row := &errorTable[f.code]
	p := &problem{
		Type:      "urn:quorate:error:" + row.name,
		Title:     row.title,
		Status:    row.status,
		Detail:    f.detail,
		Instance:  "urn:quorate:request:" + c.id.String(),
		Code:      row.name,
		Outcome:   c.outcome(f).String(),
		Retryable: row.retryable,
		ETag:      f.etag,
		Checks:    f.checks,
	}
	if f.status != 0 {
		p.Status = f.status
	}
	p.RetryAfterMS = f.rule().RetryAfter().Milliseconds()
	ring := c.a.b.Ring()
	if ring != nil {
		p.RingVersion = ring.Version
	}
	rep := f.reply
	if rep == nil {
		return p
	}
	if rep.RingVersion != 0 {
		p.RingVersion, p.Epoch, p.Partition = rep.RingVersion, rep.Epoch, &rep.Partition
	}
	if rep.Receipt.N != 0 || len(rep.Failed) != 0 {
		q := rep.Receipt
		p.Quorum = &problemQuorum{N: q.N, Need: q.Need, Acks: q.Acks, Owners: q.Owners, Fallbacks: q.Fallbacks, Failed: []problemFailed{}}
		for _, x := range rep.Failed {
			p.Quorum.Failed = append(p.Quorum.Failed, problemFailed{c.a.nodeName(ring, x.Store), x.Reason.String()})
		}
	}
	for _, sid := range rep.Owners {
		p.Owners = append(p.Owners, c.a.nodeName(ring, sid))
	}
	return p
}

// outcome is the fate of the write. A read has none, but a refusal before any work
// is labelled the same for both.
func (c *call) outcome(f *fault) core.Outcome { return f.rule().Outcome(c.write) }

// fail answers with a problem.
func (c *call) fail(f *fault) {
	c.code = f.code
	if c.id.IsZero() {
		c.id = randomID()
	}
	p := c.problem(f)
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers only: it cannot fail
		body = []byte(`{"code":"internal"}`)
	}
	h := c.headers()
	h.text(hdrContentType, typeProblem)
	h.text(hdrNosniff, nosniff)
	h.number(hdrContentLength, uint64(len(body)))
	if p.RetryAfterMS != 0 {
		h.number(hdrRetryAfter, uint64((p.RetryAfterMS+999)/1000))
	}
	if f.allow != "" {
		h.text(hdrAllow, f.allow)
	}
	if f.etag != "" {
		h.text(hdrETag, f.etag)
	}
	if f.reply != nil {
		c.replyHeaders(h, f.reply)
	} else {
		c.localHeaders(h)
	}
	c.send(p.Status, h, body)
}

// send answers with a body that is complete.
func (c *call) send(status int, h *headerList, body []byte) {
	if c.x != nil {
		c.x.End(h.render(c.x.Begin(status)), body)
		return
	}
	h.flush(c.w.Header())
	c.w.WriteHeader(status)
	if len(body) > 0 {
		_, _ = c.w.Write(body) // a client that went away is nobody's error
	}
}

// replyHeaders appends what every reply of the core carries.
func (c *call) replyHeaders(h *headerList, rep *core.Reply) {
	if len(rep.Context.Seen) > 0 || rep.NothingWritten {
		h.buf = rep.Context.AppendToken(h.buf)
		h.done(hdrContext)
	}
	if rep.Receipt.N != 0 {
		h.buf = rep.Receipt.Append(h.buf)
		h.done(hdrReceipt)
	}
	c.strongHeaders(h, rep)
	if rep.RingVersion == 0 {
		c.localHeaders(h)
		return
	}
	h.number(hdrRing, rep.RingVersion)
	h.number(hdrEpoch, rep.Epoch)
	h.number(hdrPartition, uint64(rep.Partition))
	h.text(hdrServedBy, c.a.nodeName(c.a.b.Ring(), rep.ServedBy))
	h.buf = appendHex(h.buf, c.id[:])
	h.done(hdrRequestID)
}

// localHeaders appends what an answer of this node alone carries.
func (c *call) localHeaders(h *headerList) {
	if ring := c.a.b.Ring(); ring != nil {
		h.number(hdrRing, ring.Version)
	}
	h.text(hdrServedBy, c.a.self.Node)
	h.buf = appendHex(h.buf, c.id[:])
	h.done(hdrRequestID)
}

// json answers a control request.
func (c *call) json(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		c.a.Log.Error("reply cannot be encoded", "operation", opNames[c.op.name], "error", err)
		c.fail(refuse(codeInternal, "the reply could not be encoded"))
		return
	}
	hdr := c.w.Header()
	hdr[hdrContentType] = valJSON
	hdr[hdrNosniff] = valNosniff
	hdr[hdrContentLength] = []string{strconv.Itoa(len(body) + 1)}
	h := c.headers()
	c.localHeaders(h)
	h.flush(hdr)
	c.out = len(body)
	c.w.WriteHeader(status)
	_, _ = c.w.Write(append(body, '\n'))
}
