package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func ringOf(primary string, epoch int, active bool) string {
	return fmt.Sprintf(`{"ring_version":21,"nodes":[{"name":"n1","state":"up"},{"name":"n2","state":"up"},{"name":"n3","state":"up"},{"name":"old","state":"retired"}],"partitions":[
		{"id":0,"epoch":4,"primary":"n1","replicas":["n1","n2","n3"],"strong":{"epoch":4,"active":true,"sets":[["n1","n2","n4"],["n1","n2","n3"]],"learners":["n3"]}},
		{"id":1,"epoch":2,"primary":null,"replicas":["n2"]},
		{"id":2,"epoch":%d,"primary":%q,"replicas":["n1","n2","n3"],"strong":{"epoch":%d,"active":%v,"sets":[["n1","n2","n3"]]}}]}`, epoch, primary, epoch, active)
}

// A primary that has died is active in the ring until there is another: it is not counted.
func TestPrimariesGolden(t *testing.T) {
	srv := httptest.NewServer(canned{"GET /v1/cluster/ring": jsonReply(ringOf("n2", 7, true)),
		"GET /v1/cluster": jsonReply(`{"ring_version":21,"raft_leader":"n2","nodes":[],"partitions":{"total":3,"ok":3},
			"strong":{"partitions":2,"active":1,"inactive":[{"id":2,"epoch":7,"primary":"n2","why":"n2 is unreachable"}]},"hints":{},"repair":{}}`)})
	defer srv.Close()
	for name, args := range map[string][]string{
		"primaries.table":      {"ring", "primaries"},
		"primaries.json":       {"ring", "primaries", "-o", "json"},
		"primaries.raw":        {"ring", "primaries", "-o", "raw"},
		"cluster_strong.table": {"cluster"},
	} {
		r := invoke(t, "", nil, append(args, "--addrs", srv.URL)...)
		if r.code != 0 {
			t.Fatalf("%s: exit %d: %s", name, r.code, r.err)
		}
		golden(t, name, r.out)
	}
}

// move-primary asks once, shows what it sees, and is done when the ring shows it.
func TestMovePrimaryWaitsForTheRing(t *testing.T) {
	var looks atomic.Int32
	var asked recorder
	srv := httptest.NewServer(canned{
		"POST /v1/cluster/primaries": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			asked.add(string(body))
			w.WriteHeader(202)
			_, _ = io.WriteString(w, `{"partition":2,"from":"n1","to":"n2","epoch":6}`)
		},
		"GET /v1/cluster/ring": func(w http.ResponseWriter, _ *http.Request) {
			switch looks.Add(1) {
			case 1:
				_, _ = io.WriteString(w, ringOf("n1", 6, true))
			case 2:
				_, _ = io.WriteString(w, ringOf("n2", 7, false))
			default:
				_, _ = io.WriteString(w, ringOf("n2", 7, true))
			}
		}})
	defer srv.Close()
	r := invoke(t, "", nil, "ring", "move-primary", "--partition", "2", "--to", "n2", "--addrs", srv.URL)
	if r.code != 0 || !strings.HasPrefix(r.out, "partition 2: n2 leads it since epoch 7, after ") || !strings.HasSuffix(r.out, " ms; before: n1\n") {
		t.Errorf("%+v", r)
	}
	if want := "partition 2: epoch 6, primary n1, active\npartition 2: epoch 7, primary n2, taking over\n"; r.err != want {
		t.Errorf("said %q, want %q", r.err, want)
	}
	if got := asked.all(); len(got) != 1 || got[0] != `{"partition":2,"to":"n2"}` {
		t.Errorf("asked %v", got)
	}
}

func TestMovePrimaryFails(t *testing.T) {
	refused := httptest.NewServer(canned{"POST /v1/cluster/primaries": problemReply(400, "invalid_argument", "not_applied")})
	defer refused.Close()
	stuck := httptest.NewServer(canned{
		"POST /v1/cluster/primaries": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(202)
			_, _ = io.WriteString(w, `{"partition":2,"from":"n1","to":"n2","epoch":6}`)
		},
		"GET /v1/cluster/ring": jsonReply(ringOf("n1", 6, true))})
	defer stuck.Close()
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"--to", "n2", "--addrs", refused.URL}, exitUsage},
		{[]string{"--partition", "2", "--addrs", refused.URL}, exitUsage},
		{[]string{"--partition", "2", "--to", "n2", "--addrs", refused.URL}, exitUsage},
		{[]string{"--partition", "2", "--to", "n2", "--wait", "200ms", "--addrs", stuck.URL}, exitUnavailable},
	} {
		if r := invoke(t, "", nil, append([]string{"ring", "move-primary"}, c.args...)...); r.code != c.want || r.err == "" {
			t.Errorf("%v: %+v", c.args, r)
		}
	}
}

// Many partitions without a primary leave the nodes on the screen.
func TestInactiveGroups(t *testing.T) {
	var list []inactive
	for i := range 11 {
		p := inactive{i, 4, "n2", "n2 is unreachable"}
		if i == 3 {
			p.Why = "1 of its 3 members are reachable, it needs 2"
		}
		list = append(list, p)
	}
	golden(t, "inactive_groups.table", inactiveText(list))
}
