// Package bench drives nodes over HTTP: closed or open loop, uniform or zipfian keys,
// latencies in HDR histograms, and a verify mode that counts what was acknowledged and
// then lost.
package bench

import (
	"fmt"
	"io"
	"time"
)

// Bounds of a run, so that a slip of the hand cannot exhaust the machine that drives it.
const (
	ConcurrencyMax = 16384
	KeysMax        = 50_000_000
	valueSizeMax   = 4 << 20 // the API's hard cap of a value
	rateMax        = 10_000_000
)

// Distributions of keys.
const (
	Uniform = "uniform"
	Zipfian = "zipfian" // theta 0.99, as YCSB
)

// Options of one run. Sizes in bytes.
type Options struct {
	Addrs       []string // base URLs, see rest.ParseAddrs
	Bucket      string
	Prefix      string  // of the keys without Verify, the same from run to run
	Concurrency int     // workers; in open loop the most requests in flight
	Rate        float64 // operations a second in all; 0: closed loop
	Keys        int
	Dist        string // Uniform or Zipfian
	ReadPercent int
	ValueSize   int
	Duration    time.Duration // 0: until the context ends
	Warmup      time.Duration // counted for nothing but verify
	R, W        int           // 0: the bucket's defaults
	Sloppy      string        // "", "true", "false": as the parameter
	Preload     bool          // write every key once before the clock starts; never with Verify
	Verify      bool

	AttemptTimeout time.Duration // one request to one node
	OpTimeout      time.Duration // one operation with all its retries
	SettleTimeout  time.Duration // the final read of all keys

	Seed     uint64
	Progress io.Writer // a line a second; nil: silent
}

// Default is a run that fits a laptop.
func Default() Options {
	return Options{
		Bucket: "default", Prefix: "bench-", Concurrency: 16, Keys: 10_000, Dist: Uniform, ReadPercent: 50, ValueSize: 100,
		Duration: 10 * time.Second, Warmup: time.Second, Preload: true,
		AttemptTimeout: 2 * time.Second, OpTimeout: 20 * time.Second, SettleTimeout: time.Minute,
	}
}

// Check says what is wrong with o.
func (o *Options) Check() error {
	for _, c := range []struct {
		name     string
		v        float64
		min, max float64
	}{
		{"concurrency", float64(o.Concurrency), 1, ConcurrencyMax},
		{"keys", float64(o.Keys), 1, KeysMax},
		{"mix", float64(o.ReadPercent), 0, 100},
		{"value-size", float64(o.ValueSize), 0, valueSizeMax},
		{"rate", o.Rate, 0, rateMax},
		{"r", float64(o.R), 0, 255},
		{"w", float64(o.W), 0, 255},
		{"duration", o.Duration.Seconds(), 0, 1e9},
		{"warmup", o.Warmup.Seconds(), 0, 1e9},
		{"timeout", o.AttemptTimeout.Seconds(), 0.001, 60},
		{"op-timeout", o.OpTimeout.Seconds(), 0.001, 3600},
		{"settle-timeout", o.SettleTimeout.Seconds(), 0.001, 3600},
	} {
		if c.v < c.min || c.v > c.max {
			return fmt.Errorf("--%s: %v is outside %v to %v", c.name, c.v, c.min, c.max)
		}
	}
	if o.Dist != Uniform && o.Dist != Zipfian {
		return fmt.Errorf("--dist: %q is neither %s nor %s", o.Dist, Uniform, Zipfian)
	}
	if o.Duration > 0 && o.Warmup >= o.Duration {
		return fmt.Errorf("--warmup: %v leaves nothing of --duration %v", o.Warmup, o.Duration)
	}
	if o.Verify && o.Keys < o.Concurrency {
		return fmt.Errorf("--keys: %d is below --concurrency %d, and with --verify a key has one writer", o.Keys, o.Concurrency)
	}
	return nil
}
