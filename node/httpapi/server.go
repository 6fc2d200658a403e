package httpapi

import (
	"net/http"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/httpapi/h1"
)

const (
	// MaxHeaderBytes holds a request line with a key of 1,024 escaped bytes and two
	// context tokens of 1,024 actors.
	MaxHeaderBytes = 64 << 10
	// headerTimeout ends connections that send their headers by the byte.
	headerTimeout = 10 * time.Second
	// readTimeout covers headers and body: the largest value at 100 KB/s.
	readTimeout = core.MaxDeadline
	// writeTimeout begins with the headers: reading the body, the longest deadline,
	// and as long again to take the answer. Streams move it forward page by page.
	writeTimeout = readTimeout + 2*core.MaxDeadline
	// answerTimeout is for an answer that is complete: the largest object at the rate
	// of readTimeout, and twice that.
	answerTimeout = 2 * core.MaxDeadline
	// idleTimeout is longer than the idle time of common clients' and balancers'
	// pools, so that they close a connection, not this side under a request.
	idleTimeout = 3 * time.Minute
)

// NewServer is a server with every limit set for a handler made by New: requests
// for one key go by the fast road, all others by net/http. The listener is the
// caller's. A server of another handler is net/http's alone.
func NewServer(h http.Handler) *h1.Server {
	cfg := h1.Config{Other: netServer(h), MaxHeaderBytes: MaxHeaderBytes,
		HeaderTimeout: headerTimeout, BodyTimeout: readTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout}
	if a, ok := h.(*api); ok {
		cfg.Names, cfg.Takes, cfg.Serve, cfg.Log = fastHeaders, a.fast.takes, a.fast.serve, a.Log
		cfg.Refusal = a.refusal
	} else {
		cfg.Takes = func(*h1.Exchange) bool { return false }
	}
	return h1.New(cfg)
}

// netServer is net/http's server with the same limits.
func netServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
	}
}
