package httpapi

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/hashring"
)

// op is an operation as metrics know it: a closed set, so that labels are bounded.
type op uint8

const (
	opOther op = iota // no route, or shed before routing
	opGet
	opHead
	opPut
	opDelete
	opList
	opMultiGet
	opBatch
	opBuckets
	opCluster
	opRing
	opLocate
	opInspect
	opHints
	opRepair
	opCounter
	opProbe
	opMetrics
	opReserved
	opCount
)

var opNames = [opCount]string{"other", "get", "head", "put", "delete", "list", "multi_get", "batch", "buckets",
	"cluster", "ring", "locate", "inspect", "hints", "repair", "counter", "probe", "metrics", "reserved"}

// Bucket modes as labels.
var modeNames = [...]string{"none", string(hashring.Eventual), string(hashring.Strong)}

func modeIndex(m hashring.Mode) int {
	switch m {
	case hashring.Eventual:
		return 1
	case hashring.Strong:
		return 2
	}
	return 0
}

// metrics resolves each label combination once: a request then costs an array
// index and an atomic add instead of hashing label values.
type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	shed     prometheus.Counter
	bytesIn  prometheus.Histogram
	bytesOut prometheus.Histogram

	counters  [opCount][codeCount][len(modeNames)]atomic.Pointer[prometheus.Counter]
	latencies [opCount]prometheus.Observer
}

// Buckets of the latency histograms, in seconds: the budgets are tens of
// microseconds, the longest deadline is a minute.
var latencyBuckets = []float64{50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 1.6e-3, 3e-3, 6e-3, 12e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2, 10, 60}

// Buckets of the size histograms, in bytes, to the hard cap of a value.
var sizeBuckets = []float64{0, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}

func newMetrics(inFlight func() int64, reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "quorate_http_requests_total",
			Help: "Requests answered, by operation, code of the error table and bucket mode."}, []string{"op", "code", "mode"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "quorate_http_request_seconds",
			Help: "Time from the parsed headers to the answer, by operation.", Buckets: latencyBuckets}, []string{"op"}),
		shed: prometheus.NewCounter(prometheus.CounterOpts{Name: "quorate_http_shed_total",
			Help: "Requests refused because the node was at its limit."}),
		bytesIn: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "quorate_http_value_in_bytes",
			Help: "Sizes of values written.", Buckets: sizeBuckets}),
		bytesOut: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "quorate_http_value_out_bytes",
			Help: "Sizes of values read.", Buckets: sizeBuckets}),
	}
	for o, name := range opNames {
		m.latencies[o] = m.latency.WithLabelValues(name)
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.latency, m.shed, m.bytesIn, m.bytesOut,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "quorate_http_in_flight",
				Help: "Requests being served."}, func() float64 { return float64(inFlight()) }))
	}
	return m
}

// observe counts a finished call.
func (m *metrics) observe(c *call, took time.Duration) {
	o := c.op.name
	if o == opGet && c.method == http.MethodHead {
		o = opHead
	}
	m.counter(o, c.code, modeIndex(c.mode)).Inc()
	m.latencies[o].Observe(took.Seconds())
	if c.code != codeOK {
		return
	}
	switch o {
	case opPut:
		m.bytesIn.Observe(float64(c.in))
	case opGet:
		m.bytesOut.Observe(float64(c.out))
	}
}

func (m *metrics) counter(o op, code code, mode int) prometheus.Counter {
	p := &m.counters[o][code][mode]
	if found := p.Load(); found != nil {
		return *found
	}
	made := m.requests.WithLabelValues(opNames[o], errorTable[code].name, modeNames[mode])
	p.Store(&made)
	return made
}
