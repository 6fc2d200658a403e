package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	_ "testing/synctest" // sleeps are virtual
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/frames"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

// Both ways into a node are one contract: every request of the suite goes through
// HTTP and through frames, at whole nodes in virtual time, and what comes back is
// compared member by member.

// twoWays is a cluster whose nodes are asked in both ways.
type twoWays struct {
	*bubble
	token frames.Token
	conns map[string]*frames.Conn
}

// way is one of the two.
type way func(n *bubbleNode, q wire.ClientRequest) wire.ClientReply

func inTwoWays(t *testing.T, nodes int, f func(w *twoWays)) {
	t.Helper()
	token := frames.Token("a secret of some length")
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, token, 0o600); err != nil {
		t.Fatal(err)
	}
	inBubble(t, nodes, func(b *bubble) {
		for _, n := range b.nodes {
			n.conf = func(c *Config) {
				c.Frames, c.FramesTokenFile, c.MaxValueBytes, c.DiskReserve = n.addr(7403), path, 100<<10, 1
			}
		}
		w := &twoWays{bubble: b, token: token, conns: map[string]*frames.Conn{}}
		defer w.hangUp()
		f(w)
	})
}

func (w *twoWays) hangUp() {
	for _, c := range w.conns {
		_ = c.Close()
	}
}

// byFrames asks through the node's frames port.
func (w *twoWays) byFrames(n *bubbleNode, q wire.ClientRequest) (rep wire.ClientReply) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	c := w.conns[n.name]
	if c == nil || !c.Usable() {
		var err error
		if c, err = frames.Dial(ctx, n.addr(7403), frames.DialConfig{Token: w.token, Dial: w.net.hosts[clientIP].dial}); err != nil {
			w.t.Fatal(err)
		}
		w.conns[n.name] = c
	}
	if err := c.Do(ctx, &q, &rep); err != nil {
		w.t.Fatalf("%s: %v", q.Op, err)
	}
	return rep
}

// byHTTP asks through the node's HTTP port, and reads the answer as frames would give it.
func (w *twoWays) byHTTP(n *bubbleNode, q wire.ClientRequest) wire.ClientReply {
	w.t.Helper()
	res, body, err := w.send(n, httpRequest(w.t, n, q))
	if err != nil {
		w.t.Fatal(err)
	}
	return readHTTP(w.t, q, res, body)
}

func (w *twoWays) send(_ *bubbleNode, req *http.Request) (*http.Response, []byte, error) {
	res, err := w.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, body, err
}

func httpRequest(t *testing.T, n *bubbleNode, q wire.ClientRequest) *http.Request {
	t.Helper()
	method := map[wire.ClientOp]string{wire.ClientGet: "GET", wire.ClientHead: "HEAD", wire.ClientPut: "PUT", wire.ClientDelete: "DELETE",
		wire.ClientRing: "GET", wire.ClientIncrement: "POST"}[q.Op]
	query := url.Values{}
	set := func(name, v string) {
		if v != "" && v != "0" {
			query.Set(name, v)
		}
	}
	set("r", fmt.Sprint(q.R))
	set("w", fmt.Sprint(q.W))
	set("pw", fmt.Sprint(q.PW))
	set("sloppy", [...]string{"", "false", "true"}[q.Sloppy])
	set("consistency", q.Consistency)
	if q.TTL != 0 {
		set("ttl", q.TTL.String())
	}
	if q.Newest {
		set("resolve", "newest")
	}
	target := "http://" + n.addr(7400) + "/v1/kv/" + url.PathEscape(q.Bucket) + "/" + strings.ReplaceAll(url.PathEscape(string(q.Key)), ".", "%2E")
	if q.Op == wire.ClientRing {
		target = "http://" + n.addr(7400) + "/v1/cluster/ring"
	}
	if q.Op == wire.ClientIncrement {
		target = strings.Replace(target, "/v1/kv/", "/v1/counter/", 1)
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var body io.Reader
	if q.Op == wire.ClientPut || len(q.Value) > 0 {
		body = bytes.NewReader(q.Value)
	}
	if q.Op == wire.ClientIncrement {
		body = strings.NewReader(fmt.Sprintf(`{"delta":%d}`, q.Delta))
	}
	req, err := http.NewRequest(method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	header := func(name, v string) {
		if v != "" {
			req.Header.Set(name, v)
		}
	}
	header("Content-Type", q.ContentType)
	header("Quorate-Context", q.Context)
	header("Quorate-Read-After", q.ReadAfter)
	header("If-Match", q.IfMatch)
	header("If-None-Match", q.IfNoneMatch)
	header("Idempotency-Key", q.IdempotencyKey)
	if q.Timeout != 0 {
		header("Quorate-Timeout", q.Timeout.String())
	}
	if q.OwnerOnly {
		header("Quorate-Route", "owner")
	}
	if q.RingVersion != 0 {
		header("Quorate-Ring", fmt.Sprint(q.RingVersion))
	}
	return req
}

// readHTTP fills in what HTTP says in headers and bodies.
func readHTTP(t *testing.T, q wire.ClientRequest, res *http.Response, body []byte) (r wire.ClientReply) {
	t.Helper()
	h := res.Header
	number := func(name string) uint64 {
		v, _ := strconv.ParseUint(h.Get(name), 10, 64)
		return v
	}
	r.Status, r.Context, r.ServedBy = uint16(res.StatusCode), h.Get("Quorate-Context"), h.Get("Quorate-Served-By")
	r.RingVersion, r.Epoch, r.Partition, r.HasPlace = number("Quorate-Ring"), number("Quorate-Epoch"), uint32(number("Quorate-Partition")), h.Get("Quorate-Epoch") != ""
	r.Siblings = uint32(number("Quorate-Siblings"))
	readStrong(t, q, &r, h, body)
	if tag := strings.Trim(h.Get("ETag"), `"`); tag != "" && q.Op != wire.ClientRing && !strings.Contains(tag, ".") {
		v, err := strconv.ParseUint(tag, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		r.ETag, r.HasETag = v, true
	}
	c := &r.Receipt
	_, _ = fmt.Sscanf(h.Get("Quorate-Receipt"), "n=%d, need=%d, acks=%d, owners=%d, fallbacks=%d, synced=%d", &c.N, &c.Need, &c.Acks, &c.Owners, &c.Fallbacks, &c.Synced)
	if len(h.Get("Quorate-Request-Id")) == 32 {
		r.RequestID[0] = 1
	}
	switch {
	case r.Status == 200 && q.Op == wire.ClientIncrement:
		r.Outcome = core.Applied
	case r.Status == 200:
		r.ContentType, r.Size = h.Get("Content-Type"), number("Content-Length")
		if q.Op == wire.ClientRing { // a document ends with a line's end
			body = bytes.TrimSuffix(body, []byte("\n"))
			r.Size--
		}
		if q.Op != wire.ClientHead {
			r.Value = body
		}
	case r.Status == 204, r.Status == 201:
		r.Outcome = core.Applied
	case r.Status == 300 && q.Op != wire.ClientHead:
		readSiblings(t, &r, body)
	case r.Status >= 400 && q.Op != wire.ClientHead:
		readProblem(t, &r, body)
	}
	return r
}

func readSiblings(t *testing.T, r *wire.ClientReply, body []byte) {
	t.Helper()
	var all struct {
		Siblings []struct {
			ETag        string `json:"etag"`
			ContentType string `json:"content_type"`
			Value       []byte `json:"value"`
			HLC         string `json:"hlc"`
		} `json:"siblings"`
		Context string `json:"context"`
	}
	if err := json.Unmarshal(body, &all); err != nil || all.Context != r.Context {
		t.Fatalf("%v: %s", err, body)
	}
	for _, s := range all.Siblings {
		v := wire.ClientSibling{ContentType: s.ContentType, Value: s.Value}
		if _, err := fmt.Sscanf(s.ETag, `"%x-%x"`, &v.Actor, &v.Counter); err != nil {
			t.Fatal(s.ETag, err)
		}
		v.HLC, _ = strconv.ParseUint(s.HLC, 10, 64)
		r.Values = append(r.Values, v)
	}
}

func readProblem(t *testing.T, r *wire.ClientReply, body []byte) {
	t.Helper()
	var p struct {
		Code, Detail, Outcome string
		Retryable             bool
		RetryAfterMS          int64 `json:"retry_after_ms"`
		Quorum                *struct {
			N, Need, Acks, Owners, Fallbacks uint32
			Failed                           []wire.ClientFailure
		}
		Owners []string
	}
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	r.Code, r.Detail, r.Retryable, r.RetryAfter, r.Owners = p.Code, p.Detail, p.Retryable, time.Duration(p.RetryAfterMS)*time.Millisecond, p.Owners
	r.Outcome = core.Outcome(max(0, slices.Index([]string{"", "not_applied", "applied", "unknown"}, p.Outcome)))
	if p.Quorum != nil {
		r.Quorum = true
		if len(p.Quorum.Failed) > 0 {
			r.Failed = p.Quorum.Failed
		}
		if q := p.Quorum; q.N != r.Receipt.N || q.Need != r.Receipt.Need || q.Acks != r.Receipt.Acks || q.Owners != r.Receipt.Owners || q.Fallbacks != r.Receipt.Fallbacks {
			t.Errorf("the receipt says %+v, the problem %+v", r.Receipt, *q)
		}
	}
}

// blur takes out what differs between two requests that are alike: ids always; of
// writes to two keys also versions and places.
func blur(r wire.ClientReply, twoKeys bool) wire.ClientReply {
	if r.RequestID != [16]byte{} {
		r.RequestID = [16]byte{1}
	}
	if c := &r.Receipt; r.Strong != (wire.ClientStrong{}) && c.Acks > c.Need { // who is not needed may be early
		c.Acks, c.Owners, c.Synced = c.Need, c.Need, min(c.Synced, c.Need)
	}
	if twoKeys {
		if r.Context != "" {
			r.Context = "one"
		}
		r.ETag, r.Epoch, r.Partition = 0, 0, 0
		r.Strong.Version, r.Strong.Applied = strong.Version{}, 0
		r.Values = slices.Clone(r.Values)
		for i := range r.Values {
			r.Values[i].Actor, r.Values[i].Counter, r.Values[i].HLC = 0, 0, 0
		}
	}
	if len(r.Value) == 0 {
		r.Value = nil
	}
	slices.SortFunc(r.Failed, func(a, b wire.ClientFailure) int { return strings.Compare(a.Node, b.Node) })
	return r
}

// oneCase is one request of the suite. Its key is given an end of its own for each way.
type oneCase struct {
	name   string
	before func(do way, key []byte) (context string) // prepares the key; its result goes where use says
	use    string                                    // "context", "after"
	q      wire.ClientRequest
	status uint16
	code   string
	// sameKey: the request changes nothing, so both ways ask for one key, and all
	// members are equal.
	sameKey bool
	// noDetail: the sentence names the thing as its way knows it.
	noDetail bool
	asIs     bool // the key is sent as it stands
	// pick finds a key that begins so; nil: one that the node owns.
	pick func(prefix string) []byte
}

// run asks through both ways.
func (c *oneCase) run(w *twoWays, n *bubbleNode) {
	w.t.Helper()
	ask := func(do way, end string) wire.ClientReply {
		q := c.q
		if q.Bucket == "" {
			q.Bucket = hashring.DefaultBucket
		}
		if !c.asIs {
			q.Key = c.key(n, end)
		}
		if c.before != nil {
			token := c.before(do, q.Key)
			switch c.use {
			case "context":
				q.Context = token
			case "after":
				q.ReadAfter = token
			case "none match":
				q.IfNoneMatch = token
			case "match":
				q.IfMatch = token
			}
		}
		return do(n, q)
	}
	var h, f wire.ClientReply
	if c.sameKey {
		var kept string
		before := c.before
		h = ask(w.byHTTP, "")
		if before != nil { // it has been prepared
			c.before = func(way, []byte) string { return kept }
			if c.use != "" {
				kept = before(w.byHTTP, c.key(n, ""))
				h = ask(w.byHTTP, "")
			}
		}
		f = ask(w.byFrames, "")
	} else {
		h, f = ask(w.byHTTP, ", HTTP"), ask(w.byFrames, ", frames")
	}
	if c.noDetail && h.Detail != "" && f.Detail != "" {
		h.Detail, f.Detail = "", ""
	}
	if c.q.Op == wire.ClientHead && h.Status >= 400 { // a HEAD has no body for the problem
		f = wire.ClientReply{Status: f.Status, Context: f.Context, Receipt: f.Receipt, RingVersion: f.RingVersion, HasPlace: f.HasPlace,
			Epoch: f.Epoch, Partition: f.Partition, ServedBy: f.ServedBy, RequestID: f.RequestID}
	}
	if h, f := blur(h, !c.sameKey), blur(f, !c.sameKey); !reflect.DeepEqual(h, f) {
		w.t.Errorf("%s:\n  HTTP   %+v\n  frames %+v", c.name, h, f)
	}
	if h.Status != c.status || h.Code != c.code && c.q.Op != wire.ClientHead {
		w.t.Errorf("%s: %d %q instead of %d %q: %+v", c.name, h.Status, h.Code, c.status, c.code, h)
	}
}

// key is the request's own key, with an end for each way.
func (c *oneCase) key(n *bubbleNode, end string) []byte {
	if c.pick != nil {
		return c.pick("case " + c.name + end)
	}
	return n.owned("case " + c.name + end)
}

// owned is a key that begins so and has this node as an owner, as far as it knows:
// then nobody else coordinates its writes.
func (n *bubbleNode) owned(prefix string) []byte {
	key := prefix
	for i := 0; n.node.ring.Load() != nil && n.node.ring.Load().HasRing() && !n.owns(key); i++ {
		key = fmt.Sprint(prefix, " ", i)
	}
	return []byte(key)
}

// wrote is a preparation: the key has a value; it gives the context.
func wrote(n *bubbleNode, values ...string) func(way, []byte) string {
	return func(do way, key []byte) string {
		var last wire.ClientReply
		for _, v := range values {
			last = do(n, wire.ClientRequest{Op: wire.ClientPut, Bucket: hashring.DefaultBucket, Key: key, Value: []byte(v), ContentType: "text/plain"})
		}
		return last.Context
	}
}

// forked is a preparation: count values that saw the same one before them.
func forked(n *bubbleNode, count int) func(way, []byte) string {
	return func(do way, key []byte) string {
		first := wrote(n, "first")(do, key)
		for i := range count {
			do(n, wire.ClientRequest{Op: wire.ClientPut, Bucket: hashring.DefaultBucket, Key: key, Value: fmt.Appendf(nil, "v%d", i), Context: first, ContentType: "text/plain"})
		}
		return first
	}
}

func TestBubbleBothWays(t *testing.T) {
	const put, get, head, del = wire.ClientPut, wire.ClientGet, wire.ClientHead, wire.ClientDelete
	type Q = wire.ClientRequest
	inTwoWays(t, 4, func(w *twoWays) {
		w.startAll()
		n := w.nodes[0]
		deleted := func(do way, key []byte) string {
			wrote(n, "v")(do, key)
			return do(n, Q{Op: del, Bucket: hashring.DefaultBucket, Key: key}).Context
		}
		etagOf := func(do way, key []byte) string {
			wrote(n, "v")(do, key)
			return api.ETag(do(n, Q{Op: get, Bucket: hashring.DefaultBucket, Key: key}).ETag)
		}
		later := func(do way, key []byte) string { // a context that nobody has reached
			c, err := version.ParseContext(wrote(n, "v")(do, key))
			if err != nil {
				w.t.Fatal(err)
			}
			c.Seen = slices.Clone(c.Seen)
			c.Seen[0].Counter += 1000
			return c.Token()
		}
		big := bytes.Repeat([]byte("0123456789"), 10<<10)
		for _, c := range []oneCase{
			{name: "put", q: Q{Op: put, Value: []byte("v")}, status: 204},
			{name: "put nothing", q: Q{Op: put}, status: 204},
			{name: "put with all", q: Q{Op: put, Value: []byte("v"), ContentType: "text/x", W: 3, PW: 1, Sloppy: core.No, TTL: time.Hour, Timeout: time.Second, IdempotencyKey: "1760000000000-a"}, status: 204},
			{name: "put at all", q: Q{Op: put, Value: []byte("v"), Consistency: "all"}, status: 204},
			{name: "put at one", q: Q{Op: put, Value: []byte("v"), Consistency: "one", Sloppy: core.Yes}, status: 204},
			{name: "put on a context", before: wrote(n, "v"), use: "context", q: Q{Op: put, Value: []byte("w")}, status: 204},
			{name: "put the largest", q: Q{Op: put, Value: big}, status: 204},
			{name: "delete", before: wrote(n, "v"), q: Q{Op: del}, status: 204},
			{name: "delete nothing", q: Q{Op: del}, status: 204},
			{name: "delete on a context", before: wrote(n, "v"), use: "context", q: Q{Op: del, W: 3}, status: 204},
			{name: "get", before: wrote(n, "v"), q: Q{Op: get}, status: 200, sameKey: true},
			{name: "get nothing", before: wrote(n, ""), q: Q{Op: get}, status: 200, sameKey: true},
			{name: "get the largest", before: wrote(n, string(big)), q: Q{Op: get}, status: 200, sameKey: true},
			{name: "get of all", before: wrote(n, "v"), q: Q{Op: get, R: 3}, status: 200, sameKey: true},
			{name: "get of a level", before: wrote(n, "v"), q: Q{Op: get, Consistency: "all", Sloppy: core.No}, status: 200, sameKey: true},
			{name: "get from owners", before: wrote(n, "v"), q: Q{Op: get, Sloppy: core.No, Timeout: time.Minute, RingVersion: 1}, status: 200, sameKey: true},
			{name: "head", before: wrote(n, "value"), q: Q{Op: head}, status: 200, sameKey: true},
			{name: "head nothing", q: Q{Op: head}, status: 404, sameKey: true},
			{name: "head siblings", before: forked(n, 2), q: Q{Op: head}, status: 300, sameKey: true},
			{name: "get siblings", before: forked(n, 3), q: Q{Op: get, R: 3}, status: 300, sameKey: true},
			{name: "get the newest", before: forked(n, 3), q: Q{Op: get, R: 3, Newest: true}, status: 200, sameKey: true},
			{name: "get what is known", before: etagOf, use: "none match", q: Q{Op: get, R: 3}, status: 304, sameKey: true},
			{name: "get what is not known", before: wrote(n, "v"), q: Q{Op: get, IfNoneMatch: `"0123456789abcdef"`}, status: 200, sameKey: true},
			{name: "get after", before: wrote(n, "v"), use: "after", q: Q{Op: get}, status: 200, sameKey: true},
			{name: "get after what nobody has", before: later, use: "after", q: Q{Op: get}, status: 503, code: "stale_replica", sameKey: true},
			{name: "get of nothing", q: Q{Op: get}, status: 404, code: "key_not_found", sameKey: true},
			{name: "get of the deleted", before: deleted, q: Q{Op: get, R: 3}, status: 404, code: "key_not_found", sameKey: true},
			{name: "sibling limit", before: forked(n, core.MaxSiblings), use: "context", q: Q{Op: put, Value: []byte("v"), W: 3}, status: 409, code: "sibling_limit", noDetail: true},

			{name: "no such bucket", q: Q{Op: get, Bucket: "none"}, status: 404, code: "bucket_not_found", sameKey: true},
			{name: "no bucket to write", q: Q{Op: put, Bucket: "none"}, status: 404, code: "bucket_not_found", sameKey: true},
			{name: "bad bucket", q: Q{Op: get, Bucket: "Upper"}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "key of 1024", q: Q{Op: get, Key: bytes.Repeat([]byte{0}, 1024)}, asIs: true, status: 404, code: "key_not_found", sameKey: true},
			{name: "key of 1025", q: Q{Op: put, Key: bytes.Repeat([]byte{0xff}, 1025)}, asIs: true, status: 414, code: "key_too_long", sameKey: true},
			{name: "no key", q: Q{Op: get}, asIs: true, status: 400, code: "invalid_argument", sameKey: true},
			{name: "value too large", q: Q{Op: put, Value: append(slices.Clone(big), 1)}, status: 413, code: "value_too_large", sameKey: true},
			{name: "type too long", q: Q{Op: put, ContentType: strings.Repeat("t", 257)}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "damaged context", q: Q{Op: put, Context: "AAAA"}, status: 400, code: "context_invalid", sameKey: true},
			{name: "damaged session", q: Q{Op: get, ReadAfter: "AAAA"}, status: 400, code: "context_invalid", sameKey: true},
			{name: "other key's context", q: Q{Op: put, Context: wrote(n, "v")(w.byHTTP, []byte("other"))}, status: 400, code: "context_invalid", sameKey: true},
			{name: "condition", q: Q{Op: put, IfNoneMatch: "*"}, status: 422, code: "conditional_needs_strong", sameKey: true},
			{name: "condition on a read", q: Q{Op: get, IfMatch: `"0"`}, status: 422, code: "conditional_needs_strong", sameKey: true},
			{name: "too many", q: Q{Op: put, W: 4}, status: 422, code: "quorum_impossible", sameKey: true},
			{name: "far too many", q: Q{Op: get, R: 1 << 20}, status: 422, code: "quorum_impossible", sameKey: true},
			{name: "too many owners", q: Q{Op: put, W: 2, PW: 4}, status: 422, code: "quorum_impossible", sameKey: true},
			{name: "unknown word", q: Q{Op: get, Consistency: "most"}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "strong word", q: Q{Op: get, Consistency: "leader"}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "word and number", q: Q{Op: put, Consistency: "all", W: 2}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "w of a read", q: Q{Op: get, W: 2}, status: 400, code: "unknown_parameter", sameKey: true, noDetail: true},
			{name: "r of a write", q: Q{Op: put, R: 2}, status: 400, code: "unknown_parameter", sameKey: true, noDetail: true},
			{name: "ttl of a delete", q: Q{Op: del, TTL: time.Hour}, status: 400, code: "unknown_parameter", sameKey: true, noDetail: true},
			{name: "ttl too short", q: Q{Op: put, TTL: time.Microsecond}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "ttl too long", q: Q{Op: put, TTL: 200 * 365 * 24 * time.Hour}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "timeout too long", q: Q{Op: get, Timeout: time.Hour}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "bad idempotency key", q: Q{Op: put, IdempotencyKey: "soon"}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "body of a delete", q: Q{Op: del, Value: []byte("v")}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "ring", q: Q{Op: wire.ClientRing}, asIs: true, status: 200, sameKey: true},
			{name: "ring that is known", q: Q{Op: wire.ClientRing, IfNoneMatch: fmt.Sprintf(`"%d"`, n.node.ring.Load().Version)}, asIs: true, status: 304, sameKey: true},
		} {
			c.run(w, n)
		}
		w.expiry(n)
		w.notOwner()
		w.idempotent(n)
	})
}

// expiry: what has run out is gone in both ways.
func (w *twoWays) expiry(n *bubbleNode) {
	w.t.Helper()
	gone := oneCase{name: "expired", q: wire.ClientRequest{Op: wire.ClientGet, R: 3}, status: 404, code: "key_not_found", sameKey: true,
		before: func(do way, key []byte) string {
			do(n, wire.ClientRequest{Op: wire.ClientPut, Bucket: hashring.DefaultBucket, Key: key, Value: []byte("v"), TTL: time.Second})
			time.Sleep(2 * time.Second)
			return ""
		}}
	gone.run(w, n)
}

// notOwner: a request for the owner alone, at a node that is none; without it both
// ways forward.
func (w *twoWays) notOwner() {
	w.t.Helper()
	for _, n := range w.nodes {
		key := []byte("far")
		if n.owns(string(key)) {
			continue
		}
		c := oneCase{name: "not owner", asIs: true, q: wire.ClientRequest{Op: wire.ClientPut, Key: key, OwnerOnly: true}, status: 421, code: "not_owner", sameKey: true}
		c.run(w, n)
		c = oneCase{name: "forwarded", asIs: true, q: wire.ClientRequest{Op: wire.ClientPut, Key: key, Value: []byte("v")}, status: 204}
		c.run(w, n)
		return
	}
	w.t.Error("everybody owns the key")
}

// idempotent: one key names one write, whichever way it comes.
func (w *twoWays) idempotent(n *bubbleNode) {
	w.t.Helper()
	q := wire.ClientRequest{Op: wire.ClientPut, Bucket: hashring.DefaultBucket, Key: []byte("again"), Value: []byte("v"), IdempotencyKey: "1760000000000-again"}
	res, _, err := w.send(n, httpRequest(w.t, n, q))
	if err != nil {
		w.t.Fatal(err)
	}
	if got, want := version.RequestID(w.byFrames(n, q).RequestID).String(), res.Header.Get("Quorate-Request-Id"); got != want {
		w.t.Errorf("request %s by HTTP, %s by frames", want, got)
	}
}

// What goes wrong around a request: nodes that are cut off, a full disk, a node
// without a ring, one that is being stopped.
func TestBubbleBothWaysInTrouble(t *testing.T) {
	const put, get = wire.ClientPut, wire.ClientGet
	type Q = wire.ClientRequest
	inTwoWays(t, 3, func(w *twoWays) {
		alone := w.nodes[0]
		alone.start()
		w.within(time.Second, "the ports are served", func() bool { status, _ := alone.ask("GET", "/livez", ""); return status == 200 })
		for _, c := range []oneCase{
			{name: "no ring", q: Q{Op: get}, status: 503, code: "starting", sameKey: true},
			{name: "no ring to write", q: Q{Op: put}, status: 503, code: "starting", sameKey: true},
			{name: "no ring to show", q: Q{Op: wire.ClientRing}, asIs: true, status: 503, code: "starting", sameKey: true},
		} {
			c.run(w, alone)
		}
		alone.stop()
		w.startAll()
		n := w.nodes[0]
		w.split(n)
		for _, c := range []oneCase{ // nobody knows yet: the deadline ends it
			{name: "write timeout", q: Q{Op: put, W: 3, Sloppy: core.No, Timeout: 200 * time.Millisecond}, status: 504, code: "write_quorum_timeout"},
			{name: "read timeout", q: Q{Op: get, R: 3, Sloppy: core.No, Timeout: 200 * time.Millisecond}, status: 504, code: "read_quorum_timeout", sameKey: true},
		} {
			time.Sleep(20 * time.Millisecond)
			c.run(w, n)
		}
		time.Sleep(30 * time.Second) // now it is known
		for _, c := range []oneCase{
			{name: "nobody to write", q: Q{Op: put, W: 3, Sloppy: core.No}, status: 503, code: "quorum_unavailable"},
			{name: "nobody to read", q: Q{Op: get, R: 2, Sloppy: core.No}, status: 503, code: "quorum_unavailable", sameKey: true},
		} {
			c.run(w, n)
		}
		w.net.heal()
		w.united(time.Minute)
		w.whole(30 * time.Second)
		for _, nd := range w.nodes {
			nd.node.testing.diskFull.Store(true)
		}
		time.Sleep(2 * time.Second)
		full := oneCase{name: "full disk", q: Q{Op: put, Value: []byte("v")}, status: 507, code: "insufficient_storage"}
		full.run(w, n)
		n.node.router.tell(core.Event{Drain: true})
		for _, c := range []oneCase{
			{name: "draining", q: Q{Op: get}, status: 503, code: "draining", sameKey: true},
			{name: "draining a write", q: Q{Op: put}, status: 503, code: "draining", sameKey: true},
		} {
			c.run(w, n)
		}
	})
}
