package httpapi

import (
	"net/http"
	"time"

	"github.com/quoratedb/quorate/node/core"
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
	// idleTimeout is longer than the idle time of common clients' and balancers'
	// pools, so that they close a connection, not this side under a request.
	idleTimeout = 3 * time.Minute
)

// NewServer is an HTTP server with every limit set. Address, listener and
// TLS are the caller's.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
	}
}
