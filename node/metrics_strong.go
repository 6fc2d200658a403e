package node

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// strongFigures are those of strong buckets: what this store's replicas do, what its
// primaries answer, what its judge had committed.
var strongFigures = append([]figure{
	strongCounter("strong_epoch_changes_total", "Configurations of later epochs, over the partitions of this store.", func(s *core.StrongStats) float64 { return float64(s.EpochChanges) }),
	strongCounter("strong_confirmation_rounds_total", "Confirmation rounds that primaries of this node have had answered: what leader reads cost.", func(s *core.StrongStats) float64 { return float64(s.Rounds) }),
	strongCounter("strong_commits_total", "Writes that primaries of this node have committed and answered.", func(s *core.StrongStats) float64 { return float64(s.Commits) }),
	strongCounter("strong_commit_seconds_total", "Time from their arrival to the answer, together.", func(s *core.StrongStats) float64 { return s.CommitTime.Seconds() }),
	strongCounter("strong_refused_eventual_total", "Eventual messages about strong buckets, which are refused.", func(s *core.StrongStats) float64 { return float64(s.Refused) }),
	strongCounter("strong_no_room_total", "Messages of primaries not taken, or not in full, for want of room.", func(s *core.StrongStats) float64 { return float64(s.NoRoom) }),
	strongCounter("strong_broken_total", "Partitions and reads of strong buckets that could not be trusted.", func(s *core.StrongStats) float64 { return float64(s.Broken) }),
	strongCounter("strong_scrubs_total", "Partitions of strong buckets whose values were read again and added up.", func(s *core.StrongStats) float64 { return float64(s.Scrubs) }),
	strongCounter("strong_sum_conflicts_total", "Times that values did not add up, or not to what the primary has.", func(s *core.StrongStats) float64 { return float64(s.Conflicts) }),
	strongCounter("strong_rebuilds_total", "Partitions whose values were pulled anew because of it.", func(s *core.StrongStats) float64 { return float64(s.Rebuilds) }),
	strongGauge("strong_diverged", "Partitions whose values here are wrong, and being pulled anew: nothing is answered from them.", func(s *core.StrongStats) float64 { return float64(s.Diverged) }),
	strongGauge("strong_partitions", "Partitions of strong buckets that this store holds.", func(s *core.StrongStats) float64 { return float64(s.Partitions) }),
	strongGauge("strong_primaries", "Partitions that this store is the primary of.", func(s *core.StrongStats) float64 { return float64(s.Led) }),
	strongGauge("strong_primaries_active", "Of these, those that it serves.", func(s *core.StrongStats) float64 { return float64(s.Active) }),
	strongGauge("strong_in_flight", "Requests of strong buckets that replicas of this store work on.", func(s *core.StrongStats) float64 { return float64(s.InFlight) }),
	strongGauge("strong_waiting", "Requests of strong buckets that wait for a primary, or for another store.", func(s *core.StrongStats) float64 { return float64(s.Waiting) }),
	strongGauge("strong_snapshots", "Snapshots that this store is taking from primaries.", func(s *core.StrongStats) float64 { return float64(s.Installing) }),
	strongGauge("strong_log_bytes", "Bytes of the logs of strong partitions in this store.", func(s *core.StrongStats) float64 { return float64(s.LogBytes) }),
	gauge("strong_partitions_inactive", "Partitions without an active primary, by the ring state that this node knows.", func(s *snapshot) float64 { return float64(inactiveCount(s.ring)) }),
}, judgedFigures()...)

func strongCounter(name, help string, read func(*core.StrongStats) float64) figure {
	return counter(name, help, func(s *snapshot) float64 { return read(&s.core.Strong) })
}

func strongGauge(name, help string, read func(*core.StrongStats) float64) figure {
	return gauge(name, help, func(s *snapshot) float64 { return read(&s.core.Strong) })
}

func inactiveCount(r *hashring.Ring) (n int) {
	if r == nil {
		return 0
	}
	for p := range uint32(len(r.Partitions)) {
		if c := r.Strong(p); c != nil && !c.Activated {
			n++
		}
	}
	return n
}

// strongKinds are the changes of configurations that a judge makes.
var strongKinds = [...]hashring.StrongKind{hashring.StrongPrimary, hashring.StrongJoint, hashring.StrongSettle, hashring.StrongAbort, hashring.StrongLearners, hashring.StrongActivate}

// judgedCounts counts, by strongKinds, what this node's judge has had committed.
type judgedCounts [len(strongKinds)]atomic.Uint64

func (j *judgedCounts) add(changes []hashring.StrongChange) {
	for i := range changes {
		for k := range strongKinds {
			if changes[i].Kind == strongKinds[k] {
				j[k].Add(1)
			}
		}
	}
}

func judgedFigures() (out []figure) {
	for k, kind := range strongKinds {
		desc := prometheus.NewDesc("quorate_strong_changes_total", "Changes of strong configurations that this node has committed as leader of the Raft group, by kind.", nil, prometheus.Labels{"kind": string(kind)})
		out = append(out, figure{desc, prometheus.CounterValue, func(s *snapshot) float64 { return float64(s.n.life.counts[k].Load()) }})
	}
	return out
}

var (
	lagEntries   = prometheus.NewDesc("quorate_strong_follower_lag_entries", "Log entries that a follower has not acknowledged to the primaries of this node.", []string{"node"}, nil)
	lagSnapshots = prometheus.NewDesc("quorate_strong_follower_snapshots", "Partitions led by this node in which a follower is too far behind for the log.", []string{"node"}, nil)
)

// collectLags has a line for each store that follows primaries of this node.
func collectLags(ch chan<- prometheus.Metric, r *hashring.Ring, lags map[hashring.SID]core.StrongLag) {
	byNode := map[string]core.StrongLag{}
	for sid, lag := range lags { // order-free: sums
		sum := byNode[nodeName(r, sid)]
		addLag(&sum, &lag)
		byNode[nodeName(r, sid)] = sum
	}
	for name, lag := range byNode { // order-free: the registry sorts
		ch <- prometheus.MustNewConstMetric(lagEntries, prometheus.GaugeValue, float64(lag.Entries), name)
		ch <- prometheus.MustNewConstMetric(lagSnapshots, prometheus.GaugeValue, float64(lag.Snapshots), name)
	}
}

func addLag(t, l *core.StrongLag) {
	t.Partitions += l.Partitions
	t.Entries += l.Entries
	t.Snapshots += l.Snapshots
}

// addStrong adds up what the shards say.
func addStrong(t, s *core.StrongStats) {
	t.EpochChanges += s.EpochChanges
	t.Rounds += s.Rounds
	t.Commits += s.Commits
	t.CommitTime += s.CommitTime
	t.Refused += s.Refused
	t.NoRoom += s.NoRoom
	t.Broken += s.Broken
	t.Partitions += s.Partitions
	t.Led += s.Led
	t.Active += s.Active
	t.InFlight += s.InFlight
	t.Waiting += s.Waiting
	t.Installing += s.Installing
	t.Diverged += s.Diverged
	t.Scrubs += s.Scrubs
	t.Conflicts += s.Conflicts
	t.Rebuilds += s.Rebuilds
	t.LogBytes += s.LogBytes
	for sid, lag := range s.Lags {
		sum := t.Lags[sid]
		addLag(&sum, &lag)
		t.Lags[sid] = sum
	}
}
