package httpapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

func TestBucketLife(t *testing.T) {
	r := newRig(t)
	a := r.want(201, "", "POST", "/v1/buckets", `{"name":"orders","conflict":"lww","n":2,"r":1,"w":2,"sloppy":false,"ttl_ms":60000}`)
	want := bucketJSON{"orders", hashring.Eventual, hashring.LWW, 2, 1, 2, false, 60000}
	if got := decodeInto[bucketJSON](t, a); got != want || a.Header.Get("Location") != "/v1/buckets/orders" {
		t.Errorf("%+v %v", got, a.Header)
	}
	a = r.want(200, "", "POST", "/v1/buckets", `{"name":"orders","conflict":"lww","n":2,"r":1,"w":2,"sloppy":false,"ttl_ms":60000}`)
	if got := decodeInto[bucketJSON](t, a); got != want {
		t.Errorf("%+v", got)
	}
	r.want(409, "conflict", "POST", "/v1/buckets", `{"name":"orders"}`)
	if got := decodeInto[bucketJSON](t, r.want(200, "", "GET", "/v1/buckets/orders", "")); got != want {
		t.Errorf("%+v", got)
	}
	a = r.want(200, "", "PATCH", "/v1/buckets/orders", `{"r":0,"w":1,"sloppy":true,"ttl_ms":0}`)
	want.R, want.W, want.Sloppy, want.TTLMS = 0, 1, true, 0
	if got := decodeInto[bucketJSON](t, a); got != want {
		t.Errorf("%+v", got)
	}
	if got := decodeInto[bucketJSON](t, r.want(200, "", "PATCH", "/v1/buckets/orders", `{"w":1}`)); got != want {
		t.Errorf("no change: %+v", got)
	}
	a = r.want(200, "", "GET", "/v1/buckets", "")
	for _, name := range []string{`"default"`, `"fixed"`, `"orders"`} {
		if !strings.Contains(string(a.body), name) {
			t.Errorf("%s is not listed: %s", name, a.body)
		}
	}
	r.want(204, "", "DELETE", "/v1/buckets/orders", "")
	r.want(404, "bucket_not_found", "GET", "/v1/buckets/orders", "")
	r.want(404, "bucket_not_found", "DELETE", "/v1/buckets/orders", "")
	r.want(404, "bucket_not_found", "PATCH", "/v1/buckets/orders", `{"r":1}`)
}

func TestNewBucketDefaults(t *testing.T) {
	r := newRig(t)
	got := decodeInto[bucketJSON](t, r.want(201, "", "POST", "/v1/buckets", `{"name":"b"}`))
	if got != (bucketJSON{"b", hashring.Eventual, hashring.Siblings, 3, 0, 0, true, 0}) {
		t.Errorf("%+v", got)
	}
}

func TestBucketRefusals(t *testing.T) {
	r := newRig(t)
	before := r.b.ring.Version
	for _, c := range []struct {
		status               int
		code, method, target string
		body                 string
	}{
		{400, "invalid_argument", "POST", "", `{}`},
		{400, "invalid_argument", "POST", "", `{"name":"No"}`},
		{400, "invalid_argument", "POST", "", `{"name":"b","mode":"weak"}`},
		{400, "invalid_argument", "POST", "", `{"name":"b","conflict":"mine"}`},
		{400, "invalid_argument", "POST", "", `{"name":"b","n":0}`},
		{400, "invalid_argument", "POST", "", `{"name":"b","r":-1}`},
		{400, "invalid_argument", "POST", "", `{"name":"b","ttl_ms":-1}`},
		{400, "invalid_argument", "POST", "", `{"name":"b","ttl_ms":9223372036854775807}`},
		{400, "invalid_argument", "POST", "", `{"name":"b","replicas":3}`},
		{400, "invalid_argument", "POST", "", `{"name":7}`},
		{400, "invalid_argument", "POST", "", `name=b`},
		{413, "value_too_large", "POST", "", `{"name":"` + strings.Repeat("b", maxControlBody) + `"}`},
		{422, "not_supported", "POST", "", `{"name":"b","mode":"strong"}`},
		{422, "not_supported", "POST", "", `{"name":"b","limits":{"ops":1}}`},
		{422, "quorum_impossible", "POST", "", `{"name":"b","n":4}`},
		{422, "quorum_impossible", "POST", "", `{"name":"b","n":2,"w":3}`},
		{422, "quorum_impossible", "PATCH", "/fixed", `{"r":4}`},
		{422, "not_supported", "PATCH", "/fixed", `{"n":2}`},
		{422, "not_supported", "PATCH", "/fixed", `{"mode":"strong"}`},
		{422, "not_supported", "PATCH", "/fixed", `{"conflict":"lww"}`},
		{422, "not_supported", "PATCH", "/fixed", `{"name":"x"}`},
		{400, "invalid_argument", "PATCH", "/fixed", `{}`},
		{400, "invalid_argument", "PATCH", "/fixed", `{"w":-2}`},
		{400, "invalid_argument", "DELETE", "/fixed", `{}`},
		{400, "invalid_argument", "GET", "/Fixed", ``},
		{405, "method_not_allowed", "PUT", "/fixed", `{}`},
	} {
		r.want(c.status, c.code, c.method, "/v1/buckets"+c.target, c.body)
	}
	r.want(422, "not_supported", "DELETE", "/v1/buckets/fixed", "", `If-Match: "1"`)
	r.want(400, "invalid_argument", "POST", "/v1/buckets", `{"name":"b"}`, "Quorate-Timeout: soon")
	if r.b.ring.Version != before {
		t.Error("a refused command changed the ring")
	}
}

func TestProposeFailures(t *testing.T) {
	for _, c := range []struct {
		err     error
		status  int
		code    string
		outcome string
	}{
		{fmt.Errorf("no leader: %w", ErrNotProposed), 503, "quorum_unavailable", "not_applied"},
		{context.DeadlineExceeded, 504, "write_quorum_timeout", "unknown"},
		{fmt.Errorf("%w: leadership lost", ErrMaybeProposed), 504, "write_quorum_timeout", "unknown"},
		{hashring.ErrNoCluster, 503, "starting", "not_applied"},
		{hashring.ErrTooMany, 400, "invalid_argument", "not_applied"},
		{hashring.ErrNotSupported, 422, "not_supported", "not_applied"},
		{hashring.ErrUnknownBucket, 404, "bucket_not_found", "not_applied"},
		{errors.New("the disk is gone"), 500, "internal", "unknown"},
	} {
		r := newRig(t)
		r.b.propose = c.err
		if p := r.want(c.status, c.code, "PATCH", "/v1/buckets/fixed", `{"r":2}`).problem(t); p.Outcome != c.outcome {
			t.Errorf("%v: outcome %s", c.err, p.Outcome)
		}
	}
}

func TestHealth(t *testing.T) {
	ring := hashring.NewRing(&hashring.State{Partitions: []hashring.Partition{
		{Replicas: []hashring.SID{testSID(1), testSID(2), testSID(3)}},
		{Replicas: []hashring.SID{testSID(2), testSID(3), testSID(4)}},
		{Replicas: []hashring.SID{testSID(3), testSID(4)}},
		{Replicas: []hashring.SID{testSID(1)}},
	}})
	for _, c := range []struct {
		down []byte
		want PartitionHealth
	}{
		{nil, PartitionHealth{Total: 4, OK: 4}},
		{[]byte{2}, PartitionHealth{Total: 4, OK: 2, Degraded: 2}},
		{[]byte{2, 3}, PartitionHealth{Total: 4, OK: 1, BelowQuorum: 3}},
		{[]byte{3, 4}, PartitionHealth{Total: 4, OK: 1, Degraded: 1, BelowQuorum: 1, Lost: 1}},
		{[]byte{1, 2, 3, 4}, PartitionHealth{Total: 4, Lost: 4}},
	} {
		dead := map[hashring.SID]bool{}
		for _, n := range c.down {
			dead[testSID(n)] = true
		}
		if got := Health(ring, func(s hashring.SID) bool { return !dead[s] }); got != c.want {
			t.Errorf("down %v: %+v, want %+v", c.down, got, c.want)
		}
	}
	if got := Health(nil, nil); got != (PartitionHealth{}) {
		t.Errorf("no ring: %+v", got)
	}
}

func TestCluster(t *testing.T) {
	r := newRig(t)
	r.b.dead[testSID(2)] = true
	r.b.status = ClusterStatus{Cluster: testSID(99).String(), RaftLeader: "n1", Voters: 3, Hints: HintStatus{5, 600}}
	got := decodeInto[ClusterStatus](t, r.want(200, "", "GET", "/v1/cluster", ""))
	if got.RingVersion != r.b.ring.Version || got.RaftLeader != "n1" || got.Partitions != (PartitionHealth{Total: 8, Degraded: 8}) || got.Hints.Pending != 5 {
		t.Errorf("%+v", got)
	}
	if len(got.Nodes) != 4 || got.Nodes[1].Alive || !got.Nodes[0].Alive || got.Nodes[0].Partitions != 8 || got.Nodes[0].Note != "" ||
		got.Nodes[3].Partitions != 0 || got.Nodes[3].Note != NoteOwnsNothing || got.Nodes[3].State != hashring.StoreUp {
		t.Errorf("%+v", got.Nodes)
	}
}

func TestRing(t *testing.T) {
	r := newRig(t)
	a := r.want(200, "", "GET", "/v1/cluster/ring", "")
	got := decodeInto[ringJSON](t, a)
	tag := fmt.Sprintf("%q", fmt.Sprint(r.b.ring.Version))
	if got.RingVersion != r.b.ring.Version || a.Header.Get("ETag") != tag || len(got.Partitions) != 8 || len(got.Nodes) != 4 {
		t.Errorf("%+v %v", got, a.Header)
	}
	if p := got.Partitions[3]; p.ID != 3 || p.Epoch == 0 || p.Primary != nil || len(p.Replicas) != 3 || !strings.HasPrefix(p.Replicas[0], "n") {
		t.Errorf("%+v", p)
	}
	if n := got.Nodes[0]; n.Name != "n1" || n.API != "127.0.0.1:7401" || n.SID != testSID(1).String() || n.State != hashring.StoreUp {
		t.Errorf("%+v", n)
	}
	if a = r.want(304, "", "GET", "/v1/cluster/ring", "", "If-None-Match: "+tag); len(a.body) != 0 || a.Header.Get("ETag") != tag {
		t.Errorf("%v", a.Header)
	}
	r.want(200, "", "GET", "/v1/cluster/ring", "", `If-None-Match: "1"`, fmt.Sprintf("Quorate-Ring: %d", got.RingVersion+1))
	if r.b.refreshed != 1 {
		t.Error("a newer ring version did not make the node look")
	}
	r.want(400, "invalid_argument", "GET", "/v1/cluster/ring", "", "Quorate-Ring: x")
}

func TestLocate(t *testing.T) {
	r := newRig(t)
	got := decodeInto[locateJSON](t, r.want(200, "", "GET", "/v1/cluster/locate?bucket=default&key=a%2Fb", ""))
	p := r.b.ring.PartitionOf(hashring.Hash("default", []byte("a/b")))
	if got.Partition != p || len(got.Replicas) != 3 || fmt.Sprint(got.Fallbacks) != "[n4]" || got.Epoch == 0 {
		t.Errorf("%+v", got)
	}
	if again := decodeInto[locateJSON](t, r.want(200, "", "GET", "/v1/cluster/locate?bucket=default&key64=YS9i", "")); again.Partition != p {
		t.Errorf("%+v", again)
	}
	if len(r.b.requests()) != 0 {
		t.Error("locate asked the core")
	}
}

func TestInspect(t *testing.T) {
	r := newRig(t)
	o := object(sibling(1, 1, 1000, "", "v"))
	r.b.answer(&core.Reply{RingVersion: 60, Epoch: 2, Partition: 5, Inspect: []core.InspectRow{
		{Store: testSID(1), State: core.Present, Hash: o.Hash(), Dots: []version.Dot{{Actor: 1, Counter: 1}}, Size: 40, HLC: version.HLCFromMS(1000), InSync: true},
		{Store: testSID(2), State: core.Absent},
		{Store: testSID(3), State: core.Unreachable},
		{Store: testSID(4), State: core.TombstoneState, Hash: 7, Fallback: true},
	}})
	got := decodeInto[inspectJSON](t, r.want(200, "", "GET", "/v1/inspect/default/a/b", ""))
	if got.Key != "a/b" || got.Partition != 5 || got.Epoch != 2 || len(got.Replicas) != 4 {
		t.Fatalf("%+v", got)
	}
	if x := got.Replicas[0]; x.Node != "n1" || x.Role != "owner" || x.State != "present" || x.ETag != etag(o.Hash()) || !x.InSync || x.Size != 40 || *x.AgeMS <= 0 || x.Dots[0] != "0000000000000001-1" {
		t.Errorf("%+v", x)
	}
	if x := got.Replicas[2]; x.State != "unreachable" || x.InSync || x.ETag != "" {
		t.Errorf("%+v", x)
	}
	if x := got.Replicas[3]; x.Role != "fallback" || x.State != "tombstone" || x.Node != "n4" {
		t.Errorf("%+v", x)
	}
	if req := r.b.last(t); req.Op != core.OpInspect || string(req.Key) != "a/b" {
		t.Errorf("%+v", req)
	}
	got = decodeInto[inspectJSON](t, r.want(200, "", "GET", "/v1/inspect/default?key64=_w", ""))
	if got.Key64 != "_w" || got.Key != "\uFFFD" {
		t.Errorf("%+v", got)
	}
	r.want(400, "invalid_argument", "GET", "/v1/inspect/default/", "")
	r.want(400, "invalid_argument", "GET", "/v1/inspect/default/k", "", "Quorate-Consistency: one")
}

func TestProbes(t *testing.T) {
	r := newRig(t)
	r.b.checks = []Check{{"ring", true, "version 60"}, {"peers", false, "n3 has not been tried"}}
	r.want(200, "", "GET", "/livez", "")
	r.want(200, "", "HEAD", "/livez?verbose", "")
	a := r.want(503, "starting", "GET", "/readyz", "")
	if p := a.problem(t); len(p.Checks) != 2 || !strings.Contains(p.Detail, "n3 has not been tried") || a.Header.Get("Retry-After") != "1" {
		t.Errorf("%+v", p)
	}
	r.b.checks[1].OK = true
	if a = r.want(200, "", "GET", "/readyz", ""); string(a.body) != `{"status":"ready"}`+"\n" {
		t.Errorf("%s", a.body)
	}
	if a = r.want(200, "", "GET", "/readyz?verbose", ""); !strings.Contains(string(a.body), `"version 60"`) {
		t.Errorf("%s", a.body)
	}
}

func TestReservedRoutes(t *testing.T) {
	r := newRig(t)
	for _, c := range []string{"GET /v1/watch/default?prefix=x", "GET /v1/cluster/safe-to-stop?nodes=n1,n2",
		"POST /v1/cluster/plans", "POST /v1/cluster/plans/7:apply", "GET /v1/operations", "GET /v1/operations/7", "POST /v1/operations/7:pause",
		"POST /v1/nodes/n1:drain", "POST /v1/nodes/n1:decommission", "GET /v1/hotkeys", "GET /v1/snapshots",
		"GET /console", "GET /console/", "GET /console/app.js"} {
		method, target, _ := strings.Cut(c, " ")
		a := r.want(422, "not_supported", method, target, "")
		if p := a.problem(t); !strings.Contains(p.Detail, "reserved") {
			t.Errorf("%s: %s", c, p.Detail)
		}
	}
	r.want(405, "method_not_allowed", "DELETE", "/v1/hints", "")
}
