package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/frames"
	"github.com/quoratedb/quorate/node/wire"
)

// framesPort opens the port of frames where one is configured. A port that others
// could reach without a token is refused before anything starts.
func framesPort(cfg Config, s seams) (net.Listener, frames.Token, error) {
	if cfg.Frames == "" {
		return nil, nil, nil
	}
	var token frames.Token
	if cfg.FramesTokenFile != "" {
		var err error
		if token, err = frames.LoadToken(cfg.FramesTokenFile); err != nil {
			return nil, nil, fmt.Errorf("--frames-token-file: %w", err)
		}
	}
	l, err := listen(s, "--frames", cfg.Frames)
	if err != nil {
		return nil, nil, err
	}
	if err := frames.CheckListen(l.Addr(), token); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("--frames %s: %w", cfg.Frames, err), l.Close())
	}
	return l, token, nil
}

// serveFrames lets clients in by frames, where a port is open for them.
func (n *Node) serveFrames(p *ports) error {
	if p.frames == nil {
		return nil
	}
	n.framesAddr = p.frames.Addr().String()
	m := newFramesMetrics(n.registry)
	var err error
	n.frames, err = frames.Serve(p.frames, frames.Config{
		Backend: backend{n},
		Self: func() api.Self {
			id := n.store.Identity()
			return api.Self{SID: id.SID, Node: n.cfg.Name, Cluster: id.Cluster}
		},
		Token: p.token, Observe: m.observe, MaxValue: n.cfg.MaxValueBytes, MaxTotal: n.cfg.MaxInFlight, Log: n.log,
	})
	if err == nil {
		m.follow(n.registry, n.frames)
	}
	return err
}

// FramesAddr is where clients may come in by frames, "" if nowhere.
func (n *Node) FramesAddr() string { return n.framesAddr }

// stopFrames drains the port.
func (n *Node) stopFrames(ctx context.Context) error {
	if n.frames == nil {
		return nil
	}
	return n.frames.Shutdown(ctx)
}

// Submit is for frames.Backend.
func (b backend) Submit(ring *hashring.Ring, reqs []*core.Request) {
	for len(reqs) > submitRoom {
		b.n.router.submit(ring, reqs[:submitRoom])
		reqs = reqs[submitRoom:]
	}
	b.n.router.submit(ring, reqs)
}

// submitRoom is how many requests are handed over at a time: about what one read of
// a connection brings.
const submitRoom = 64

// submit hands at most submitRoom requests to their shards and returns: those of one
// shard go in one step, so that they share its wake-up and its batch.
func (r *router) submit(ring *hashring.Ring, reqs []*core.Request) {
	var at [submitRoom]int
	for i, req := range reqs {
		at[i] = r.shardOf(ring, req)
	}
	var room [submitRoom]core.Event
	for i, s := range r.shards {
		events := room[:0]
		for k, req := range reqs {
			if at[k] == i {
				events = append(events, core.Event{Request: req})
			}
		}
		if len(events) == 0 {
			continue
		}
		if s.mailbox.late() { // its queue would only grow, and everybody's time with it
			for _, e := range events {
				r.reply(e.Request.Waiter, late(e.Request))
			}
			continue
		}
		for _, e := range events[s.mailbox.putAll(events, maxMailbox):] {
			r.reply(e.Request.Waiter, busy(e.Request))
		}
	}
}

// late sheds a request for a shard that has not kept up for a while.
func late(req *core.Request) *core.Reply {
	return &core.Reply{Code: core.Overloaded, Outcome: fate(req, core.NotApplied), Detail: "requests wait too long for this shard", RetryAfter: api.ShedRetryAfter}
}

// putAll is put for several items, as many of the first as there is room for; it
// returns their number.
func (q *queue[T]) putAll(items []T, bound int) int {
	q.mu.Lock()
	n := min(len(items), max(0, bound-len(q.items)))
	first := len(q.items) == 0 && n > 0
	q.items = append(q.items, items[:n]...)
	if first {
		q.since = time.Since(q.began)
	}
	q.mu.Unlock()
	if first {
		q.wake()
	}
	return n
}

// framesMetrics resolves each label combination once, as those of HTTP do.
type framesMetrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	bytesIn  prometheus.Histogram
	bytesOut prometheus.Histogram

	counters  [framesOps][api.CodeCount][framesModes]atomic.Pointer[prometheus.Counter]
	latencies [framesOps]prometheus.Observer
}

const (
	framesOps   = wire.ClientIncrement + 1 // 0: not known
	framesModes = 3
)

var framesModeNames = [framesModes]string{"none", string(hashring.Eventual), string(hashring.Strong)}

func newFramesMetrics(reg prometheus.Registerer) *framesMetrics {
	m := &framesMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "quorate_frames_requests_total",
			Help: "Requests answered by frames, by operation, code of the error table and bucket mode."}, []string{"op", "code", "mode"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "quorate_frames_request_seconds",
			Help: "Time from the read request to the encoded answer, by operation.", Buckets: framesLatencies}, []string{"op"}),
		bytesIn: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "quorate_frames_value_in_bytes",
			Help: "Sizes of values written by frames.", Buckets: framesSizes}),
		bytesOut: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "quorate_frames_value_out_bytes",
			Help: "Sizes of values read by frames.", Buckets: framesSizes}),
	}
	for op := range framesOps {
		m.latencies[op] = m.latency.WithLabelValues(opLabel(op))
	}
	reg.MustRegister(m.requests, m.latency, m.bytesIn, m.bytesOut)
	return m
}

func opLabel(op wire.ClientOp) string {
	if op == 0 {
		return "other"
	}
	return op.String()
}

// Buckets as those of HTTP, in seconds and in bytes.
var (
	framesLatencies = []float64{50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 1.6e-3, 3e-3, 6e-3, 12e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2, 10, 60}
	framesSizes     = []float64{0, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}
)

// follow shows what the server itself counts.
func (m *framesMetrics) follow(reg prometheus.Registerer, s *frames.Server) {
	for _, f := range []struct {
		name, help string
		read       func(frames.Stats) float64
	}{
		{"quorate_frames_connections", "Connections of clients.", func(s frames.Stats) float64 { return float64(s.Conns) }},
		{"quorate_frames_in_flight", "Requests being served.", func(s frames.Stats) float64 { return float64(s.InFlight) }},
	} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: f.name, Help: f.help}, func() float64 { return f.read(s.Stats()) }))
	}
	for _, f := range []struct {
		name, help string
		read       func(frames.Stats) uint64
	}{
		{"quorate_frames_accepted_total", "Connections accepted.", func(s frames.Stats) uint64 { return s.Accepted }},
		{"quorate_frames_refused_total", "Connections refused in the hello: token, version, cluster, limit.", func(s frames.Stats) uint64 { return s.Refused }},
		{"quorate_frames_cut_total", "Connections ended for broken frames or for not reading replies.", func(s frames.Stats) uint64 { return s.Cut }},
		{"quorate_frames_shed_total", "Requests refused because the node was at its limit.", func(s frames.Stats) uint64 { return s.Shed }},
		{"quorate_frames_writes_total", "Write system calls towards clients.", func(s frames.Stats) uint64 { return s.Writes }},
		{"quorate_frames_reads_total", "Read system calls from clients.", func(s frames.Stats) uint64 { return s.Reads }},
	} {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: f.name, Help: f.help}, func() float64 { return float64(f.read(s.Stats())) }))
	}
}

// observe counts one answered request.
func (m *framesMetrics) observe(s *frames.Served) {
	op := min(s.Op, framesOps-1)
	mode := 0
	switch s.Mode {
	case hashring.Eventual:
		mode = 1
	case hashring.Strong:
		mode = 2
	}
	p := &m.counters[op][s.Code][mode]
	c := p.Load()
	if c == nil {
		made := m.requests.WithLabelValues(opLabel(op), s.Code.String(), framesModeNames[mode])
		c = &made
		p.Store(c)
	}
	(*c).Inc()
	m.latencies[op].Observe(s.Took.Seconds())
	if s.Code != api.OK {
		return
	}
	switch op {
	case wire.ClientPut:
		m.bytesIn.Observe(float64(s.In))
	case wire.ClientGet:
		m.bytesOut.Observe(float64(s.Out))
	}
}
