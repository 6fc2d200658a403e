// Package httpapi is the HTTP API of a node, version 1: it parses a request once,
// hands it to the node as a core.Request, and maps the reply to HTTP by one table.
// The contract is openapi.yaml beside this file; every test call is checked
// against it.
//
// Values are raw bytes whose checksum is taken here when they come in and checked
// here when they leave. PUT and GET of a key run without JSON and reflection.
package httpapi

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/node/core"
)

const (
	// DefaultMaxValue is the contract's default limit of a value, 1 MiB.
	DefaultMaxValue = 1 << 20
	// DefaultMaxInFlight bounds requests served at a time: each may hold a value and
	// a goroutine.
	DefaultMaxInFlight = 4096
	// DefaultMaxBodyBytes bounds the bodies being read at a time, all together.
	DefaultMaxBodyBytes = 256 << 20
)

// Options of New. The zero value of each means its default.
type Options struct {
	MaxValue     int   // bytes of one value, at most core.MaxValue; DefaultMaxValue
	MaxInFlight  int   // requests at a time; DefaultMaxInFlight
	MaxBodyBytes int64 // bytes of request bodies at a time; DefaultMaxBodyBytes
	Log          *slog.Logger
	Now          func() time.Time      // time.Now
	Registerer   prometheus.Registerer // nil: the metrics are kept but not registered
	Profile      bool                  // serve /debug/pprof
}

func (o *Options) fill() {
	if o.MaxValue <= 0 {
		o.MaxValue = DefaultMaxValue
	}
	o.MaxValue = min(o.MaxValue, core.MaxValue)
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = DefaultMaxInFlight
	}
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = DefaultMaxBodyBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// api is the handler. It owns no goroutine.
type api struct {
	Options
	b       Backend
	self    Self
	mux     *mux.Router
	fast    fastRoad
	metrics *metrics
	refresh *refresher
	origin  *http.CrossOriginProtection

	inFlight  atomic.Int64
	bodyBytes atomic.Int64
}

// New builds the handler of a node's API. It starts nothing.
func New(b Backend, o Options) http.Handler {
	o.fill()
	a := &api{Options: o, b: b, self: b.Self(), origin: http.NewCrossOriginProtection()}
	a.metrics = newMetrics(a.inFlight.Load, o.Registerer)
	a.refresh = newRefresher(b.RefreshRing)
	a.mux = a.routes()
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }
