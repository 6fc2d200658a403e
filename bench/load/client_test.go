package load

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quoratedb/quorate/hashring"
)

// ringServers are servers that share one store and tell a ring in which each
// partition belongs to one of them, or to none.
type ringServers struct {
	srvs    []*httptest.Server
	foreign atomic.Int64 // requests for keys of another server
	served  atomic.Int64
}

const ringPartitions = 8

func newRingServers(t *testing.T, owned bool) *ringServers {
	t.Helper()
	s := &ringServers{}
	store := &mapServer{kv: map[string][]byte{}}
	for i := range 2 {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /v1/cluster/ring", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s.ring(owned)) })
		mux.HandleFunc("/kv/", func(w http.ResponseWriter, r *http.Request) {
			s.served.Add(1)
			key := strings.TrimPrefix(r.URL.Path, "/kv/")
			if int(hashring.PartitionOf(hashring.Hash("bucket", []byte(key)), ringPartitions))%2 != i {
				s.foreign.Add(1)
			}
			store.ServeHTTP(w, r)
		})
		srv := httptest.NewServer(mux)
		t.Cleanup(srv.Close)
		s.srvs = append(s.srvs, srv)
	}
	return s
}

func (s *ringServers) addrs() []string {
	return []string{s.srvs[0].Listener.Addr().String(), s.srvs[1].Listener.Addr().String()}
}

func (s *ringServers) ring(owned bool) string {
	var parts, nodes []string
	for p := range ringPartitions {
		owner := fmt.Sprintf("n%d", p%2)
		if !owned {
			owner = "elsewhere"
		}
		parts = append(parts, fmt.Sprintf(`{"id":%d,"replicas":[%q]}`, p, owner))
	}
	for i, a := range s.addrs() {
		nodes = append(nodes, fmt.Sprintf(`{"name":"n%d","api":%q}`, i, a))
	}
	return fmt.Sprintf(`{"ring_version":1,"partitions":[%s],"nodes":[%s]}`, strings.Join(parts, ","), strings.Join(nodes, ","))
}

func TestRoutes(t *testing.T) {
	opts := func(route string) Opts {
		return Opts{"put": "/kv/%s?w=2", "get": "/kv/%s", "sget": "/kv/%s", "route": route, "bucket": "bucket"}
	}
	for route, foreign := range map[string]bool{"fixed": true, "spread": true, "owner": false} {
		s := newRingServers(t, true)
		d, err := Open("http", s.addrs(), opts(route))
		if err != nil {
			t.Fatal(err)
		}
		r := runPhase(t, d, NewKeyspace(100), "load:4:80:uniform")
		if r.Ops != 100 || r.Errs > 0 || s.served.Load() != 100 || (s.foreign.Load() > 0) != foreign {
			t.Errorf("%s: %d of %d requests to servers that do not own their key: %v", route, s.foreign.Load(), s.served.Load(), r)
		}
	}
	s := newRingServers(t, false)
	for _, o := range []Opts{opts("owner"), opts("sideways"), {"route": "owner"}} {
		if _, err := Open("http", s.addrs(), o); err == nil {
			t.Errorf("%v taken", o)
		}
	}
}

func TestClientOptions(t *testing.T) {
	for _, o := range []Opts{{}, {"bucket": "b", "route": "fixed"}, {"bucket": "b", "transport": "post"}, {"bucket": "b", "conns": "2"}} {
		if _, err := Open("client", []string{"127.0.0.1:1"}, o); err == nil {
			t.Errorf("%v taken", o)
		}
	}
}

func TestShed(t *testing.T) {
	if !errors.Is(refused(503, []byte(`{"code":"overloaded"}`)), ErrShed) {
		t.Error("a shed request is a failure")
	}
	for status, body := range map[int]string{503: `{"code":"quorum_unavailable"}`, 500: `{"code":"overloaded"}`} {
		if err := refused(status, []byte(body)); errors.Is(err, ErrShed) || !strings.Contains(err.Error(), body) {
			t.Errorf("%d %s: %v", status, body, err)
		}
	}
}
