package conf

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quoratedb/quorate/node"
	"github.com/quoratedb/quorate/quorum/strong"
)

// Bounds of the values. The hard cap of a value is the API's; partitions cost memory
// at every node and time in every ring change; a byte counts replicas on the wire.
const (
	valueBytesMax  = 4 << 20
	partitionsMax  = 4096
	replicasMax    = 9
	expectMax      = 64
	shardsMax      = 256
	inFlightMax    = 1 << 20
	joinMax        = 128
	shutdownMax    = 10 * time.Minute
	labelMax       = 64
	bytesUnlimited = int64(1) << 50

	repairFloorMin = int64(1) << 20 // below it a request between replicas waits longer than it is waited for
	repairRateMax  = int64(4) << 30
	scrubMin       = time.Minute
	scrubMax       = 90 * 24 * time.Hour
)

var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// check holds every value to its range and names where a wrong one comes from.
func check(l *Loaded) error {
	c := &l.Config
	var faults []error
	fault := func(key string, err error) {
		if err == nil {
			return
		}
		place := l.Origin[key]
		if strings.HasPrefix(place, "-") || strings.HasPrefix(place, EnvPrefix) {
			faults = append(faults, &Error{Place: place, Err: err}) // the place names the key
			return
		}
		faults = append(faults, &Error{Place: place, Key: key, Err: err})
	}
	fault("name", checkLabel(c.Name, false))
	fault("zone", checkLabel(c.Zone, true))
	if c.Data == "" {
		fault("data", errors.New("empty; want a directory"))
	}
	for _, a := range []struct{ key, addr string }{{"api", c.API}, {"gossip", c.Gossip}, {"peer", c.Peer}} {
		fault(a.key, checkListen(a.addr))
	}
	if c.Frames != "" {
		fault("frames", checkListen(c.Frames))
	}
	fault("join", checkJoin(c.Join))
	for _, r := range []struct {
		key          string
		v, low, high int64
	}{
		{"bootstrap-expect", int64(c.BootstrapExpect), 0, expectMax},
		{"partitions", int64(c.Partitions), 1, partitionsMax},
		{"replicas", int64(c.Replicas), 1, replicasMax},
		{"shards", int64(c.Shards), 0, shardsMax},
		{"max-value-bytes", int64(c.MaxValueBytes), 1, valueBytesMax},
		{"max-in-flight", int64(c.MaxInFlight), 1, inFlightMax},
		{"hint-bytes-max", c.HintBytesMax, 0, bytesUnlimited},
		{"repair-floor", c.RepairFloor, repairFloorMin, repairRateMax},
		{"repair-ceiling", c.RepairCeiling, c.RepairFloor, repairRateMax},
		{"disk-reserve-bytes", c.DiskReserve, 0, bytesUnlimited},
	} {
		if r.v < r.low || r.v > r.high {
			fault(r.key, fmt.Errorf("%d is outside %d to %d", r.v, r.low, r.high))
		}
	}
	for _, d := range []struct {
		key          string
		v, low, high time.Duration
	}{
		{"repair-p99-target", c.RepairTarget, time.Millisecond, time.Minute},
		{"scrub-every", c.ScrubEvery, scrubMin, scrubMax},
	} {
		if d.v < d.low || d.v > d.high {
			fault(d.key, fmt.Errorf("%v is outside %v to %v", d.v, d.low, d.high))
		}
	}
	fault("strong-lease", checkLease(c.StrongLease, node.BootTime()))
	fault("log-level", oneOf(c.LogLevel, "debug", "info", "warn", "error"))
	fault("log-format", oneOf(c.LogFormat, "text", "json", "auto"))
	if c.ShutdownTimeout < 0 || c.ShutdownTimeout > shutdownMax {
		fault("shutdown-timeout", fmt.Errorf("%v is outside 0s to %v", c.ShutdownTimeout, shutdownMax))
	}
	if c.HintAge < 0 {
		fault("hint-age", fmt.Errorf("%v is below 0s", c.HintAge))
	}
	faults = append(faults, samePort(l)...)
	return errors.Join(faults...)
}

// checkLease takes 0 for none. Without a clock that runs on while the machine is suspended a
// primary would answer from the past when it wakes.
func checkLease(d time.Duration, clock bool) error {
	switch {
	case d == 0:
		return nil
	case d < strong.LeaseLeast || d > strong.LeaseMost:
		return fmt.Errorf("%v is neither 0s nor in %v to %v", d, strong.LeaseLeast, strong.LeaseMost)
	case !clock:
		return errors.New("this system has no clock that runs on while the machine is suspended, which leases need; want 0s")
	}
	return nil
}

func checkLabel(s string, mayBeEmpty bool) error {
	if s == "" && mayBeEmpty {
		return nil
	}
	if len(s) > labelMax || !label.MatchString(s) {
		return fmt.Errorf("%q: want 1 to %d letters, digits, dots, dashes or underscores, a letter or digit first and last", s, labelMax)
	}
	return nil
}

func oneOf(v string, list ...string) error {
	if slices.Contains(list, v) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", v, strings.Join(list, ", "))
}

func checkListen(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q: want host:port, such as 127.0.0.1:7400", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil { // 0: any free port
		return fmt.Errorf("%q: the port is no number from 0 to 65535", addr)
	}
	return nil
}

func checkJoin(list []string) error {
	if len(list) > joinMax {
		return fmt.Errorf("%d addresses, at most %d", len(list), joinMax)
	}
	for _, a := range list {
		host, port, err := net.SplitHostPort(a)
		if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" {
			return fmt.Errorf("%q: want the gossip address host:port of a node", a)
		}
	}
	return nil
}

// samePort finds two addresses that are one.
func samePort(l *Loaded) []error {
	c := &l.Config
	seen := map[string]string{}
	var faults []error
	for _, a := range []struct{ key, addr string }{{"api", c.API}, {"gossip", c.Gossip}, {"peer", c.Peer}, {"frames", c.Frames}} {
		if first, ok := seen[a.addr]; ok && !strings.HasSuffix(a.addr, ":0") {
			faults = append(faults, &Error{Place: l.Origin[a.key], Key: a.key, Err: fmt.Errorf("%s is the address of %s already", a.addr, first)})
		}
		seen[a.addr] = a.key
	}
	return faults
}

// Changed lists the keys whose values differ, in the order of node.Config.
func Changed(a, b *node.Config) []string {
	var out []string
	x, y := Values(a), Values(b)
	for _, k := range Keys() {
		if x[k.Name] != y[k.Name] {
			out = append(out, k.Name)
		}
	}
	return out
}
