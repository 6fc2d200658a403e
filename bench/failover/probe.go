package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/bench/servers"
	"github.com/quoratedb/quorate/hashring"
)

const (
	// probeTimeout is what a node is given for one write: an answer that is late tells
	// less than the next one.
	probeTimeout = 400 * time.Millisecond
	// probeGrace lets the node's own verdict arrive.
	probeGrace = 300 * time.Millisecond
	valueBytes = 80
)

// shot is one write of a probe.
type shot struct {
	began, ended time.Time
	ok           bool
	why          string // not ok
}

// probe writes one key of one partition, again and again, through nodes that live.
type probe struct {
	partition int
	key       string

	mu    sync.Mutex
	shots []shot
}

// since are the shots that ended after a time; older ones are forgotten.
func (p *probe) since(t time.Time) []shot {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := p.shots[:0]
	for _, s := range p.shots {
		if s.ended.After(t) {
			keep = append(keep, s)
		}
	}
	p.shots = keep
	return append([]shot(nil), keep...)
}

// fleet is a probe for each partition.
type fleet struct {
	q      *servers.Quorate
	http   *http.Client
	probes []*probe
	dead   atomic.Int64 // index of the node that is not asked; -1: none
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// newFleet starts probes that make so many writes a second together.
func newFleet(ctx context.Context, q *servers.Quorate, partitions int, rate float64) *fleet {
	f := &fleet{q: q, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: partitions, DisableCompression: true}}}
	f.dead.Store(-1)
	ctx, f.stop = context.WithCancel(ctx)
	every := time.Duration(float64(partitions) / rate * float64(time.Second))
	for p := range partitions {
		x := &probe{partition: p, key: keyOf(p, partitions)}
		f.probes = append(f.probes, x)
		f.wg.Go(func() { f.run(ctx, x, every) })
	}
	return f
}

func (f *fleet) close() {
	f.stop()
	f.wg.Wait()
	f.http.CloseIdleConnections()
}

// keyOf finds a key of a partition.
func keyOf(partition, partitions int) string {
	for i := 0; ; i++ {
		key := "probe-" + strconv.Itoa(i)
		if hashring.PartitionOf(hashring.Hash(bucket, []byte(key)), partitions) == uint32(partition) {
			return key
		}
	}
}

func (f *fleet) run(ctx context.Context, p *probe, every time.Duration) {
	rng := rand.New(rand.NewPCG(uint64(p.partition), 3))
	value := bytes.Repeat([]byte{'v'}, valueBytes)
	t := time.NewTimer(time.Duration(rng.Int64N(int64(every) + 1)))
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		s := f.shoot(ctx, f.alive(rng), p.key, value)
		s.began, s.ended = began, time.Now()
		p.mu.Lock()
		p.shots = append(p.shots, s)
		p.mu.Unlock()
		if wait := every - time.Since(began); s.ok && wait > 0 {
			t.Reset(wait)
		} else {
			t.Reset(time.Millisecond) // one that failed is tried again at once, and never spins
		}
	}
}

// alive is any node but the dead one.
func (f *fleet) alive(rng *rand.Rand) int {
	n, dead := len(f.q.Addrs()), int(f.dead.Load())
	if dead < 0 {
		return rng.IntN(n)
	}
	i := rng.IntN(n - 1)
	if i >= dead {
		i++
	}
	return i
}

func (f *fleet) shoot(ctx context.Context, node int, key string, value []byte) shot {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout+probeGrace)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+f.q.Addrs()[node]+"/v1/kv/"+bucket+"/"+key, bytes.NewReader(value))
	if err != nil {
		return shot{why: err.Error()}
	}
	req.Header.Set("Quorate-Timeout", probeTimeout.String())
	res, err := f.http.Do(req)
	if err != nil {
		return shot{why: err.Error()}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	_ = res.Body.Close()
	if err != nil {
		return shot{why: err.Error()}
	}
	if res.StatusCode != http.StatusNoContent {
		var problem struct{ Code string }
		_ = json.Unmarshal(body, &problem) // without one the status has to do
		return shot{why: fmt.Sprintf("%d %s", res.StatusCode, problem.Code)}
	}
	return shot{ok: true}
}
