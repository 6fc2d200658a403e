package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/node/core"
)

// repairFigures are those of anti-entropy, scrub and mending.
var repairFigures = append(exchangeResults(), []figure{
	repaired("exchange_requests_total", "Requests of exchanges that others lead, answered here.", func(r *core.RepairStats) uint64 { return r.Served }),
	repaired("exchange_keys_differed_total", "Keys found to differ by exchanges led here.", func(r *core.RepairStats) uint64 { return r.Differed }),
	repaired("exchange_keys_merged_total", "Keys merged here because of exchanges.", func(r *core.RepairStats) uint64 { return r.Merged }),
	repaired("exchange_read_bytes_total", "Bytes of leaf rows and records read for exchanges.", func(r *core.RepairStats) uint64 { return r.ReadBytes }),
	repaired("exchange_sent_bytes_total", "Bytes of the messages of exchanges sent, before compression.", func(r *core.RepairStats) uint64 { return r.OutBytes }),
	repaired("exchange_received_bytes_total", "Bytes of the messages of exchanges received.", func(r *core.RepairStats) uint64 { return r.InBytes }),
	repaired("tree_checks_total", "Hash trees held against their leaf rows.", func(r *core.RepairStats) uint64 { return r.TreeChecks }),
	repaired("tree_drift_leaves_total", "Leaves of hash trees found to differ from their rows.", func(r *core.RepairStats) uint64 { return r.Drift }),
	repaired("scrubbed_rows_total", "Records and leaf rows that the scrub has read.", func(r *core.RepairStats) uint64 { return r.Scrubbed }),
	repaired("damaged_records_total", "Records found damaged, or not what their leaf row says.", func(r *core.RepairStats) uint64 { return r.Damaged }),
	repaired("mended_records_total", "Damaged records taken anew from the other owners.", func(r *core.RepairStats) uint64 { return r.Mended }),
	repaired("mended_short_total", "Damaged records mended from fewer than a read quorum, since other owners' were damaged too: what only those held is lost.", func(r *core.RepairStats) uint64 { return r.MendedShort }),
	repaired("repair_read_errors_total", "Slices that repair could not read.", func(r *core.RepairStats) uint64 { return r.ReadErrors }),
	gauge("damaged_records", "Records in quarantine now.", func(s *snapshot) float64 { return float64(s.core.Repair.Quarantined) }),
	gauge("repair_debt_partitions", "Partitions with keys known to differ, or not compared since the start.", func(s *snapshot) float64 { return float64(s.core.Repair.Behindhand) }),
	gauge("repair_wanted", "Thorough exchanges that are wanted: dirty marks, purge rounds, refills.", func(s *snapshot) float64 { return float64(s.core.Repair.Dirty) }),
	gauge("repair_running", "Exchanges led now.", func(s *snapshot) float64 { return float64(s.core.Repair.Running) }),
	gauge("repair_unread_trees", "Hash trees that are not read yet since the start.", func(s *snapshot) float64 { return float64(s.core.Repair.UnknownTrees) }),
	gauge("repair_rate_bytes", "Bytes a second that background work may use now.", func(s *snapshot) float64 { return float64(s.core.Repair.Rate) }),
	gauge("foreground_p99_seconds", "p99 of the client requests of the last second, as the pacer sees it; the worst shard's.", func(s *snapshot) float64 { return s.core.Repair.P99.Seconds() }),
}...)

func repaired(name, help string, read func(*core.RepairStats) uint64) figure {
	return counter(name, help, func(s *snapshot) float64 { return float64(read(&s.core.Repair)) })
}

// exchangeResults has a line for each way in which an exchange led here may end.
func exchangeResults() (out []figure) {
	result := func(label string, read func(*core.RepairStats) uint64) {
		desc := prometheus.NewDesc("quorate_exchanges_total", "Exchanges led here, by how they ended.", nil, prometheus.Labels{"result": label})
		out = append(out, figure{desc, prometheus.CounterValue, func(s *snapshot) float64 { return float64(read(&s.core.Repair)) }})
	}
	result("equal", func(r *core.RepairStats) uint64 { return r.Equal })
	result("complete", func(r *core.RepairStats) uint64 { return r.Complete - r.Equal })
	result("incomplete", func(r *core.RepairStats) uint64 { return r.Results[antientropy.ReasonNone] - r.Complete })
	for why := antientropy.ReasonNone + 1; why < antientropy.ReasonCount; why++ {
		result(why.String(), func(r *core.RepairStats) uint64 { return r.Results[why] })
	}
	return out
}

var (
	debtKeys   = prometheus.NewDesc("quorate_repair_debt_keys", "About how many keys of a partition are known to differ from a replica and are not repaired.", []string{"partition"}, nil)
	debtBehind = prometheus.NewDesc("quorate_repair_behind_seconds", "Since the beginning of the last complete exchange of a partition with each of its replicas.", []string{"partition"}, nil)
)

// collectDebts: a partition has one shard, so that no line comes twice.
func collectDebts(ch chan<- prometheus.Metric, debts []antientropy.Debt) {
	for i := range debts {
		partition := strconv.FormatUint(uint64(debts[i].Partition), 10)
		ch <- prometheus.MustNewConstMetric(debtKeys, prometheus.GaugeValue, float64(debts[i].Keys), partition)
		ch <- prometheus.MustNewConstMetric(debtBehind, prometheus.GaugeValue, debts[i].Behind.Seconds(), partition)
	}
}
