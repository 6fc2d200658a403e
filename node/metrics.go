package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// totals adds up the newest statistics of all shards.
func (n *Node) totals() core.Stats {
	t := core.Stats{HintsByTarget: map[hashring.SID]uint64{}, Strong: core.StrongStats{Lags: map[hashring.SID]core.StrongLag{}}}
	for _, s := range n.router.shards {
		if p := s.stats.Load(); p != nil {
			addStats(&t, p)
		}
	}
	return t
}

func addStats(t, s *core.Stats) {
	t.Reads += s.Reads
	t.Writes += s.Writes
	t.Refused += s.Refused
	t.Forwards += s.Forwards
	t.Hedges += s.Hedges
	t.Suspicions += s.Suspicions
	t.Replans += s.Replans
	t.ReadRepairs += s.ReadRepairs
	t.LWWDropped += s.LWWDropped
	t.Guarded += s.Guarded
	t.Filled += s.Filled
	t.SkewRefused += s.SkewRefused
	t.HintsKept += s.HintsKept
	t.HintsDelivered += s.HintsDelivered
	t.HintsRefused += s.HintsRefused
	t.HintsDropped += s.HintsDropped
	t.HintsMoved += s.HintsMoved
	t.MarksMade += s.MarksMade
	t.MarksCleared += s.MarksCleared
	t.Marks += s.Marks
	t.Expiring += s.Expiring
	t.Repair.Add(&s.Repair)
	addStrong(&t.Strong, &s.Strong)
	if s.OldestHintMS != 0 && (t.OldestHintMS == 0 || s.OldestHintMS < t.OldestHintMS) {
		t.OldestHintMS = s.OldestHintMS
	}
	t.ParkedDropped += s.ParkedDropped
	t.Corrupt += s.Corrupt
	t.Purge.Add(&s.Purge)
	t.Ops += s.Ops
	t.OverlayBytes += s.OverlayBytes
	t.Parked += s.Parked
	t.Keys += s.Keys
	t.Tombstones += s.Tombstones
	t.Bytes += s.Bytes
	t.Hints += s.Hints
	t.HintBytes += s.HintBytes
	for target, hints := range s.HintsByTarget {
		t.HintsByTarget[target] += hints
	}
}

// figure is one line of /metrics read from the node when it is scraped.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*snapshot) float64
}

// snapshot is what one scrape reads.
type snapshot struct {
	n     *Node
	core  core.Stats
	store storeStats
	ring  *hashring.Ring
}

func (s *snapshot) hintAge() float64 {
	if s.core.OldestHintMS == 0 {
		return 0
	}
	return max(0, float64(s.n.now().WallMS-s.core.OldestHintMS)/1000)
}

func counter(name, help string, read func(*snapshot) float64) figure {
	return figure{prometheus.NewDesc("quorate_"+name, help, nil, nil), prometheus.CounterValue, read}
}

func gauge(name, help string, read func(*snapshot) float64) figure {
	return figure{prometheus.NewDesc("quorate_"+name, help, nil, nil), prometheus.GaugeValue, read}
}

// figures of a node beyond what the HTTP API counts by itself.
var figures = []figure{
	counter("coordinator_reads_total", "Reads coordinated by this node.", func(s *snapshot) float64 { return float64(s.core.Reads) }),
	counter("coordinator_writes_total", "Writes acknowledged by this node.", func(s *snapshot) float64 { return float64(s.core.Writes) }),
	counter("coordinator_refused_total", "Requests refused before they changed anything.", func(s *snapshot) float64 { return float64(s.core.Refused) }),
	counter("coordinator_forwards_total", "Writes forwarded to an owner.", func(s *snapshot) float64 { return float64(s.core.Forwards) }),
	counter("coordinator_hedges_total", "Reads that asked a spare replica because one was late.", func(s *snapshot) float64 { return float64(s.core.Hedges) }),
	counter("coordinator_replans_total", "Requests planned anew because owners had begun a newer stage of the partition.", func(s *snapshot) float64 { return float64(s.core.Replans) }),
	counter("coordinator_suspicions_total", "Times a store was avoided because it did not answer.", func(s *snapshot) float64 { return float64(s.core.Suspicions) }),
	counter("read_repairs_total", "Replicas sent a newer version by a read.", func(s *snapshot) float64 { return float64(s.core.ReadRepairs) }),
	counter("skew_refused_total", "Writes refused because their stamp was too far ahead of this node's clock.", func(s *snapshot) float64 { return float64(s.core.SkewRefused) }),
	counter("guarded_total", "Objects that came late and brought what had been purged.", func(s *snapshot) float64 { return float64(s.core.Guarded) }),
	counter("filled_total", "Stores in partitions that this store has filled until they were full.", func(s *snapshot) float64 { return float64(s.core.Filled) }),
	counter("lww_dropped_total", "Concurrent values dropped by last-write-wins buckets.", func(s *snapshot) float64 { return float64(s.core.LWWDropped) }),
	counter("hints_kept_total", "Hints written for unreachable owners.", func(s *snapshot) float64 { return float64(s.core.HintsKept) }),
	counter("hints_delivered_total", "Hints this store took from others.", func(s *snapshot) float64 { return float64(s.core.HintsDelivered) }),
	counter("hints_refused_total", "Hints refused because their budget was used up.", func(s *snapshot) float64 { return float64(s.core.HintsRefused) }),
	counter("corrupt_records_total", "Reads of records that failed their checksum.", func(s *snapshot) float64 { return float64(s.core.Corrupt) }),
	counter("hints_dropped_total", "Hints dropped over their budget or for their age, once the other owners had what they held.", func(s *snapshot) float64 { return float64(s.core.HintsDropped) }),
	counter("hints_moved_total", "Hints given to the owners of now, their target having left.", func(s *snapshot) float64 { return float64(s.core.HintsMoved) }),
	counter("hint_marks_total", "Times that a partition was marked as lacking something at one of its owners.", func(s *snapshot) float64 { return float64(s.core.MarksMade) }),
	counter("hint_marks_cleared_total", "Marks cleared, the owner having been compared in full.", func(s *snapshot) float64 { return float64(s.core.MarksCleared) }),
	gauge("hint_marks", "Marks that stand.", func(s *snapshot) float64 { return float64(s.core.Marks) }),
	gauge("hints_oldest_seconds", "Age of the oldest hint held for others.", func(s *snapshot) float64 { return s.hintAge() }),
	gauge("hints", "Hints held for others.", func(s *snapshot) float64 { return float64(s.core.Hints) }),
	gauge("hints_bytes", "Bytes of the hints held for others.", func(s *snapshot) float64 { return float64(s.core.HintBytes) }),
	gauge("keys", "Live keys of eventual buckets in this store.", func(s *snapshot) float64 { return float64(s.core.Keys) }),
	gauge("tombstones", "Deleted keys whose tombstones are still kept.", func(s *snapshot) float64 { return float64(s.core.Tombstones) }),
	gauge("record_bytes", "Bytes of the records in this store, before compression.", func(s *snapshot) float64 { return float64(s.core.Bytes) }),
	gauge("requests_open", "Requests under way in the shards.", func(s *snapshot) float64 { return float64(s.core.Ops) }),
	gauge("unsynced_bytes", "Bytes staged and not yet durable.", func(s *snapshot) float64 { return float64(s.core.OverlayBytes) }),
	gauge("ring_version", "Version of the ring state this node knows.", func(s *snapshot) float64 {
		if s.ring == nil {
			return 0
		}
		return float64(s.ring.Version)
	}),
	gauge("peers_alive", "Members that gossip sees alive, this node included.", func(s *snapshot) float64 { return float64(s.n.aliveCount()) }),
	counter("store_syncs_total", "File syncs of the store.", func(s *snapshot) float64 { return float64(s.store.Syncs) }),
	counter("store_sync_seconds_total", "Time spent in them.", func(s *snapshot) float64 { return s.store.SyncTime.Seconds() }),
	counter("store_written_bytes_total", "Bytes written by the store, compaction included.", func(s *snapshot) float64 { return float64(s.store.Written) }),
	counter("store_stalls_total", "Writes slowed down by compaction.", func(s *snapshot) float64 { return float64(s.store.Delays) }),
	gauge("store_table_bytes", "Bytes of the store's tables.", func(s *snapshot) float64 { return float64(s.store.TableBytes) }),
	counter("peer_messages_sent_total", "Messages sent to peers.", func(s *snapshot) float64 { return float64(s.n.peers.Stats().Sent) }),
	counter("peer_messages_dropped_total", "Messages to peers dropped for a full or missing connection.", func(s *snapshot) float64 { return float64(s.n.peers.Stats().Dropped) }),
	counter("peer_writes_total", "Write system calls towards peers.", func(s *snapshot) float64 { return float64(s.n.peers.Stats().Writes) }),
}

func allFigures() [][]figure {
	return [][]figure{figures, repairFigures, purgeFigures, strongFigures, lossFigures}
}

// Describe and Collect make a node a prometheus.Collector.
func (n *Node) Describe(ch chan<- *prometheus.Desc) {
	for _, list := range allFigures() {
		for _, f := range list {
			ch <- f.desc
		}
	}
	ch <- lagEntries
	ch <- lagSnapshots
	ch <- debtKeys
	ch <- debtBehind
}

// Collect reads every figure once.
func (n *Node) Collect(ch chan<- prometheus.Metric) {
	s := &snapshot{n: n, core: n.totals(), store: n.store.Stats(), ring: n.ring.Load()}
	for _, list := range allFigures() {
		for _, f := range list {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.read(s))
		}
	}
	collectDebts(ch, s.core.Repair.Debts)
	collectLags(ch, s.ring, s.core.Strong.Lags)
}

func newRegistry(n *Node) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(n, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
