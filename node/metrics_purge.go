package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/node/core"
)

// purgeFigures are those of purge rounds: what waits is quorate_tombstones.
var purgeFigures = append([]figure{
	purged("purge_rounds_begun_total", "Purge rounds begun by this node.", func(s *core.PurgeStats) uint64 { return s.Begun }),
	purged("purge_rounds_committed_total", "Purge rounds of this node that the ring state took.", func(s *core.PurgeStats) uint64 { return s.Committed }),
	purged("purge_dropped_keys_total", "Deleted keys dropped in this store after a round.", func(s *core.PurgeStats) uint64 { return s.Dropped }),
	purged("purge_converted_keys_total", "Keys with expired values that became tombstones in this store after a round.", func(s *core.PurgeStats) uint64 { return s.Converted }),
	gauge("purge_rounds_running", "Purge rounds that this node leads now.", func(s *snapshot) float64 { return float64(s.core.Purge.Running) }),
}, purgeReasons()...)

func purged(name, help string, read func(*core.PurgeStats) uint64) figure {
	return counter(name, help, func(s *snapshot) float64 { return float64(read(&s.core.Purge)) })
}

// purgeReasons has two lines for each reason for which rounds end or do not begin.
func purgeReasons() (out []figure) {
	for why := antientropy.NotBlocked + 1; why < antientropy.WhyCount; why++ {
		reason := prometheus.Labels{"reason": why.String()}
		ended := prometheus.NewDesc("quorate_purge_rounds_aborted_total", "Purge rounds of this node that ended without a commit, by reason.", nil, reason)
		stands := prometheus.NewDesc("quorate_purge_blocked_partitions", "Partitions led by this node whose tombstones wait and that have no round now, by reason.", nil, reason)
		out = append(out,
			figure{ended, prometheus.CounterValue, func(s *snapshot) float64 { return float64(s.core.Purge.Aborted[why]) }},
			figure{stands, prometheus.GaugeValue, func(s *snapshot) float64 { return float64(s.core.Purge.Blocked[why]) }})
	}
	return out
}
