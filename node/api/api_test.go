package api

import (
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

func TestTableIsWhole(t *testing.T) {
	names := map[string]bool{}
	for c := range CodeCount {
		row := Table[c]
		if row.Name == "" || row.Status == 0 || names[row.Name] || c != OK && row.Title == "" {
			t.Errorf("code %d: %+v", c, row)
		}
		names[row.Name] = true
	}
	for c := range core.CodeCount {
		if CodeOf(c).String() != c.String() {
			t.Errorf("the core's %s is shown as %s", c, CodeOf(c))
		}
	}
	if CodeOf(core.CodeCount) != Internal || Code(200).String() != "internal" {
		t.Error("a code out of range")
	}
}

func TestFault(t *testing.T) {
	for _, c := range []struct {
		f     *Fault
		write bool
		fate  core.Outcome
		retry time.Duration
	}{
		{Refuse(Overloaded, ""), true, core.NotApplied, ShedRetryAfter},
		{Refuse(Overloaded, ""), false, core.NotApplied, ShedRetryAfter},
		{Refuse(KeyNotFound, ""), false, core.OutcomeNone, 0},
		{Refuse(BucketNotFound, ""), false, core.OutcomeNone, 0},
		{Refuse(BucketNotFound, ""), true, core.NotApplied, 0},
		{Refuse(Internal, ""), false, core.OutcomeNone, 0},
		{Refuse(Starting, ""), true, core.NotApplied, DefaultRetryAfter},
		{FromReply(&core.Reply{Code: core.ReplicaFailure, Outcome: core.Unknown, RetryAfter: 3 * time.Second}), true, core.Unknown, 3 * time.Second},
		{FromReply(&core.Reply{Code: core.QuorumUnavailable, RetryAfter: time.Nanosecond}), true, core.NotApplied, time.Millisecond},
	} {
		if got := c.f.Outcome(c.write); got != c.fate {
			t.Errorf("%v of a write=%v: %v", c.f, c.write, got)
		}
		if got := c.f.RetryAfter(); got != c.retry {
			t.Errorf("%v: retry after %v", c.f, got)
		}
	}
	if FromReply(&core.Reply{}) != nil {
		t.Error("a success is a fault")
	}
}

// What a parsed request turns into; refusals are in the suite of both ways in.
func TestRequest(t *testing.T) {
	token := version.Context{Bucket: 1, Seen: version.Vector{{Actor: 1, Counter: 2}}}.Token()
	p := Params{Op: core.OpPut, Bucket: "b", Key: []byte("k"), Context: token, W: 300, PW: 1, Sloppy: core.No, TTL: time.Hour, Timeout: time.Second, OwnerOnly: true, IdempotencyKey: "1-a"}
	var req core.Request
	eventual := &hashring.Bucket{Mode: hashring.Eventual}
	if f := p.Request(&req, version.RequestID{1}); f != nil {
		t.Fatal(f)
	}
	if f := p.For(&req, eventual, nil); f != nil {
		t.Fatal(f)
	}
	if f := PutValue(&req, nil, "", p.IdempotencyKey, 10); f != nil || req.Value == nil || req.ContentType != TypeOctets {
		t.Errorf("%v: %+v", f, req)
	}
	if req.W != MaxCount || req.PW != 1 || req.Sloppy != core.No || !req.HasContext || req.Context.Token() != token || !req.OwnerOnly || req.ID == HashID("1-a") || req.ID[0] != HashID("1-a")[0] {
		t.Errorf("%+v", req)
	}
	get := Params{Op: core.OpGet, Bucket: "b", Key: []byte("k"), ReadAfter: token, Context: "not of a read", IdempotencyKey: "not of a read"}
	req = core.Request{}
	if f := get.Request(&req, version.RequestID{1}); f != nil || get.For(&req, eventual, nil) != nil || !req.HasAfter || req.HasContext || req.ID != (version.RequestID{1}) {
		t.Errorf("%v: %+v", f, req)
	}
	for _, bad := range []Params{{Op: core.OpList, Bucket: "b", Key: []byte("k")}, {Bucket: "b", Key: []byte("k")}} {
		if f := bad.Request(&req, version.RequestID{}); f == nil || f.Code != NotSupported {
			t.Errorf("op %d: %v", bad.Op, f)
		}
	}
}

func TestBucket(t *testing.T) {
	if _, retry, f := Bucket(nil, "b"); !retry || f.Code != Starting {
		t.Error(f)
	}
	ring := hashring.NewRing(&hashring.State{Version: 1, Buckets: map[string]hashring.Bucket{"e": {Name: "e", Mode: hashring.Eventual}, "s": {Name: "s", Mode: hashring.Strong}, "x": {Name: "x", Mode: "other"}}})
	for name, want := range map[string]Code{"e": OK, "s": OK, "x": NotSupported, "none": BucketNotFound} {
		_, retry, f := Bucket(ring, name)
		if (f == nil) != (want == OK) || f != nil && f.Code != want || retry != (want == BucketNotFound) {
			t.Errorf("%s: %v, retry %v", name, f, retry)
		}
	}
}

func TestLook(t *testing.T) {
	at := func(actor uint64, value string, expiry int64) version.Sibling {
		return version.Sibling{Dot: version.Dot{Actor: version.Actor(actor), Counter: 1}, HLC: version.HLC(actor), Value: []byte(value), Sum: Checksum([]byte(value)), ExpiryMS: expiry}
	}
	object := func(all ...version.Sibling) *version.Object {
		o := &version.Object{Siblings: all}
		for _, s := range all {
			o.Context = o.Context.With(s.Dot)
		}
		return o
	}
	one, two := object(at(1, "a", 0)), object(at(1, "a", 0), at(2, "b", 0))
	damaged := object(at(1, "a", 0))
	damaged.Siblings[0].Sum++
	brief := object(at(1, "a", 0), at(2, "b", 50))
	for _, c := range []struct {
		name   string
		o      *version.Object
		none   string
		newest bool
		status int
		shown  string
		code   Code
	}{
		{"one", one, "", false, 200, "a", OK},
		{"two", two, "", false, 300, "ba", OK},
		{"newest", two, "", true, 200, "b", OK},
		{"known", one, ETag(one.Hash()), false, 304, "", OK},
		{"known among others", two, `"x", W/` + ETag(two.Hash()), false, 304, "", OK},
		{"not known", one, `"x"`, false, 200, "a", OK},
		{"one has run out", brief, ETag(brief.Hash()), false, 200, "a", OK},
		{"damaged", damaged, "", false, 0, "", Internal},
		{"nothing", nil, "", false, 0, "", KeyNotFound},
		{"run out", object(at(1, "a", 50)), "", false, 0, "", KeyNotFound},
	} {
		var room Room
		v, f := Look(&core.Reply{Object: c.o}, 100, c.none, c.newest, &room)
		var shown strings.Builder
		for _, s := range v.Values {
			shown.Write(s.Value)
		}
		if v.Status != c.status || shown.String() != c.shown || (f == nil) != (c.code == OK) || f != nil && (f.Code != c.code || f.Damaged != (c.code == Internal)) {
			t.Errorf("%s: %d %q, %v", c.name, v.Status, shown.String(), f)
		}
	}
	if _, f := Look(&core.Reply{Code: core.ReadTimeout}, 0, "", false, &Room{}); f == nil || f.Code != ReadQuorumTimeout {
		t.Error(f)
	}
}
