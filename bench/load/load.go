// Package load drives a key-value cluster and measures what its clients and its
// servers see: throughput, latency percentiles, and the CPU time the servers used.
//
// One goroutine per worker issues one request at a time. Keys are 20 bytes; values
// start with their key, so every read is verified. The same loop drives every
// system, so that two of them can be compared within one run. The numbers come
// from /proc: Linux only.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// A Worker issues one request at a time; it is used by one goroutine.
type Worker interface {
	// Put writes val under key, durably by the system's own measure.
	Put(key, val []byte) error
	// Get returns the value, valid until the next call, or nil when there is none.
	// stale asks for the weakest read the system offers.
	Get(key []byte, stale bool) ([]byte, error)
	Close()
}

// ErrShed says that a server refused a request before any work because it had too many:
// counted apart from failures.
var ErrShed = errors.New("shed: the server is overloaded")

// A Swapper compares and sets: a Worker whose system has that.
type Swapper interface {
	// Swap writes val under key if the key still is as the driver's workers last saw it,
	// in one request that tells what it is otherwise. Refused: it was something else.
	Swap(key, val []byte) (refused bool, err error)
}

// A Driver makes workers for one system.
type Driver interface {
	// Worker makes worker number id. When ctx ends, a request under way ends too.
	Worker(ctx context.Context, id int) (Worker, error)
	Close()
}

type driver struct {
	open    func(addrs []string, o Opts) (Driver, error)
	options []string
}

var drivers = map[string]driver{
	"http":   {newHTTP, []string{"put", "get", "sget", "method", "retry", "route", "bucket"}},
	"etcd":   {newEtcd, []string{"conns"}},
	"redis":  {newRedis, []string{"wait"}},
	"frames": {newFrames, []string{"bucket", "conns"}},
	"client": {newClient, []string{"bucket", "transport", "route"}},
}

// Drivers lists the names that Open takes, sorted.
func Drivers() []string {
	names := make([]string, 0, len(drivers))
	for n := range drivers {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Open makes the named driver for servers at addrs, which must be on the loopback:
// a load generator pointed at somebody else's machine by a typo is an attack.
func Open(name string, addrs []string, o Opts) (Driver, error) {
	d, ok := drivers[name]
	if !ok {
		return nil, fmt.Errorf("unknown driver %q, want one of %s", name, strings.Join(Drivers(), ", "))
	}
	for k := range o {
		if !slices.Contains(d.options, k) {
			return nil, fmt.Errorf("driver %s has no option %q, only %s", name, k, strings.Join(d.options, ", "))
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("driver %s: no addresses", name)
	}
	for _, a := range addrs {
		if err := loopback(a); err != nil {
			return nil, err
		}
	}
	return d.open(addrs, o)
}

func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("address %q is not on the loopback", addr)
	}
	return nil
}

// Opts are a driver's options by name.
type Opts map[string]string

// ParseOpts reads "k=v;k=v".
func ParseOpts(s string) (Opts, error) {
	o := Opts{}
	for kv := range strings.SplitSeq(s, ";") {
		if kv == "" {
			continue
		}
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, fmt.Errorf("option %q is not k=v", kv)
		}
		o[k] = v
	}
	return o, nil
}

func (o Opts) or(name, def string) string {
	if v := o[name]; v != "" {
		return v
	}
	return def
}
