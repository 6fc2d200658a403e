package live

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

// A node that is killed under a request may have carried it out, also if the HTTP client
// tries it once more and finds nobody: half an hour of kills once blamed the cluster for
// three deletes that were called not applied here.
func TestALostDeleteIsUnknown(t *testing.T) {
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			_ = srv.Listener.Close()
			panic(http.ErrAbortHandler)
		}
	}))
	defer srv.Close()
	hc, s := newHTTP(1), server{base: srv.URL}
	if a := send(t.Context(), hc, s, &request{method: http.MethodGet, path: "/", timeout: time.Second}); a.outcome != check.OK {
		t.Fatalf("%+v", a)
	}
	del := &request{method: http.MethodDelete, path: "/", idem: "1-a", timeout: time.Second}
	if a := send(t.Context(), hc, s, del); a.outcome != check.Unknown || a.retryable {
		t.Errorf("the connection was lost: %+v", a)
	}
	if a := send(t.Context(), hc, s, del); a.outcome != check.NotApplied || !a.retryable {
		t.Errorf("nobody listens: %+v", a)
	}
}
