package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongState is testState with stores that speak every level, and a strong bucket.
func strongState(t testing.TB) *hashring.State {
	t.Helper()
	s := testState(t)
	s = withFeature(t, s, 4)
	s, err := s.Apply(s.Version+1, hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: "s", Mode: hashring.Strong}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// withFeature has all stores speak a level, and takes the cluster there.
func withFeature(t testing.TB, s *hashring.State, level uint16) *hashring.State {
	t.Helper()
	next := *s
	next.Stores = slices.Clone(s.Stores)
	for i := range next.Stores {
		next.Stores[i].FeatureMax = level
	}
	s, err := next.Apply(next.Version+1, hashring.Command{Kind: hashring.KindSetFeature, SetFeature: &hashring.SetFeature{Feature: level}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newStrongRig(t testing.TB) *rig {
	r := newRig(t)
	r.b.ring = hashring.NewRing(strongState(t))
	return r
}

func strongVersion(i uint64) strong.Version {
	return strong.Version{Incarnation: 1, Epoch: 7, Index: i}
}

// strongReply is what the core says of a request on a strong bucket that was done.
func strongReply(s *core.StrongReply) *core.Reply {
	return &core.Reply{Code: core.OK, Strong: s, Receipt: quorum.Receipt{N: 3, Need: 2, Acks: 2, Owners: 2, Synced: 2},
		RingVersion: 60, Epoch: 7, Partition: 5, ServedBy: testSID(2)}
}

// held is a reply to a read.
func held(index uint64, value string) *core.Reply {
	v := &strong.Value{Version: strongVersion(index), Data: []byte(value), ContentType: "text/plain", Sum: checksum([]byte(value))}
	return strongReply(&core.StrongReply{Version: v.Version, Value: v, Level: core.LevelLeader, Applied: index})
}

func TestStrongWrites(t *testing.T) {
	r := newStrongRig(t)
	r.b.answer(strongReply(&core.StrongReply{Version: strongVersion(9)}))
	a := r.want(204, "", "PUT", "/v1/kv/s/k", "v")
	if a.Header.Get("ETag") != `"1.7.9"` || a.Header.Get("Quorate-Context") != "" || a.Header.Get("Quorate-Consistency") != "" ||
		a.Header.Get("Quorate-Receipt") != "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2" || a.Header.Get("Quorate-Epoch") != "7" {
		t.Errorf("%v", a.Header)
	}
	got := r.b.last(t)
	if got.Op != core.OpPut || string(got.Value) != "v" || got.Sum != checksum([]byte("v")) || !got.StrongID.IsZero() || got.If.IfNoneMatch || got.HasContext {
		t.Errorf("%+v", got)
	}
	never := strong.Version{Incarnation: 1<<64 - 1, Epoch: 1<<64 - 1, Index: 1<<64 - 1}
	for _, c := range []struct {
		header string
		want   strong.Condition
		status int
	}{
		{"If-None-Match: *", strong.Condition{IfNoneMatch: true}, 201},
		{"If-Match: *", strong.Condition{IfPresent: true}, 204},
		{`If-Match: "1.7.3"`, strong.Condition{IfMatch: strongVersion(3)}, 204},
		{`If-Match: "1.7.3", "x,y" ,W/"1.7.4","1.7.5"`, strong.Condition{IfMatch: strongVersion(3), Or: []strong.Version{strongVersion(5)}}, 204},
		{`If-Match: W/"1.7.3"`, strong.Condition{IfMatch: never}, 204}, // weak tags match nothing, and the core finds that
		{`If-Match: "0123456789abcdef"`, strong.Condition{IfMatch: never}, 204},
		{`If-Match: "1.07.3"`, strong.Condition{IfMatch: never}, 204},
		{`If-Match: "0.0.0"`, strong.Condition{IfMatch: never}, 204},
		{`If-Match: ""`, strong.Condition{IfMatch: never}, 204},
	} {
		for _, method := range []string{"PUT", "DELETE"} {
			status := c.status
			if method == "DELETE" {
				status = 204
			}
			r.want(status, "", method, "/v1/kv/s/k", "", c.header)
			if got := r.b.last(t).If; fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s %s: %v, want %v", method, c.header, got, c.want)
			}
		}
	}
	r.want(204, "", "PUT", "/v1/kv/s/k", "v", "Idempotency-Key: 1700000000000-abc")
	first := r.b.last(t).StrongID
	r.want(204, "", "PUT", "/v1/kv/s/k", "w", "Idempotency-Key: 1700000000000-abc")
	r.want(204, "", "DELETE", "/v1/kv/s/k", "", "Idempotency-Key: 1700000000000-abd")
	ids := r.b.requests()
	if first.StampMS != 1700000000000 || ids[len(ids)-2].StrongID != first || ids[len(ids)-1].StrongID == first {
		t.Errorf("%+v", first)
	}
}

func TestStrongRefusals(t *testing.T) {
	r := newStrongRig(t)
	many := strings.Repeat(`"1.1.1",`, strong.MaxMatches+1)
	for _, c := range []struct {
		status       int
		code, method string
		query        string
		headers      []string
	}{
		{400, "invalid_argument", "GET", "?r=1", nil},
		{400, "invalid_argument", "GET", "?sloppy=false", nil},
		{400, "invalid_argument", "PUT", "?w=1", nil},
		{400, "invalid_argument", "PUT", "?pw=1", nil},
		{400, "invalid_argument", "PUT", "?sloppy=true", nil},
		{400, "invalid_argument", "PUT", "?consistency=quorum", nil},
		{400, "invalid_argument", "PUT", "", []string{"Quorate-Consistency: leader"}},
		{400, "invalid_argument", "DELETE", "?w=2", nil},
		{422, "not_supported", "PUT", "?ttl=1m", nil},
		{400, "invalid_argument", "GET", "?consistency=one", nil},
		{400, "invalid_argument", "GET", "?consistency=all", nil},
		{400, "invalid_argument", "GET", "?consistency=", nil},
		{400, "invalid_argument", "GET", "?consistency=Leader", nil},
		{400, "invalid_argument", "GET", "?resolve=oldest", nil},
		{400, "invalid_argument", "GET", "", []string{"Quorate-Consistency: one"}},
		{400, "unknown_parameter", "GET", "?w=1", nil},
		{400, "context_invalid", "GET", "", []string{"Quorate-Read-After: AA"}},
		{400, "context_invalid", "PUT", "", []string{"Quorate-Context: AA"}},
		{400, "context_invalid", "DELETE", "", []string{"Quorate-Context: AA"}},
		{400, "invalid_argument", "PUT", "", []string{`If-Match: "1.1.1"`, "If-None-Match: *"}},
		{400, "invalid_argument", "PUT", "", []string{"If-Match: 1.1.1"}},
		{400, "invalid_argument", "PUT", "", []string{`If-Match: "1.1.1`}},
		{400, "invalid_argument", "PUT", "", []string{`If-Match: "1.1.1" "1.1.2"`}},
		{400, "invalid_argument", "PUT", "", []string{`If-Match: *, "1.1.1"`}},
		{400, "invalid_argument", "PUT", "", []string{"If-Match: " + many}},
		{400, "invalid_argument", "PUT", "", []string{"If-Match: "}},
		{400, "invalid_argument", "PUT", "", []string{"If-None-Match: ,"}},
		{400, "invalid_argument", "PUT", "", []string{`If-None-Match: "1.1.1"`}},
		{400, "invalid_argument", "PUT", "", []string{"Idempotency-Key: abc"}},
	} {
		r.want(c.status, c.code, c.method, "/v1/kv/s/k"+c.query, "", c.headers...)
	}
	if got := r.b.requests(); len(got) != 0 {
		t.Errorf("%d requests reached the backend: %+v", len(got), got[0])
	}
	// An eventual bucket says what it has always said.
	for _, word := range []string{"leader", "lease", "replica", "stale"} {
		r.want(400, "invalid_argument", "GET", "/keys/k?consistency="+word, "")
	}
	r.want(422, "conditional_needs_strong", "PUT", "/keys/k", "", "If-Match: *")
}

func TestStrongReads(t *testing.T) {
	r := newStrongRig(t)
	r.b.answer(held(9, "hello"))
	for word, level := range map[string]core.Level{"": core.LevelDefault, "leader": core.LevelLeader, "quorum": core.LevelQuorum,
		"replica": core.LevelReplica, "stale": core.LevelStale, "lease": core.LevelLease} {
		target := "/v1/kv/s/k?resolve=newest"
		if word != "" {
			target += "&consistency=" + word
		}
		r.want(200, "", "GET", target, "", "Quorate-Consistency: quorum")
		got := r.b.last(t)
		if word == "" {
			level = core.LevelQuorum // the header's
		}
		if got.Op != core.OpGet || got.Level != level {
			t.Errorf("%s: %+v", word, got)
		}
	}
	a := r.want(200, "", "GET", "/v1/kv/s/k", "")
	if string(a.body) != "hello" || a.Header.Get("ETag") != `"1.7.9"` || a.Header.Get("Content-Type") != "text/plain" ||
		a.Header.Get("Quorate-Consistency") != "leader" || a.Header.Get("Quorate-Stale") != "" || a.Header.Get("Quorate-Receipt") == "" {
		t.Errorf("%s %v", a.body, a.Header)
	}
	a = r.want(200, "", "HEAD", "/v1/kv/s/k", "")
	if a.Header.Get("Content-Length") != "5" || a.Header.Get("ETag") != `"1.7.9"` {
		t.Errorf("%v", a.Header)
	}
	rep := held(9, "hello")
	rep.Strong.Level = core.LevelLease
	r.b.answer(rep)
	if a = r.want(200, "", "GET", "/v1/kv/s/k?consistency=lease", ""); a.Header.Get("Quorate-Consistency") != "lease" {
		t.Errorf("%v", a.Header)
	}
	rep = held(9, "hello")
	rep.Strong.Level, rep.Strong.Applied = core.LevelStale, 12
	r.b.answer(rep)
	a = r.want(200, "", "GET", "/v1/kv/s/k?consistency=stale", "")
	if a.Header.Get("Quorate-Consistency") != "stale" || a.Header.Get("Quorate-Stale") != "applied=12" {
		t.Errorf("%v", a.Header)
	}
	for _, known := range []string{`"1.7.9"`, `W/"1.7.9"`, `"x", "1.7.9"`, "*"} {
		a = r.want(304, "", "GET", "/v1/kv/s/k", "", "If-None-Match: "+known)
		if len(a.body) != 0 || a.Header.Get("ETag") != `"1.7.9"` {
			t.Errorf("%s: %v", known, a.Header)
		}
		r.want(304, "", "HEAD", "/v1/kv/s/k", "", "If-None-Match: "+known)
	}
	r.want(200, "", "GET", "/v1/kv/s/k", "", `If-None-Match: "1.7.8"`)
	r.want(200, "", "GET", "/v1/kv/s/k", "", `If-Match: "1.7.8", "1.7.9"`)
	a = r.want(412, "precondition_failed", "GET", "/v1/kv/s/k", "", `If-Match: "1.7.8"`)
	if a.Header.Get("ETag") != `"1.7.9"` || a.problem(t).ETag != `"1.7.9"` {
		t.Errorf("%v %s", a.Header, a.body)
	}
	rep = held(9, "hello")
	rep.Strong.Value.Sum++
	r.b.answer(rep)
	r.want(500, "internal", "GET", "/v1/kv/s/k", "")
}

// Nothing there, and a deletion: the same to a reader.
func TestStrongAbsence(t *testing.T) {
	r := newStrongRig(t)
	gone := &strong.Value{Version: strongVersion(9), Tombstone: true}
	for _, rep := range []*core.Reply{
		strongReply(&core.StrongReply{Level: core.LevelStale, Applied: 12}),
		strongReply(&core.StrongReply{Level: core.LevelStale, Applied: 12, Value: gone, Version: gone.Version}),
		{Code: core.KeyNotFound, Strong: &core.StrongReply{Level: core.LevelStale, Applied: 12}, RingVersion: 60, ServedBy: testSID(2)},
	} {
		r.b.answer(rep)
		a := r.want(404, "key_not_found", "GET", "/v1/kv/s/k", "")
		if a.Header.Get("ETag") != "" || a.Header.Get("Quorate-Stale") != "applied=12" || a.Header.Get("Quorate-Context") != "" {
			t.Errorf("%v", a.Header)
		}
		r.want(404, "key_not_found", "GET", "/v1/counter/s/k", "")
		r.want(412, "precondition_failed", "GET", "/v1/kv/s/k", "", "If-Match: *")
	}
}

// Every verdict of the core on a strong bucket as a client sees it.
func TestStrongFates(t *testing.T) {
	r := newStrongRig(t)
	for _, c := range []struct {
		code    core.Code
		name    string
		status  int
		outcome string
	}{
		{core.PreconditionFailed, "precondition_failed", 412, "not_applied"},
		{core.Conflict, "conflict", 409, "not_applied"},
		{core.IdempotencyExpired, "idempotency_expired", 409, "unknown"},
		{core.IdempotencyMismatch, "idempotency_mismatch", 422, "not_applied"},
		{core.Contention, "hot_key_throttled", 429, "not_applied"},
		{core.PrimaryUnavailable, "primary_unavailable", 503, "not_applied"},
		{core.PrimaryChanged, "primary_changed", 503, "unknown"},
		{core.WriteTimeout, "write_quorum_timeout", 504, "unknown"},
	} {
		rep := failure(c.code, true)
		rep.Strong = &core.StrongReply{Version: strongVersion(9)}
		r.b.answer(rep)
		for _, call := range [][3]string{{"PUT", "/v1/kv/s/k", "v"}, {"DELETE", "/v1/kv/s/k", ""}, {"POST", "/v1/counter/s/k", `{"delta":1}`}} {
			a := r.want(c.status, c.name, call[0], call[1], call[2])
			p := a.problem(t)
			if p.Outcome != c.outcome {
				t.Errorf("%s: outcome %s", c.name, p.Outcome)
			}
			if has := c.code == core.PreconditionFailed; (a.Header.Get("ETag") == `"1.7.9"`) != has || (p.ETag == `"1.7.9"`) != has {
				t.Errorf("%s: ETag %q, %q", c.name, a.Header.Get("ETag"), p.ETag)
			}
			if c.status == 429 && a.Header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", c.name)
			}
		}
	}
	// Where the key holds nothing there is no ETag to carry.
	rep := failure(core.PreconditionFailed, true)
	rep.Strong = &core.StrongReply{}
	r.b.answer(rep)
	if a := r.want(412, "precondition_failed", "PUT", "/v1/kv/s/k", "v", `If-Match: "1.1.1"`); a.Header["Etag"] != nil || a.problem(t).ETag != "" {
		t.Errorf("%v", a.Header)
	}
	rep = failure(core.NotOwner, true)
	r.b.answer(rep)
	p := r.want(421, "not_owner", "PUT", "/v1/kv/s/k", "v", "Quorate-Route: owner").problem(t)
	if fmt.Sprint(p.Owners) != "[n3 n1]" || !r.b.last(t).OwnerOnly {
		t.Errorf("%v", p.Owners)
	}
}

func TestCounters(t *testing.T) {
	r := newStrongRig(t)
	r.b.answer(strongReply(&core.StrongReply{Version: strongVersion(9), Count: -3}))
	a := r.want(200, "", "POST", "/v1/counter/s/a/b", `{"delta":-5}`, "Idempotency-Key: 1700000000000-abc", `If-Match: "1.7.8"`)
	if got := decodeInto[counterJSON](t, a); got.Value != -3 || a.Header.Get("ETag") != `"1.7.9"` || a.Header.Get("Quorate-Receipt") == "" {
		t.Errorf("%s %v", a.body, a.Header)
	}
	got := r.b.last(t)
	if got.Op != core.OpIncrement || got.Delta != -5 || string(got.Key) != "a/b" || got.StrongID.StampMS != 1700000000000 || got.If.IfMatch != strongVersion(8) {
		t.Errorf("%+v", got)
	}
	r.want(200, "", "POST", "/v1/counter/s/?key64=YQ", `{"delta":9223372036854775807}`)
	if got := r.b.last(t); got.Delta != 1<<63-1 || string(got.Key) != "a" {
		t.Errorf("%+v", got)
	}
	before := len(r.b.requests())
	for _, body := range []string{`{}`, `{"delta":1.5}`, `{"delta":"1"}`, `{"delta":9223372036854775808}`, `{"delta":1,"by":2}`, `[]`} {
		r.want(400, "invalid_argument", "POST", "/v1/counter/s/k", body)
	}
	r.want(400, "unknown_parameter", "POST", "/v1/counter/s/k?w=2", `{"delta":1}`)
	r.want(400, "invalid_argument", "POST", "/v1/counter/s/", `{"delta":1}`)
	r.want(422, "not_supported", "POST", "/v1/counter/default/k", `{"delta":1}`)
	r.want(422, "not_supported", "GET", "/v1/counter/default/k", "")
	r.want(404, "bucket_not_found", "GET", "/v1/counter/none/k", "")
	r.want(405, "method_not_allowed", "PUT", "/v1/counter/s/k", "")
	if n := len(r.b.requests()); n != before {
		t.Errorf("%d refused requests reached the backend", n-before)
	}
	rep := held(9, "-3")
	rep.Strong.Value = &strong.Value{Version: strongVersion(9), Counter: true, Data: []byte("-3")}
	r.b.answer(rep)
	a = r.want(200, "", "GET", "/v1/counter/s/k?consistency=replica", "")
	if got := decodeInto[counterJSON](t, a); got.Value != -3 || a.Header.Get("ETag") != `"1.7.9"` || r.b.last(t).Level != core.LevelReplica {
		t.Errorf("%s %v", a.body, a.Header)
	}
	r.want(304, "", "GET", "/v1/counter/s/k", "", `If-None-Match: "1.7.9"`)
	if a = r.want(200, "", "GET", "/v1/kv/s/k", ""); string(a.body) != "-3" || a.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("%s %v", a.body, a.Header)
	}
	r.b.answer(held(9, "7"))
	r.want(409, "conflict", "GET", "/v1/counter/s/k", "")
}

func TestStrongBatches(t *testing.T) {
	r := newStrongRig(t)
	r.b.reply = func(req *core.Request) *core.Reply {
		if string(req.Key) == "lost" {
			rep := failure(core.PreconditionFailed, true)
			rep.Strong = &core.StrongReply{Version: strongVersion(4)}
			return rep
		}
		return strongReply(&core.StrongReply{Version: strongVersion(9)})
	}
	a := r.want(200, "", "POST", "/v1/kv/s:batch", `{"operations":[
		{"op":"put","key":"a","value":"AA==","if_none_match":"*"},
		{"op":"put","key":"b","value":"AA==","if_match":"\"1.7.3\"","idempotency_key":"1700000000000-own"},
		{"op":"delete","key":"c"},
		{"op":"delete","key":"lost","if_match":"\"1.7.3\""},
		{"op":"put","key":"d","value":"AA==","ttl_ms":5},
		{"op":"put","key":"e","value":"AA==","context":"AA"},
		{"op":"put","key":"f","value":"AA==","if_match":""},
		{"op":"put","key":"g","value":"AA==","idempotency_key":"x"}]}`, "Idempotency-Key: 1600000000000-all")
	var got []string
	for _, res := range decodeInto[batchReply](t, a).Results {
		code := ""
		if res.Problem != nil {
			code = res.Problem.Code
		}
		got = append(got, fmt.Sprintf("%s %d %s %s", *res.Key, res.Status, res.ETag, code))
	}
	want := []string{`a 201 "1.7.9" `, `b 204 "1.7.9" `, `c 204 "1.7.9" `, `lost 412 "1.7.4" precondition_failed`, "d 422  not_supported",
		"e 400  context_invalid", "f 400  invalid_argument", "g 400  invalid_argument"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	stamps := map[string]int64{}
	ids := map[strong.RequestID]bool{}
	for _, req := range r.b.requests() {
		stamps[string(req.Key)] = req.StrongID.StampMS
		ids[req.StrongID] = true
	}
	if stamps["a"] != 1600000000000 || stamps["b"] != 1700000000000 || len(ids) != 4 {
		t.Errorf("%v %v", stamps, ids)
	}
	r.b.reply = func(req *core.Request) *core.Reply {
		if string(req.Key) == "none" {
			return strongReply(&core.StrongReply{Level: core.LevelStale})
		}
		rep := held(9, string(req.Key))
		rep.Strong.Level = core.LevelStale
		return rep
	}
	a = r.want(200, "", "POST", "/v1/kv/s:get?consistency=stale", `{"keys":["a","none"]}`)
	res := decodeInto[batchReply](t, a).Results
	if res[0].Status != 200 || string(res[0].Value) != "a" || res[0].ETag != `"1.7.9"` || res[0].Stale != "applied=9" || res[0].Consistency != "stale" || res[1].Status != 404 || res[1].Consistency != "stale" || r.b.last(t).Level != core.LevelStale {
		t.Errorf("%s", a.body)
	}
	r.want(400, "invalid_argument", "POST", "/v1/kv/s:batch?w=1", `{"operations":[{"op":"delete","key":"c"}]}`)
	r.want(400, "invalid_argument", "POST", "/v1/kv/s:batch", `{"operations":[{"op":"delete","key":"c"}]}`, "If-Match: *")
	a = r.want(200, "", "POST", "/v1/kv/default:batch", `{"operations":[{"op":"delete","key":"c","if_match":"*"}]}`)
	if res := decodeInto[batchReply](t, a).Results; res[0].Problem == nil || res[0].Problem.Code != "conditional_needs_strong" {
		t.Errorf("%s", a.body)
	}
}

func TestStrongListAndInspect(t *testing.T) {
	r := newStrongRig(t)
	rep := strongReply(nil)
	v := held(9, "hello").Strong.Value
	rep.List = &core.ListPage{Complete: true, Rows: []core.ListRow{{Key: []byte("a"), Strong: v}, {Key: []byte("b"), Strong: &strong.Value{Tombstone: true}}}}
	rep.Inspect = []core.InspectRow{{Store: testSID(1), State: core.Present, Version: v.Version, Size: 5, InSync: true}, {Store: testSID(2), State: core.Absent}}
	r.b.answer(rep)
	a := r.want(200, "", "GET", "/v1/kv/s?values=true", "", "Quorate-Consistency: stale")
	page := decodeInto[listPage](t, a)
	if a.Header.Get("Quorate-Consistency") != "stale" || len(page.Keys) != 1 || *page.Keys[0].Key != "a" || page.Keys[0].ETag != `"1.7.9"` || string(page.Keys[0].Value) != "hello" || page.R != 1 {
		t.Errorf("%s", a.body)
	}
	r.want(200, "", "GET", "/v1/kv/s", "", "Accept: application/x-ndjson")
	r.want(400, "invalid_argument", "GET", "/v1/kv/s", "", "Quorate-Consistency: one")
	a = r.want(200, "", "GET", "/v1/inspect/s/a", "")
	rows := decodeInto[inspectJSON](t, a).Replicas
	if len(rows) != 2 || rows[0].ETag != `"1.7.9"` || rows[0].State != "present" || rows[1].ETag != "" {
		t.Errorf("%s", a.body)
	}
	r.want(400, "invalid_argument", "GET", "/v1/inspect/s/a", "", "Quorate-Consistency: leader")
	v.Sum++
	r.want(500, "internal", "GET", "/v1/kv/s?values=true", "")
}

func TestStrongBuckets(t *testing.T) {
	r := newRig(t)
	// While a node is too old, it is named.
	p := r.want(422, "not_supported", "POST", "/v1/buckets", `{"name":"b","mode":"strong"}`).problem(t)
	if !strings.Contains(p.Detail, "n1, n2, n3, n4") {
		t.Errorf("%s", p.Detail)
	}
	next := *r.b.ring.State
	next.Stores = slices.Clone(next.Stores)
	for i := range next.Stores {
		next.Stores[i].FeatureMax = 4
	}
	r.b.ring = hashring.NewRing(&next)
	// All are able, and the level is about to rise: waited for within the deadline.
	r.want(503, "starting", "POST", "/v1/buckets", `{"name":"b","mode":"strong"}`, "Quorate-Timeout: 20ms")
	r.b.newer = hashring.NewRing(withFeature(t, &next, 4))
	made := decodeInto[bucketJSON](t, r.want(201, "", "POST", "/v1/buckets", `{"name":"b","mode":"strong"}`))
	if made != (bucketJSON{Name: "b", Mode: hashring.Strong, Conflict: hashring.Siblings, N: 3}) {
		t.Errorf("%+v", made)
	}
	r.b.newer = nil
	shown := r.want(200, "", "GET", "/v1/buckets/b", "")
	if decodeInto[bucketJSON](t, shown) != made {
		t.Errorf("%s", shown.body)
	}
	r.want(200, "", "POST", "/v1/buckets", string(shown.body)) // as it is shown, it can be sent again
	r.want(200, "", "POST", "/v1/buckets", `{"name":"b","mode":"strong","n":3}`)
	r.want(409, "conflict", "POST", "/v1/buckets", `{"name":"b"}`)
	for body, want := range map[string]string{
		`{"name":"c","mode":"strong","n":2}`:             "422 not_supported",
		`{"name":"c","mode":"strong","n":5}`:             "422 not_supported",
		`{"name":"c","mode":"strong","ttl_ms":5}`:        "422 not_supported",
		`{"name":"c","mode":"strong","limits":{}}`:       "422 not_supported",
		`{"name":"c","mode":"strong","n":0}`:             "400 invalid_argument",
		`{"name":"c","mode":"strong","r":1}`:             "400 invalid_argument",
		`{"name":"c","mode":"strong","w":3}`:             "400 invalid_argument",
		`{"name":"c","mode":"strong","sloppy":true}`:     "400 invalid_argument",
		`{"name":"c","mode":"strong","conflict":"lww"}`:  "400 invalid_argument",
		`{"name":"c","mode":"strong","conflict":"mine"}`: "400 invalid_argument",
		`{"name":"C","mode":"strong"}`:                   "400 invalid_argument",
	} {
		var status int
		var code string
		fmt.Sscan(want, &status, &code)
		r.want(status, code, "POST", "/v1/buckets", body)
	}
	r.want(200, "", "PATCH", "/v1/buckets/b", `{"r":0,"sloppy":false}`)
	r.want(400, "invalid_argument", "PATCH", "/v1/buckets/b", `{"w":2}`)
	r.want(400, "invalid_argument", "PATCH", "/v1/buckets/b", `{"sloppy":true}`)
	r.want(422, "not_supported", "PATCH", "/v1/buckets/b", `{"ttl_ms":5}`)
	r.want(204, "", "DELETE", "/v1/buckets/b", "")
}

func TestStrongPlaces(t *testing.T) {
	r := newStrongRig(t)
	got := decodeInto[locateJSON](t, r.want(200, "", "GET", "/v1/cluster/locate?bucket=s&key=k", ""))
	part := &r.b.ring.Partitions[got.Partition]
	if got.Primary == nil || *got.Primary != rulesName(r, part.Primary) || len(got.Replicas) != 3 || len(got.Fallbacks) != 0 || got.Epoch != part.Strong.Epoch {
		t.Errorf("%+v", got)
	}
	if got = decodeInto[locateJSON](t, r.want(200, "", "GET", "/v1/cluster/locate?bucket=default&key=k", "")); got.Primary != nil {
		t.Errorf("%+v", got)
	}
	health := func() *StrongHealth {
		return decodeInto[ClusterStatus](t, r.want(200, "", "GET", "/v1/cluster", "")).Strong
	}
	if h := health(); h.Partitions != 8 || h.Active != 0 || len(h.Inactive) != 8 || h.Inactive[0].Primary == nil || !strings.Contains(h.Inactive[0].Why, "taking over") {
		t.Errorf("%+v", h)
	}
	next := *r.b.ring.State
	next.Partitions = slices.Clone(next.Partitions)
	for i := range next.Partitions {
		active := *next.Partitions[i].Strong
		active.Activated = true
		next.Partitions[i].Strong = &active
	}
	r.b.ring = hashring.NewRing(&next)
	if h := health(); h.Active != 8 || h.Inactive == nil || len(h.Inactive) != 0 {
		t.Errorf("%+v", h)
	}
	dead := next.Partitions[0].Primary
	r.b.dead[dead] = true
	if h := health(); h.Active == 8 || h.Inactive[0].ID != 0 || !strings.Contains(h.Inactive[0].Why, "not reachable") {
		t.Errorf("%+v", h)
	}
	for _, sid := range next.Partitions[0].Strong.Sets[0] {
		r.b.dead[sid] = true
	}
	if h := health(); !strings.Contains(h.Inactive[0].Why, "0 of its 3 members") {
		t.Errorf("%+v", h)
	}
	r = newRig(t)
	if h := health(); h != nil {
		t.Errorf("%+v", h)
	}
}

func rulesName(r *rig, sid hashring.SID) string {
	self := rules.Self{}
	return self.NodeName(r.b.ring, sid)
}

// The requests of strong buckets are answered by the loop as by net/http.
func TestStrongSameAsNetHTTP(t *testing.T) {
	if road != roadHandler {
		return // this one takes two roads by itself
	}
	tw := newTwins(t, func(r *rig) {
		r.b.ring = hashring.NewRing(strongState(t))
		r.b.reply = func(req *core.Request) *core.Reply {
			rep := held(9, fmt.Sprintf("%d %q %s", req.Op, req.Key, req.Value))
			rep.Strong.Level = req.Level
			if string(req.Key) == "lost" {
				rep.Code, rep.Outcome, rep.Strong.Value = core.PreconditionFailed, core.NotApplied, nil
			}
			return rep
		}
	})
	for _, head := range []string{"GET /v1/kv/s/a HTTP/1.1", "HEAD /v1/kv/s/a HTTP/1.1", "GET /v1/kv/s/a?consistency=stale HTTP/1.1", "GET /v1/kv/s/a?r=1 HTTP/1.1",
		"PUT /v1/kv/s/a HTTP/1.1\r\nContent-Length: 0", "PUT /v1/kv/s/lost HTTP/1.1\r\nContent-Length: 0", "PUT /v1/kv/s/a?ttl=1s HTTP/1.1\r\nContent-Length: 0",
		"DELETE /v1/kv/s/a HTTP/1.1", "DELETE /v1/kv/s/lost HTTP/1.1"} {
		for _, field := range []string{"", "If-None-Match: *\r\n", "If-None-Match: \"1.7.9\"\r\n", "If-Match: \"1.7.9\"\r\n", "If-Match: \"1.7.9\"\r\nIf-Match: *\r\n", "If-Match:\r\n",
			"If-Match: \"1.7.9\"\r\nIf-None-Match: *\r\n", "Quorate-Consistency: quorum\r\n", "Idempotency-Key: 1-a\r\n", "Quorate-Context: AA\r\n", "Quorate-Read-After: AA\r\n"} {
			in := head + "\r\nHost: n\r\n" + field + "\r\n"
			if n := tw.compare(t, []byte(in)); n != 1 {
				t.Errorf("%q: %d answers", in, n)
			}
		}
	}
}

// How a strong read or write costs no more than an eventual one.
func TestStrongAllocations(t *testing.T) {
	if road != roadHandler {
		return
	}
	r := newStrongRig(t)
	one := object(sibling(1, 1, 1000, "text/plain", "v"))
	measure := func(method, target string, rep *core.Reply) float64 {
		r.b.answer(rep)
		req := r.request(method, target, "v", nil)
		return testing.AllocsPerRun(200, func() {
			r.b.got = r.b.got[:0]
			req.Body = http.NoBody
			req.ContentLength = 0
			r.h.ServeHTTP(nowhere{http.Header{}}, req)
		})
	}
	for _, method := range []string{"GET", "PUT"} {
		eventual, strongOne := measure(method, "/keys/k", okReply(one)), measure(method, "/v1/kv/s/k", held(9, "v"))
		if strongOne > eventual+2 { // the bucket's name in the path, and its router's variable
			t.Errorf("%s: %v allocations, an eventual one has %v", method, strongOne, eventual)
		}
	}
}

// nowhere is a ResponseWriter that keeps nothing.
type nowhere struct{ h http.Header }

func (d nowhere) Header() http.Header         { return d.h }
func (d nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (d nowhere) WriteHeader(int)             {}
