package sim

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// Silent divergence (D5): what one store has applied of a strong key is not what the log
// says, every checksum fits, and the store does not know. Until the store or its peers
// have found it, a read that is answered from those values may show what is there; from
// then on nobody is shown it, and in the end it is gone.

// drift is one such value.
type drift struct {
	n     *node
	eng   *engine // the store's: a new store has nothing of it
	p     uint32
	key   recordKey
	wrong *strong.Value // what is there; nil: nothing
	sums  bool          // the sum that its store keeps fits it
	began time.Duration
	found time.Duration // when the store began to say of itself that it is wrong; 0: not yet
}

// driftRest is how long nobody may have used a key before it drifts: what clients are
// shown before it is found is wrong, so their workloads must not work with it any more.
const driftRest = 20 * time.Second

// driftWatch is how often, at most, somebody reads the key until it is right again.
const driftWatch = 3 * time.Second

// driftEvery is how far apart two of them begin, at least: while one is there no store
// may be lost, so that its peers can mend it, and other damage waits.
const driftEvery = 3 * time.Minute

// longLog is a bound of logs that no member falls behind in while a drift is live. A store
// whose sum fits its wrong values must not be the one that others take theirs from: they
// would outvote what is right (docs/design/2026-11-22-strong-log.md).
const longLog = 1000

// live tells that the value is still there.
func (d *drift) live() bool {
	if d == nil || d.n.ownDisk() != d.eng {
		return false
	}
	now, there := d.eng.parts[d.p].strong.values()[d.key]
	if there != (d.wrong != nil) {
		return false
	}
	return !there || now == d.wrong
}

// drifts changes one value at n that every other member has right: if more than one were
// wrong, those that are could outvote the others.
func (t *strongTruth) drifts(n *node, r *rand.Rand) {
	w := t.w
	if k := len(t.drifted); !n.running() || !w.canLose(n) || k > 0 && w.now < t.drifted[k-1].began+driftEvery {
		return
	}
	p := uint32(r.IntN(w.draw.Partitions))
	rows, key := n.eng.parts[p].strong, t.coldKey(p, r)
	if rows == nil || key == "" || !t.agreed(p, n, key) {
		return
	}
	d := &drift{n: n, eng: n.eng, p: p, key: recordKey{t.bucket, key}, began: w.now}
	if d.wrong = t.otherValue(p, key, r); sameValue(d.wrong, t.part(p).valueAt(key, rows.hard.Applied)) {
		return
	}
	if d.sums = r.IntN(3) == 0 && w.draw.Strong.LogEntries > longLog; d.sums { // as a write that was lost would leave it
		n.kill(true)
		w.do(between(r, 10*time.Millisecond, time.Second), n.start)
	}
	w.note("%s: %q of strong p%d becomes %s by itself", n.name, key, p, drawValue(d.wrong))
	w.probe.hit(pDrifted)
	values := rows.values()
	if d.sums {
		rows.hard.Sum += strong.SumOf(t.bucket, []byte(key), d.wrong) - strong.SumOf(t.bucket, []byte(key), values[d.key])
	}
	if delete(values, d.key); d.wrong != nil {
		values[d.key] = d.wrong
	}
	t.drifted, n.eng.drift = append(t.drifted, d), d
	t.watch(d, r)
}

// coldKey draws a key that workloads have done with; empty: there is none.
func (t *strongTruth) coldKey(p uint32, r *rand.Rand) string {
	var keys []string
	for key, list := range t.part(p).effects { // order-free: they are sorted
		if len(key) > 1 && list[len(list)-1].Value.Live() {
			at, _, _ := strings.Cut(key[1:], ".")
			if n, err := strconv.Atoi(at); err == nil && time.Duration(n+1)*era+driftRest < t.w.now {
				keys = append(keys, key)
			}
		}
	}
	if len(keys) == 0 {
		return ""
	}
	slices.Sort(keys)
	return keys[r.IntN(len(keys))]
}

// agreed tells that n is one of three members at least, and that all of them are well and
// have on disk what the log says of the key.
func (t *strongTruth) agreed(p uint32, n *node, key string) bool {
	c := t.w.auth.state.Partitions[p].Strong
	if c == nil || len(c.Sets) != 1 || len(c.Sets[0]) < 3 || len(c.Learners) > 0 || !c.IsMember(n.sid) {
		return false
	}
	sp := t.part(p)
	for _, sid := range c.Sets[0] {
		m := t.w.holder(sid)
		if m == nil || m.eng.parts[p].strong == nil {
			return false
		}
		rows := m.eng.parts[p].strong
		if rows.hard.Diverged || !sameValue(rows.values()[recordKey{t.bucket, key}], sp.valueAt(key, uint64(len(sp.log)))) {
			return false
		}
	}
	return true
}

// otherValue is what the key may have instead: what it had before, nothing, or the same
// with a bit changed before its checksum was made.
func (t *strongTruth) otherValue(p uint32, key string, r *rand.Rand) *strong.Value {
	list := t.part(p).effects[key]
	switch k := r.IntN(4); {
	case k == 0:
		return nil
	case k < 3 && len(list) > 1:
		old := *list[r.IntN(len(list)-1)].Value
		return &old
	}
	v := *list[len(list)-1].Value
	v.Data = bytes.Clone(v.Data)
	if len(v.Data) > 0 {
		v.Data[r.IntN(len(v.Data))] ^= 1
	}
	v.Sum = crc32.Checksum(v.Data, castagnoli)
	return &v
}

// watch has somebody read the key now and then, at its store or elsewhere and at every
// level, until it is right again.
func (t *strongTruth) watch(d *drift, r *rand.Rand) {
	w := t.w
	w.do(between(r, driftWatch/8, driftWatch), func() {
		if !d.live() || w.load.stopped {
			return
		}
		n := d.n
		if r.IntN(2) == 0 {
			n = w.nodes[r.IntN(len(w.nodes))]
		}
		levels := []core.Level{core.LevelLeader, core.LevelQuorum, core.LevelReplica, core.LevelStale}
		w.load.ask(w, n, &client{id: len(w.load.clients) + 1, tokens: map[*keyTruth]*token{}},
			&core.Request{Op: core.OpGet, Bucket: strongBucket, Key: []byte(d.key.key), Level: levels[r.IntN(len(levels))], Timeout: between(r, 200*time.Millisecond, 4*time.Second)}, nil)
		t.watch(d, r)
	})
}

// excused tells that a read may show what it does: it is a value that drifted, its store
// had not been found out when the read began, and that store may have answered.
func (t *strongTruth) excused(c *call, v *strong.Value) bool {
	s := c.strong
	for _, d := range t.drifted {
		if s.partition != d.p || s.key != d.key.key || d.found > 0 && d.found < c.began || !sameValue(v, d.wrong) {
			continue
		}
		led := t.part(d.p).configs[s.epoch] // of the whole read, and its primary has confirmed that it is
		if s.level != core.LevelLeader || led == nil || led.primary == d.n.sid || s.epoch != t.part(d.p).epoch {
			return true
		}
	}
	return false
}

// unsound tells that a store has wrong values and a sum that fits them.
func (t *strongTruth) unsound(p uint32) bool {
	return slices.ContainsFunc(t.drifted, func(d *drift) bool { return d.p == p && d.sums && d.live() })
}

// foundOut: a store says of itself that its values are wrong.
func (t *strongTruth) foundOut(n *node, p uint32) {
	for _, d := range t.drifted {
		if d.n == n && d.p == p && d.found == 0 && d.live() {
			d.found = t.w.now
			t.w.probe.hit(pDriftFound)
		}
	}
}
