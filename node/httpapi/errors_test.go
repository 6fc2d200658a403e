package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
)

// later lists the codes that nothing can produce yet, with the issue that brings
// each. A code must be here or be produced below, never both.
var later = map[code]string{
	codeUnauthenticated:     "security and tenancy: authentication",
	codeIdempotencyInFlight: "nothing: a repeat waits for the first one instead",
	codeRateLimited:         "limits: quotas per bucket",
}

// want is the row of the contract (API.md), written down again so that a slip in
// the table is seen.
var wantRows = map[string]struct {
	status    int
	outcome   core.Outcome
	retryable bool
}{
	"invalid_argument":         {400, core.NotApplied, false},
	"unknown_parameter":        {400, core.NotApplied, false},
	"context_invalid":          {400, core.NotApplied, false},
	"digest_mismatch":          {400, core.NotApplied, false},
	"unauthenticated":          {401, core.NotApplied, false},
	"permission_denied":        {403, core.NotApplied, false},
	"key_not_found":            {404, core.OutcomeNone, false},
	"bucket_not_found":         {404, core.NotApplied, false},
	"not_found":                {404, core.NotApplied, false},
	"method_not_allowed":       {405, core.NotApplied, false},
	"unsupported_media":        {415, core.NotApplied, false},
	"conflict":                 {409, core.NotApplied, false},
	"sibling_limit":            {409, core.NotApplied, false},
	"idempotency_in_flight":    {409, core.NotApplied, false},
	"idempotency_expired":      {409, core.Unknown, false},
	"precondition_failed":      {412, core.NotApplied, false},
	"value_too_large":          {413, core.NotApplied, false},
	"key_too_long":             {414, core.NotApplied, false},
	"not_owner":                {421, core.NotApplied, true},
	"conditional_needs_strong": {422, core.NotApplied, false},
	"quorum_impossible":        {422, core.NotApplied, false},
	"idempotency_mismatch":     {422, core.NotApplied, false},
	"not_supported":            {422, core.NotApplied, false},
	"rate_limited":             {429, core.NotApplied, true},
	"hot_key_throttled":        {429, core.NotApplied, true},
	"overloaded":               {503, core.NotApplied, true},
	"draining":                 {503, core.NotApplied, true},
	"starting":                 {503, core.NotApplied, true},
	"quorum_unavailable":       {503, core.NotApplied, true},
	"primary_unavailable":      {503, core.NotApplied, true},
	"stale_replica":            {503, core.OutcomeNone, true},
	"read_quorum_timeout":      {504, core.OutcomeNone, true},
	"write_quorum_timeout":     {504, core.Unknown, true},
	"replica_failure":          {503, core.Unknown, true},
	"primary_changed":          {503, core.Unknown, true},
	"insufficient_storage":     {507, core.NotApplied, false},
	"internal":                 {500, core.Unknown, false},
	"clock_skew":               {503, core.NotApplied, true},
}

func TestErrorTableIsTheContract(t *testing.T) {
	seen := map[string]bool{}
	for c := codeOK + 1; c < codeCount; c++ {
		row := errorTable[c]
		want, ok := wantRows[row.name]
		if !ok || seen[row.name] || row.title == "" {
			t.Errorf("row %d: %+v is not in the contract, or stands twice", c, row)
			continue
		}
		seen[row.name] = true
		if row.status != want.status || row.outcome != want.outcome || row.retryable != want.retryable {
			t.Errorf("%s: %d %v retryable=%v, want %+v", row.name, row.status, row.outcome, row.retryable, want)
		}
	}
	if len(seen) != len(wantRows) {
		t.Errorf("%d of %d codes", len(seen), len(wantRows))
	}
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	enum := c.doc.Components.Schemas["Problem"].Value.Properties["code"].Value.Enum
	for _, v := range enum {
		delete(seen, v.(string))
	}
	if len(enum) != len(wantRows) || len(seen) != 0 {
		t.Errorf("the API document has %d codes, lacks %v", len(enum), seen)
	}
	for c := core.Code(0); c < core.CodeCount; c++ {
		if name := errorTable[codeOf(c)].name; name != c.String() {
			t.Errorf("core code %v maps to %s", c, name)
		}
	}
}

// Every code that can happen is produced over HTTP.
func TestEveryCodeIsProduced(t *testing.T) {
	produced := map[code]bool{}
	for c := codeOK + 1; c < codeCount; c++ {
		if later[c] != "" {
			continue
		}
		make1, ok := producers[errorTable[c].name]
		if !ok {
			make1 = byCore(c)
		}
		if make1 == nil {
			t.Errorf("%s: neither produced here nor listed with the issue that brings it", errorTable[c].name)
			continue
		}
		r := newRig(t)
		a := make1(r)
		produced[c] = true
		checkProblem(t, c, a)
	}
	for c := range later {
		if produced[c] {
			t.Errorf("%s is produced: take it off the list of later codes", errorTable[c].name)
		}
	}
	if len(produced)+len(later) != int(codeCount)-1 {
		t.Errorf("%d produced, %d later, %d in all", len(produced), len(later), codeCount-1)
	}
}

func checkProblem(t *testing.T, c code, a *answer) {
	t.Helper()
	row := errorTable[c]
	p := a.problem(t)
	if a.StatusCode != row.status || p.Status != row.status || p.Code != row.name || p.Retryable != row.retryable || p.Title != row.title {
		t.Errorf("%s: status %d, problem %+v", row.name, a.StatusCode, p)
	}
	if p.Type != "urn:quorate:error:"+row.name || p.Detail == "" || p.Instance != "urn:quorate:request:"+a.Header.Get("Quorate-Request-Id") {
		t.Errorf("%s: %+v", row.name, p)
	}
	if a.Header.Get("Content-Type") != typeProblem || a.Header.Get("Quorate-Served-By") == "" {
		t.Errorf("%s: headers %v", row.name, a.Header)
	}
	if row.status == 503 || row.status == 429 {
		after, err := strconv.Atoi(a.Header.Get("Retry-After"))
		if err != nil || after < 1 || p.RetryAfterMS < 1 {
			t.Errorf("%s: Retry-After %q, %d ms", row.name, a.Header.Get("Retry-After"), p.RetryAfterMS)
		}
	}
	if a.Request == nil && p.Outcome == "" && row.outcome == core.Unknown {
		t.Errorf("%s: a write without an outcome", row.name)
	}
}

// producers make one real request for each code that this package finds itself.
var producers = map[string]func(*rig) *answer{
	"unknown_parameter":        func(r *rig) *answer { return r.do("GET", "/keys/k?rr=2", "") },
	"digest_mismatch":          func(r *rig) *answer { return r.do("PUT", "/keys/k", "x", "Content-Digest: sha-256=:AAAA:") },
	"permission_denied":        func(r *rig) *answer { return r.do("PUT", "/keys/k", "x", "Sec-Fetch-Site: cross-site") },
	"not_found":                func(r *rig) *answer { return r.do("GET", "/v2/kv", "") },
	"method_not_allowed":       func(r *rig) *answer { return r.do("POST", "/keys/k", "") },
	"unsupported_media":        func(r *rig) *answer { return r.do("PUT", "/keys/k", "x", "Content-Encoding: gzip") },
	"key_too_long":             func(r *rig) *answer { return r.do("GET", "/keys/"+strings.Repeat("k", 1025), "") },
	"conditional_needs_strong": func(r *rig) *answer { return r.do("PUT", "/keys/k", "x", "If-None-Match: *") },
	"conflict": func(r *rig) *answer {
		r.do("POST", "/v1/buckets", `{"name":"b","n":2}`)
		return r.do("POST", "/v1/buckets", `{"name":"b","n":3}`)
	},
}

// byCore scripts the core's reply; nil if no core code maps to c.
func byCore(c code) func(*rig) *answer {
	for k := core.KeyNotFound; k < core.CodeCount; k++ {
		if codeOf(k) != c {
			continue
		}
		return func(r *rig) *answer {
			method := http.MethodPut
			if errorTable[c].outcome == core.OutcomeNone {
				method = http.MethodGet
			}
			r.b.answer(failure(k, method == http.MethodPut))
			a := r.do(method, "/keys/k", "")
			if len(r.b.requests()) != 1 {
				r.t.Errorf("%v: the backend was not asked", k)
			}
			return a
		}
	}
	return nil
}

func failure(k core.Code, write bool) *core.Reply {
	rep := &core.Reply{Code: k, Detail: "scripted", RingVersion: 60, Epoch: 3, Partition: 7, ServedBy: testSID(2),
		Receipt: quorum.Receipt{N: 3, Need: 2, Acks: 1, Owners: 1, Synced: 1},
		Failed:  []quorum.Failure{{Store: testSID(3), Reason: quorum.ReasonTimeout}, {Store: testSID(77), Reason: quorum.ReasonUnreachable}}}
	if write {
		rep.Outcome = errorTable[codeOf(k)].outcome
	}
	if k == core.NotOwner {
		rep.Owners = []hashring.SID{testSID(3), testSID(1)}
	}
	return rep
}

func TestProblemMembers(t *testing.T) {
	r := newRig(t)
	rep := failure(core.WriteTimeout, true)
	rep.RetryAfter = 1500 * time.Millisecond
	r.b.answer(rep)
	p := r.want(504, "write_quorum_timeout", "PUT", "/keys/k", "v").problem(t)
	if p.Outcome != "unknown" || p.RingVersion != 60 || p.Epoch != 3 || *p.Partition != 7 || p.Detail != "scripted" {
		t.Errorf("%+v", p)
	}
	q := p.Quorum
	if q.N != 3 || q.Need != 2 || q.Acks != 1 || q.Owners != 1 || q.Fallbacks != 0 || len(q.Failed) != 2 ||
		q.Failed[0] != (problemFailed{"n3", "timeout"}) || q.Failed[1] != (problemFailed{testSID(77).String(), "unreachable"}) {
		t.Errorf("%+v", q)
	}
	rep = failure(core.QuorumUnavailable, true)
	rep.RetryAfter = 1500 * time.Millisecond
	r.b.answer(rep)
	a := r.want(503, "quorum_unavailable", "PUT", "/keys/k", "v")
	if p = a.problem(t); p.RetryAfterMS != 1500 || a.Header.Get("Retry-After") != "2" {
		t.Errorf("%d ms, header %s", p.RetryAfterMS, a.Header.Get("Retry-After"))
	}
	r.b.answer(failure(core.NotOwner, false))
	p = r.want(421, "not_owner", "GET", "/keys/k", "", "Quorate-Route: owner").problem(t)
	if fmt.Sprint(p.Owners) != "[n3 n1]" {
		t.Errorf("owners %v", p.Owners)
	}
	// What the core says of the fate beats the table.
	rep = failure(core.ReplicaFailure, true)
	rep.Outcome = core.NotApplied
	r.b.answer(rep)
	if p = r.want(503, "replica_failure", "PUT", "/keys/k", "v").problem(t); p.Outcome != "not_applied" {
		t.Errorf("outcome %s", p.Outcome)
	}
	// A read that failed inside has no fate to tell.
	r.b.answer(failure(core.Internal, false))
	if p = r.want(500, "internal", "GET", "/keys/k", "").problem(t); p.Outcome != "" {
		t.Errorf("outcome %s", p.Outcome)
	}
}
