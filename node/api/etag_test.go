package api

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

func TestVersionETags(t *testing.T) {
	for _, v := range []strong.Version{{Incarnation: 1, Epoch: 2, Index: 3}, {Incarnation: 1}, {Index: math.MaxUint64}} {
		tag := VersionETag(v)
		if want := `"` + v.String() + `"`; tag != want {
			t.Errorf("%s, want %s", tag, want)
		}
		if got, ok := ParseVersionETag(tag); !ok || got != v {
			t.Errorf("%s: %v, %v", tag, got, ok)
		}
	}
	for _, bad := range []string{"", `"`, `""`, `1.2.3`, `"1.2"`, `"1.2.3.4"`, `"1.2.x"`, `"+1.2.3"`, `"1.02.3"`, `"0.0.0"`, `W/"1.2.3"`,
		`"18446744073709551616.1.1"`, `"18446744073709551615.18446744073709551615.18446744073709551615"`} {
		if v, ok := ParseVersionETag(bad); ok {
			t.Errorf("%s is taken as %v", bad, v)
		}
	}
	if VersionETag(strong.Version{}) != "" {
		t.Error("no version has an ETag")
	}
}

// FuzzCondition: whatever the headers say, a condition holds or the request is
// refused; what was given never turns into no condition.
func FuzzCondition(f *testing.F) {
	for _, list := range []string{"*", `"1.2.3"`, `W/"1.2.3", "4.5.6"`, `"a,b" , `, `,"1.2.3"`, `"`, ` * `, `"1.2.3",,"1.2.3"`} {
		f.Add(list, "")
		f.Add("", list)
	}
	f.Fuzz(func(t *testing.T, match, none string) {
		c, fault := condition(match, none)
		if fault != nil || match == "" && none == "" {
			return
		}
		if c.IfMatch.IsZero() && !c.IfPresent && !c.IfNoneMatch && (len(trimmed(match)) > 0 || len(trimmed(none)) > 0) {
			t.Errorf("%q %q: no condition", match, none)
		}
		if c.IfNoneMatch && (c.IfPresent || !c.IfMatch.IsZero()) || c.IfPresent && !c.IfMatch.IsZero() || len(c.Or) >= strong.MaxMatches {
			t.Errorf("%q %q: %+v", match, none, c)
		}
		for _, v := range append(slices.Clone(c.Or), c.IfMatch) {
			if got, ok := ParseVersionETag(VersionETag(v)); !v.IsZero() && v != nobody && (!ok || got != v) {
				t.Errorf("%q: %v", match, v)
			}
		}
	})
}

func trimmed(list string) (out []byte) {
	for i := range len(list) {
		if c := list[i]; c != ' ' && c != '\t' && c != ',' {
			out = append(out, c)
		}
	}
	return out
}

// What frames carry means in a strong bucket what it means over HTTP.
func TestParamsOfStrongBuckets(t *testing.T) {
	b := &hashring.Bucket{Mode: hashring.Strong}
	token := version.Context{Bucket: 1, Seen: version.Vector{{Actor: 1, Counter: 2}}}.Token()
	for _, c := range []struct {
		p    Params
		code Code
	}{
		{Params{Op: core.OpGet, R: 1}, InvalidArgument},
		{Params{Op: core.OpGet, Sloppy: core.No}, InvalidArgument},
		{Params{Op: core.OpGet, Consistency: "one"}, InvalidArgument},
		{Params{Op: core.OpGet, ReadAfter: token}, ContextInvalid},
		{Params{Op: core.OpPut, W: 1}, InvalidArgument},
		{Params{Op: core.OpPut, PW: 1}, InvalidArgument},
		{Params{Op: core.OpPut, Consistency: "leader"}, InvalidArgument},
		{Params{Op: core.OpPut, TTL: 1}, NotSupported},
		{Params{Op: core.OpDelete, Context: token}, ContextInvalid},
		{Params{Op: core.OpPut, IfMatch: "*", IfNoneMatch: "*"}, InvalidArgument},
		{Params{Op: core.OpIncrement, W: 2}, InvalidArgument},
		{Params{Op: core.OpGet, Consistency: "stale", Context: "not of a read", IdempotencyKey: "not of a read", Newest: true}, OK},
		{Params{Op: core.OpPut, IfMatch: `"1.2.3"`, IdempotencyKey: "7-a"}, OK},
		{Params{Op: core.OpIncrement, Delta: -4, IfNoneMatch: "*"}, OK},
	} {
		c.p.Bucket, c.p.Key = "b", []byte("k")
		var req core.Request
		f := c.p.Request(&req, version.RequestID{1})
		if f == nil {
			f = c.p.For(&req, b, nil)
		}
		if (f == nil) != (c.code == OK) || f != nil && f.Code != c.code {
			t.Errorf("%+v: %v", c.p, f)
		}
		if f != nil {
			continue
		}
		want := fmt.Sprint(c.p.Delta, c.p.Consistency == "stale", c.p.IfMatch != "", c.p.IfNoneMatch != "", c.p.Op == core.OpPut)
		if got := fmt.Sprint(req.Delta, req.Level == core.LevelStale, !req.If.IfMatch.IsZero(), req.If.IfNoneMatch, !req.StrongID.IsZero()); got != want {
			t.Errorf("%+v: %s, want %s", c.p, got, want)
		}
	}
	p := Params{Op: core.OpIncrement, Bucket: "b", Key: []byte("k")}
	if f := p.For(&core.Request{}, &hashring.Bucket{Mode: hashring.Eventual}, nil); f == nil || f.Code != NotSupported {
		t.Error(f)
	}
}

func TestStrongID(t *testing.T) {
	a, b := StrongID("1700000000000-a"), StrongID("1700000000000-b")
	if a.StampMS != 1700000000000 || a == b || a != StrongID("1700000000000-a") || StrongID("0-x").IsZero() {
		t.Errorf("%v %v", a, b)
	}
}

func TestLookStrong(t *testing.T) {
	v := &strong.Value{Version: strong.Version{Incarnation: 1, Epoch: 2, Index: 3}, Data: []byte("x"), Sum: Checksum([]byte("x"))}
	damaged := *v
	damaged.Sum++
	for _, c := range []struct {
		name        string
		value       *strong.Value
		match, none string
		status      int
		code        Code
	}{
		{"held", v, "", "", 200, OK},
		{"known", v, "", `"1.2.3"`, 304, OK},
		{"known, and as asked", v, `"1.2.3"`, `"1.2.3"`, 304, OK},
		{"another one", v, "", `"1.2.4"`, 200, OK},
		{"as asked", v, `"1.2.3"`, "", 200, OK},
		{"not as asked", v, `"1.2.4"`, "", 0, PreconditionFailed},
		{"malformed", v, `1.2.4`, "", 0, InvalidArgument},
		{"damaged", &damaged, "", "", 0, Internal},
		{"absent", nil, "", "", 0, KeyNotFound},
		{"deleted", &strong.Value{Tombstone: true}, "", "*", 0, KeyNotFound},
		{"absent, and asked for", nil, "*", "", 0, PreconditionFailed},
	} {
		got, f := LookStrong(&core.Reply{Strong: &core.StrongReply{Value: c.value}}, c.match, c.none)
		if (f == nil) != (c.code == OK) || f != nil && f.Code != c.code || f == nil && (got.Status != c.status || got.Version != v.Version || (got.Value == nil) != (c.status == 304)) {
			t.Errorf("%s: %+v, %v", c.name, got, f)
		}
	}
	if _, f := LookStrong(&core.Reply{Code: core.ReadTimeout}, "", ""); f == nil || f.Code != ReadQuorumTimeout {
		t.Error(f)
	}
	if _, f := LookStrong(&core.Reply{}, "", ""); f == nil || f.Code != KeyNotFound {
		t.Error(f)
	}
}
