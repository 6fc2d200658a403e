package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// shelf answers listings like a core would, from keys in order.
func shelf(t testing.TB, b *fakeBackend, keys ...string) {
	slices.Sort(keys)
	b.reply = func(req *core.Request) *core.Reply {
		if req.Op != core.OpList || req.List.Limit < 1 || req.List.Limit > core.MaxListLimit {
			t.Errorf("request %+v", req)
		}
		page := &core.ListPage{Complete: true}
		for _, k := range keys {
			switch {
			case !strings.HasPrefix(k, string(req.List.Prefix)), k < string(req.List.Start), req.List.After != nil && k <= string(req.List.After):
				continue
			case len(page.Rows) == req.List.Limit:
				page.Next = page.Rows[len(page.Rows)-1].Key
				return &core.Reply{List: page, RingVersion: 60}
			}
			s := sibling(1, 4, 1000, "text/plain", "v-"+k)
			if !req.List.Values {
				s.Value = nil
			}
			page.Rows = append(page.Rows, core.ListRow{Key: []byte(k), Object: object(s)})
		}
		return &core.Reply{List: page, RingVersion: 60}
	}
}

func names(rows []listRow) (out []string) {
	for _, r := range rows {
		if r.Key != nil {
			out = append(out, *r.Key)
		} else {
			out = append(out, "64:"+r.Key64)
		}
	}
	return out
}

func TestListPages(t *testing.T) {
	r := newRig(t)
	var keys []string
	for i := range 250 {
		keys = append(keys, fmt.Sprintf("k%03d", i))
	}
	shelf(t, r.b, keys...)
	var got []string
	target := "/v1/kv/default"
	for pages := 0; ; pages++ {
		page := decodeInto[listPage](t, r.want(200, "", "GET", target, ""))
		if !page.Complete || page.R != 1 || page.Keys[0].ETag == "" || page.Keys[0].Value != nil {
			t.Errorf("page %+v", page)
		}
		got = append(got, names(page.Keys)...)
		if page.Cursor == "" {
			if pages != 2 {
				t.Errorf("%d pages", pages+1)
			}
			break
		}
		target = "/v1/kv/default?cursor=" + page.Cursor
	}
	if !slices.Equal(got, keys) {
		t.Errorf("got %d keys", len(got))
	}
	page := decodeInto[listPage](t, r.want(200, "", "GET", "/v1/kv/default?prefix=k1&start=k11&limit=3&values=true", ""))
	if fmt.Sprint(names(page.Keys)) != "[k110 k111 k112]" || string(page.Keys[0].Value) != "v-k110" || page.Keys[0].ContentType != "text/plain" {
		t.Errorf("%+v", page)
	}
	// A cursor belongs to its bucket.
	r.want(400, "invalid_argument", "GET", "/v1/kv/fixed?cursor="+page.Cursor, "")
}

func TestListShowsOnlyWhatIsLive(t *testing.T) {
	r := newRig(t)
	grave := sibling(1, 1, 1, "", "")
	grave.Tombstone = true
	r.b.answer(&core.Reply{List: &core.ListPage{Rows: []core.ListRow{
		{Key: []byte("a"), Object: object(grave)},
		{Key: []byte("b\xff"), Object: object(sibling(1, 2, 2, "t/1", "x"), sibling(2, 2, 3, "t/2", ""))},
		{Key: []byte("c"), Object: object(sibling(1, 3, 3, "", ""))},
	}, Complete: false}})
	page := decodeInto[listPage](t, r.want(200, "", "GET", "/v1/kv/default?values", ""))
	if page.Complete || len(page.Keys) != 2 {
		t.Fatalf("%+v", page)
	}
	b, c := page.Keys[0], page.Keys[1]
	if b.Key != nil || b.Key64 != "Yv8" || b.Siblings != 2 || len(b.Values) != 2 || b.Values[0].ContentType != "t/2" {
		t.Errorf("%+v", b)
	}
	if *c.Key != "c" || c.Value == nil || len(c.Value) != 0 {
		t.Errorf("an empty value is a value: %+v", c)
	}
}

func lines(t testing.TB, a *answer) (rows []listRow, end listEnd) {
	t.Helper()
	for d := json.NewDecoder(bytes.NewReader(a.body)); ; {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return rows, end
		} else if err != nil {
			t.Fatal(err)
		}
		if end.End {
			t.Fatal("something after the end")
		}
		if bytes.Contains(raw, []byte(`"end"`)) {
			if err := json.Unmarshal(raw, &end); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var row listRow
		if err := json.Unmarshal(raw, &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
}

func TestListStream(t *testing.T) {
	r := newRig(t)
	var keys []string
	for i := range 2500 {
		keys = append(keys, fmt.Sprintf("k%04d", i))
	}
	shelf(t, r.b, keys...)
	const accept = "Accept: application/x-ndjson"
	a := r.want(200, "", "GET", "/v1/kv/default", "", accept)
	rows, end := lines(t, a)
	if !slices.Equal(names(rows), keys) || !end.End || !end.Complete || end.Cursor != "" || a.Header.Get("Content-Type") != typeNDJSON {
		t.Errorf("%d rows, end %+v", len(rows), end)
	}
	if len(r.b.requests()) != 3 {
		t.Errorf("%d requests for 2,500 keys", len(r.b.requests()))
	}
	rows, end = lines(t, r.want(200, "", "GET", "/v1/kv/default?limit=1500&values=true", "", accept))
	if len(rows) != 1500 || end.Cursor == "" || string(rows[1499].Value) != "v-k1499" {
		t.Errorf("%d rows, end %+v", len(rows), end)
	}
	rows, end = lines(t, r.want(200, "", "GET", "/v1/kv/default?cursor="+url.QueryEscape(end.Cursor), "", accept))
	if len(rows) != 1000 || !end.Complete {
		t.Errorf("%d rows, end %+v", len(rows), end)
	}
}

// A stream that cannot go on says so in its last line.
func TestListStreamThatFails(t *testing.T) {
	r := newRig(t)
	first := true
	r.b.reply = func(*core.Request) *core.Reply {
		if !first {
			return failure(core.QuorumUnavailable, false)
		}
		first = false
		return &core.Reply{List: &core.ListPage{Rows: []core.ListRow{{Key: []byte("a"), Object: object(sibling(1, 1, 1, "", ""))}}, Next: []byte("a"), Complete: true}}
	}
	rows, end := lines(t, r.want(200, "", "GET", "/v1/kv/default", "", "Accept: text/plain, application/x-ndjson;q=0.9"))
	if len(rows) != 1 || !end.End || end.Complete || end.Problem == nil || end.Problem.Code != "quorum_unavailable" {
		t.Errorf("%+v", end)
	}
	r.b.answer(failure(core.QuorumUnavailable, false))
	r.want(503, "quorum_unavailable", "GET", "/v1/kv/default", "", "Accept: application/x-ndjson")
	r.want(503, "quorum_unavailable", "GET", "/v1/kv/default", "")
}

// A page with values is assembled from small ones and ends early at its budget.
func TestListValuesAreBounded(t *testing.T) {
	r := newRig(t)
	big := strings.Repeat("x", 300<<10)
	n := 0
	r.b.reply = func(req *core.Request) *core.Reply {
		page := &core.ListPage{Complete: true}
		for range req.List.Limit {
			n++
			page.Rows = append(page.Rows, core.ListRow{Key: fmt.Appendf(nil, "k%05d", n), Object: object(sibling(1, uint64(n), 1, "", big))})
		}
		page.Next = page.Rows[len(page.Rows)-1].Key
		return &core.Reply{List: page}
	}
	page := decodeInto[listPage](t, r.raw("GET", "/v1/kv/default?values=true&limit=1000", ""))
	if len(page.Keys) != valuesPage || page.Cursor == "" {
		t.Errorf("%d keys with 300 KiB each", len(page.Keys))
	}
}

func TestMultiGet(t *testing.T) {
	r := newRig(t)
	r.b.reply = func(req *core.Request) *core.Reply {
		switch string(req.Key) {
		case "one", "\xff":
			return okReply(object(sibling(1, 1, 1, "text/plain", "v-"+string(req.Key))))
		case "two":
			return okReply(object(sibling(1, 1, 1, "", "a"), sibling(2, 1, 2, "", "b")))
		case "late":
			return failure(core.ReadTimeout, false)
		}
		return okReply(nil)
	}
	a := r.want(200, "", "POST", "/v1/kv/default:get", `{"keys":["one","none","two","late",""],"keys64":["_w"]}`, "Quorate-Timeout: 5s", "Quorate-Consistency: all")
	got := decodeInto[batchReply](t, a).Results
	var status []int
	for _, x := range got {
		status = append(status, x.Status)
	}
	if fmt.Sprint(status) != "[200 404 300 504 400 200]" {
		t.Fatalf("%v", status)
	}
	if *got[0].Key != "one" || string(got[0].Value) != "v-one" || got[0].ContentType != "text/plain" || got[0].ETag == "" || got[0].Context == "" || got[0].Receipt == "" {
		t.Errorf("%+v", got[0])
	}
	if got[1].Problem.Code != "key_not_found" || len(got[2].Siblings) != 2 || got[2].Context == "" || got[3].Problem.Quorum == nil || got[5].Key64 != "_w" || string(got[5].Value) != "v-\xff" {
		t.Errorf("%+v", got)
	}
	if req := r.b.last(t); req.R != core.All || req.Timeout <= 0 || req.Timeout.Seconds() > 5 {
		t.Errorf("%+v", req)
	}
	a = r.want(200, "", "POST", "/v1/kv/default%3Aget?resolve=newest", `{"keys":["two"]}`)
	if x := decodeInto[batchReply](t, a).Results[0]; x.Status != 200 || string(x.Value) != "b" || x.Count != 2 {
		t.Errorf("%+v", x)
	}
}

func TestBatch(t *testing.T) {
	r := newRig(t)
	token := version.Context{Bucket: 1, KeyHash: 2, Seen: version.Vector{{Actor: 1, Counter: 1}}}.Token()
	r.b.reply = func(req *core.Request) *core.Reply {
		rep := okReply(object(sibling(1, 1, 1, "", "")))
		if string(req.Key) == "late" {
			rep = failure(core.WriteTimeout, true)
		}
		return rep
	}
	body := `{"operations":[
		{"op":"put","key":"a","value":"aGk=","content_type":"text/plain","ttl_ms":5000,"context":"` + token + `"},
		{"op":"delete","key64":"Yg"},
		{"op":"put","key":"late","value":""},
		{"op":"put","key":"c"},
		{"op":"incr","key":"c"},
		{"op":"put","key":"c","value":"?"},
		{"op":"put","key":"c","value":"","context":"x"},
		{"op":"delete","key":"c","value":""},
		{"op":"put","key":"c","key64":"Yw","value":""},
		{"op":"put","value":""},
		{"op":"put","key":"\ud800","value":""},
		{"op":"put","key":"c","value":"","ttl_ms":-1},
		{"op":"put","key":"c","value":"","content_type":"a\nb"}
	]}`
	a := r.raw("POST", "/v1/kv/default:batch?w=2&pw=1", body, "Idempotency-Key: 1760000000000-b")
	got := decodeInto[batchReply](t, a).Results
	want := []int{204, 204, 504, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400}
	for i, x := range got {
		if x.Status != want[i] || (x.Status >= 400) != (x.Problem != nil) {
			t.Errorf("operation %d: %+v", i, x)
		}
	}
	if got[0].ETag == "" || got[0].Context == "" || got[2].Problem.Outcome != "unknown" || got[6].Problem.Code != "context_invalid" || got[3].Problem.Outcome != "not_applied" {
		t.Errorf("%+v", got)
	}
	seen := map[string]core.Request{}
	for _, req := range r.b.requests() {
		seen[string(req.Key)] = req
	}
	if len(seen) != 3 {
		t.Fatalf("%d requests reached the backend", len(seen))
	}
	put, del := seen["a"], seen["b"]
	if put.Op != core.OpPut || string(put.Value) != "hi" || put.Sum != checksum([]byte("hi")) || put.TTL.Seconds() != 5 || !put.HasContext || put.W != 2 || put.PW != 1 || put.ContentType != "text/plain" {
		t.Errorf("%+v", put)
	}
	if del.Op != core.OpDelete || del.ID == put.ID || del.HasContext {
		t.Errorf("%+v", del)
	}
	first := put.ID
	r.raw("POST", "/v1/kv/default:batch?w=2&pw=1", body, "Idempotency-Key: 1760000000000-b")
	for _, req := range r.b.requests() {
		if string(req.Key) == "a" && req.ID != first {
			t.Error("a retried operation has another id")
		}
	}
}

func TestBatchRefusals(t *testing.T) {
	r := newRig(t)
	many := strings.TrimSuffix(strings.Repeat(`"k",`, MaxBatch+1), ",")
	for _, c := range []struct {
		status             int
		code, target, body string
		headers            []string
	}{
		{400, "invalid_argument", ":get", `{"keys":[]}`, nil},
		{400, "invalid_argument", ":get", `{}`, nil},
		{400, "invalid_argument", ":get", `{"keys":[` + many + `]}`, nil},
		{400, "invalid_argument", ":get", `{"keys":"a"}`, nil},
		{400, "invalid_argument", ":get", `{"key":["a"]}`, nil},
		{400, "invalid_argument", ":get", `{"keys":["a"]} {}`, nil},
		{400, "invalid_argument", ":get", `{"keys":["a"`, nil},
		{400, "invalid_argument", ":get", "{\"keys\":[\"\xff\"]}", nil},
		{400, "invalid_argument", ":get", ``, nil},
		{400, "invalid_argument", ":get", `{"keys":["a"]}`, []string{"Quorate-Read-After: x"}},
		{400, "invalid_argument", ":get", `{"keys":["a"]}`, []string{"If-None-Match: *"}},
		{422, "conditional_needs_strong", ":get", `{"keys":["a"]}`, []string{"If-Match: *"}},
		{415, "unsupported_media", ":get", `{"keys":["a"]}`, []string{"Content-Type: text/plain"}},
		{415, "unsupported_media", ":get", `{"keys":["a"]}`, []string{"Content-Encoding: gzip"}},
		{400, "invalid_argument", ":batch", `{"operations":[]}`, nil},
		{400, "invalid_argument", ":batch", `{"operations":[{"op":"put","key":"a","value":"","if":"x"}]}`, nil},
		{400, "invalid_argument", ":batch", `{"operations":[{"op":"delete","key":"a"}]}`, []string{"Quorate-Context: x"}},
	} {
		r.want(c.status, c.code, "POST", "/v1/kv/default"+c.target, c.body, c.headers...)
	}
	r.want(404, "bucket_not_found", "POST", "/v1/kv/none:get", `{"keys":["a"]}`)
	r.want(400, "invalid_argument", "POST", "/v1/kv/UP:get", `{"keys":["a"]}`)
	// What curl -d sends of itself is taken.
	if a := r.raw("POST", "/v1/kv/default:get", `{"keys":["a"]}`, "Content-Type: application/x-www-form-urlencoded"); a.StatusCode != 200 {
		t.Errorf("curl -d: %d", a.StatusCode)
	}
}

// Concurrency is bounded, and a deadline that passes leaves the rest undone.
func TestBatchBounds(t *testing.T) {
	r := newRig(t)
	keys := make([]string, MaxBatch)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%d", i)
	}
	in, gate := make(chan struct{}, MaxBatch), make(chan struct{})
	r.b.reply = func(*core.Request) *core.Reply {
		in <- struct{}{}
		<-gate
		return okReply(object(sibling(1, 1, 1, "", "v")))
	}
	done := make(chan *answer)
	go func() {
		done <- r.raw("POST", "/v1/kv/default:get", r.json(multiGetBody{Keys: keys, Keys64: []string{}}), "Quorate-Timeout: 60s")
	}()
	for range batchWidth {
		<-in
	}
	select {
	case <-in:
		t.Error("more at a time than batchWidth")
	default:
	}
	close(gate)
	a := <-done
	for i, x := range decodeInto[batchReply](t, a).Results {
		if x.Status != 200 || *x.Key != keys[i] {
			t.Fatalf("result %d: %+v", i, x)
		}
	}
}

// What the batch's deadline leaves no time for is not begun, and says so.
func TestBatchDeadline(t *testing.T) {
	var now atomic.Int64
	r := newRig(t, func(o *Options) { o.Now = func() time.Time { return time.UnixMilli(now.Load()) } })
	r.b.reply = func(*core.Request) *core.Reply {
		now.Add(100) // each operation takes its share of the clock
		return okReply(object(sibling(1, 1, 1, "", "")))
	}
	var body batchBody
	for range 200 {
		key, value := "k", ""
		body.Operations = append(body.Operations, batchOperation{Op: "put", Key: &key, Value: &value})
	}
	done, late := 0, 0
	for _, x := range decodeInto[batchReply](t, r.raw("POST", "/v1/kv/default:batch", r.json(body), "Quorate-Timeout: 1s")).Results {
		switch {
		case x.Status == 204:
			done++
		case x.Status == 503 && x.Problem.Code == "overloaded" && x.Problem.Outcome == "not_applied":
			late++
		default:
			t.Errorf("%+v", x)
		}
	}
	if done != len(r.b.requests()) || done < 10 || done > 10+batchWidth || done+late != 200 {
		t.Errorf("%d done, %d late", done, late)
	}
}
