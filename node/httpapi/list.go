package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"github.com/quoratedb/quorate/hashring"
	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

const (
	defaultListLimit = 100
	// valuesPage is how many rows with values are asked for at a time: with values
	// at their hard cap a page then stays under 64 MiB.
	valuesPage = 16
	// valuesBytes ends a JSON page with values early, with a cursor to go on.
	valuesBytes = 4 << 20
)

// listRow is one key of a listing.
type listRow struct {
	Key         *string       `json:"key,omitempty"`   // where it is UTF-8
	Key64       string        `json:"key64,omitempty"` // base64url, else
	ETag        string        `json:"etag"`
	HLC         string        `json:"hlc,omitempty"`      // not of a strong bucket
	Siblings    int           `json:"siblings,omitempty"` // when above 1
	ContentType string        `json:"content_type,omitempty"`
	Value       []byte        `json:"value,omitzero"`   // of the only sibling
	Values      []siblingJSON `json:"values,omitempty"` // when there are several
}

// listPage is the JSON form of a page.
type listPage struct {
	Keys []listRow `json:"keys"`
	// Cursor goes on after this page; absent at the end.
	Cursor string `json:"cursor,omitempty"`
	// Complete is false when some partition could not be read.
	Complete bool `json:"complete"`
	// R labels the read: one replica of each partition was asked.
	R int `json:"r"`
}

// listEnd is the last line of a stream: a stream without it was cut.
type listEnd struct {
	End      bool     `json:"end"`
	Complete bool     `json:"complete"`
	Cursor   string   `json:"cursor,omitempty"`  // the client's limit was reached
	Problem  *problem `json:"problem,omitempty"` // why the stream ends early
}

// lister walks a bucket page by page.
type lister struct {
	c        *call
	req      core.Request
	bucket   *hashring.Bucket
	left     int // rows still wanted; below zero: all
	complete bool
	next     []byte // last key, nil at the end
}

func (c *call) list() {
	l, stream, f := c.newLister()
	if f != nil {
		c.fail(f)
		return
	}
	if stream {
		l.stream()
		return
	}
	page := listPage{Keys: []listRow{}, Complete: true, R: 1}
	for bytes := 0; l.left > 0 && bytes < valuesBytes; {
		rows, f := l.page()
		if f != nil {
			c.fail(f)
			return
		}
		for i := range rows {
			bytes += rows[i].size()
		}
		page.Keys = append(page.Keys, rows...)
		if l.next == nil {
			break
		}
	}
	page.Complete = l.complete
	if l.next != nil {
		page.Cursor = cursorText(l.bucket.ID, l.next)
	}
	l.label()
	c.json(http.StatusOK, page)
}

// label says what a listing of a strong bucket shows: what one replica of each
// partition has applied.
func (l *lister) label() {
	if l.bucket.Mode == hashring.Strong {
		l.c.w.Header()[hdrConsistency] = []string{rules.LevelName(core.LevelStale)}
	}
}

func (c *call) newLister() (l *lister, stream bool, f *fault) {
	l = &lister{c: c, left: defaultListLimit, complete: true}
	stream = accepts(c.h, typeNDJSON)
	if stream {
		l.left = -1
	}
	l.req = core.Request{Op: core.OpList}
	if l.req.Bucket, f = parseBucket(mux.Vars(c.r)["bucket"]); f != nil {
		return nil, false, f
	}
	if f = parseCommon(c.h, &l.req, &c.p); f != nil {
		return nil, false, f
	}
	l.req.OwnerOnly = false // no node owns a bucket; every node asks the others
	c.catchUp(c.p.ring)
	if l.bucket, _, f = c.find(l.req.Bucket); f != nil {
		return nil, false, f
	}
	if f = oneReplicaOnly(c.h, l.bucket.Mode); f != nil {
		return nil, false, f
	}
	return l, stream, l.parse(stream)
}

// oneReplicaOnly refuses what a listing cannot promise.
func oneReplicaOnly(h headers, mode hashring.Mode) *fault {
	word := "one"
	if mode == hashring.Strong {
		word = "stale"
	}
	if v := h.Values(hdrConsistency); len(v) > 0 && !(len(v) == 1 && v[0] == word) {
		return refuse(codeInvalidArgument, "a list reads one replica of each partition; consistency is "+word)
	}
	if len(h.Values(hdrReadAfter)) > 0 {
		return refuse(codeInvalidArgument, hdrReadAfter+" speaks of one key and cannot hold for a list")
	}
	return nil
}

func (l *lister) parse(stream bool) (f *fault) {
	q := &l.c.q
	if v, given := q.get(paramLimit); given {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || !stream && n > core.MaxListLimit {
			return refuse(codeInvalidArgument, "limit is a number from 1 to "+strconv.Itoa(core.MaxListLimit))
		}
		l.left = n
	}
	prefix, _ := q.get(paramPrefix)
	start, hasStart := q.get(paramStart)
	if len(prefix) > core.MaxKey || len(start) > core.MaxKey {
		return refuse(codeKeyTooLong, "prefix and start have at most "+strconv.Itoa(core.MaxKey)+" bytes")
	}
	l.req.List.Prefix = []byte(prefix)
	if hasStart {
		l.req.List.Start = []byte(start)
	}
	if v, given := q.get(paramCursor); given {
		if l.req.List.After, f = parseCursor(v, l.bucket.ID); f != nil {
			return f
		}
	}
	l.req.List.Values, f = q.boolean(paramValues)
	return f
}

// page asks the core for the next rows and moves on.
func (l *lister) page() ([]listRow, *fault) {
	want := core.MaxListLimit
	if l.req.List.Values {
		want = valuesPage
	}
	if l.left >= 0 {
		want = min(want, l.left)
	}
	req := l.req // a fresh one for each page: the core keeps what it is given
	req.ID = randomID()
	req.List.Limit = want
	rep := l.c.a.b.Do(l.c.ctx, &req)
	if f := fromReply(rep); f != nil {
		return nil, f
	}
	if rep.List == nil {
		return nil, refuse(codeInternal, "the listing came back without a page")
	}
	l.complete = l.complete && rep.List.Complete
	l.next = rep.List.Next
	l.req.List.After = l.next
	rows := make([]listRow, 0, len(rep.List.Rows))
	nowMS := l.c.a.Now().UnixMilli()
	for i := range rep.List.Rows {
		row, live, f := l.row(&rep.List.Rows[i], nowMS)
		if f != nil {
			return nil, f
		}
		if live {
			rows = append(rows, row)
		}
	}
	if l.left >= 0 {
		l.left = max(0, l.left-len(rows))
	}
	return rows, nil
}

// row shows one key; live is false when nothing of it is left to show.
func (l *lister) row(from *core.ListRow, nowMS int64) (row listRow, show bool, f *fault) {
	if l.bucket.Mode == hashring.Strong {
		return l.strongRow(from)
	}
	var room [1]*version.Sibling
	seen := live(from.Object, nowMS, &room)
	if len(seen) == 0 {
		return row, false, nil
	}
	row = listRow{ETag: etag(from.Object.Hash()), HLC: hlcText(seen[0].HLC), ContentType: seen[0].ContentType}
	row.Key, row.Key64 = keyJSON(from.Key)
	if len(seen) > 1 {
		row.Siblings = len(seen)
	}
	if !l.req.List.Values {
		return row, true, nil
	}
	for _, s := range seen {
		if checksum(s.Value) != s.Sum {
			return row, false, refuse(codeInternal, "a value of the page fails its checksum and is not shown")
		}
	}
	if len(seen) == 1 {
		row.Value = seen[0].Value
		if row.Value == nil {
			row.Value = []byte{}
		}
	} else {
		row.Values = siblingList(seen)
	}
	return row, true, nil
}

// strongRow shows one key of a strong bucket, as a replica has applied it.
func (l *lister) strongRow(from *core.ListRow) (row listRow, show bool, f *fault) {
	v := from.Strong
	if !v.Live() {
		return row, false, nil
	}
	row = listRow{ETag: rules.VersionETag(v.Version), ContentType: rules.StrongKind(v)}
	row.Key, row.Key64 = keyJSON(from.Key)
	if !l.req.List.Values {
		return row, true, nil
	}
	if !rules.Whole(v) {
		return row, false, refuse(codeInternal, "a value of the page fails its checksum and is not shown")
	}
	if row.Value = v.Data; row.Value == nil {
		row.Value = []byte{}
	}
	return row, true, nil
}

func (r *listRow) size() int {
	n := len(r.Value)
	for i := range r.Values {
		n += len(r.Values[i].Value)
	}
	return n
}

// keyJSON gives a key as text where it is UTF-8, else as base64url: JSON would
// change other bytes without a word.
func keyJSON(key []byte) (text *string, base64 string) {
	if utf8.Valid(key) {
		s := string(key)
		return &s, ""
	}
	return nil, base64Text(key)
}

// stream writes NDJSON to the end of the bucket. The status is out before the end
// is known, so the last line says how it went.
func (l *lister) stream() {
	c := l.c
	rows, f := l.page()
	if f != nil {
		c.fail(f)
		return
	}
	l.label()
	hdr := c.w.Header()
	hdr[hdrContentType] = valNDJSON
	hdr[hdrNosniff] = valNosniff
	h := c.headers()
	c.localHeaders(h)
	h.flush(hdr)
	c.w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(c.w)
	enc := json.NewEncoder(c.w)
	for {
		// A listing may take longer than one answer may: the clock starts again with
		// each page. Writers without deadlines (tests) have no such limit.
		_ = out.SetWriteDeadline(time.Now().Add(writeTimeout))
		for i := range rows {
			if enc.Encode(&rows[i]) != nil {
				return // the client is gone
			}
		}
		if l.next == nil || l.left == 0 {
			break
		}
		if out.Flush() != nil {
			return
		}
		if rows, f = l.page(); f != nil {
			break
		}
	}
	end := listEnd{End: true, Complete: l.complete && f == nil}
	if f != nil {
		c.code, end.Problem = f.code, c.problem(f)
	} else if l.next != nil {
		end.Cursor = cursorText(l.bucket.ID, l.next)
	}
	_ = enc.Encode(end)
}

// accepts tells whether the client asked for a media type by name.
func accepts(h headers, kind string) bool {
	for _, line := range h.Values(hdrAccept) {
		for item := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), kind) {
				return true
			}
		}
	}
	return false
}
