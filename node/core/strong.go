package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongs is the part of a shard that drives the replicas of its strong partitions
// (PROTOCOLS.md, 3). Of a step each touched replica sees Begin, its inputs and Finish;
// what it stages goes into the step's one batch, what it sends leaves with it, several
// messages to one store as one. No step walks all partitions.
type strongs struct {
	eng      StrongEngine
	parts    map[uint32]*strongPart
	touched  []*strongPart // in this step, not finished
	unsynced []*strongPart // have staged what is not durable
	wakes    wakes
	parcels  []Gated // of the replica that is being finished
	out      bool    // the ring has this store as suspect, and the replicas know
	records  int     // effects in the batch before
	stats    strongCounts
	scrub    strongScrub
	spread   strongSpread
	holding  fifo[holding] // partitions that hold rows, the longest first
	held     int           // bytes of them

	peeks    map[uint64]peeker // questions of quorum reads, by their ids
	lastPeek uint64
	downs    map[hashring.SID]time.Duration // stores whose connection was lost, until when
	running  int                            // requests that replicas here work on
}

// strongCounts is what strong partitions have come across since the process started.
type strongCounts struct {
	Epochs     uint64        // configurations of later epochs
	Broken     uint64        // partitions, or reads, that could not be trusted
	NoRoom     uint64        // messages that were not taken, or not in full: no room
	Refused    uint64        // eventual messages about strong buckets (S15)
	Commits    uint64        // writes committed by primaries here
	CommitTime time.Duration // from their arrival to their answer, together
}

func newStrongs(eng StrongEngine, starts uint64) strongs {
	return strongs{eng: eng, parts: map[uint32]*strongPart{}, peeks: map[uint64]peeker{}, downs: map[hashring.SID]time.Duration{}, lastPeek: starts << strongBoot}
}

// strongPart is a strong partition as this shard sees it.
type strongPart struct {
	c    *Core
	id   uint32
	seen *hashring.StrongConfig // as requests here were last told of it
	conf *hashring.StrongConfig // as last configured
	r    *strong.Replica        // nil: this store has nothing of it
	ops  []*strongOp            // requests coordinated here that are with no replica here
	// broken: what the store has of the partition cannot be trusted, its promise
	// included, so it says nothing at all (D4).
	broken bool
	told   bool          // of damage, the driver
	open   bool          // touched in this step, not finished
	staged uint64        // newest batch with an effect of it
	listed bool          // in unsynced
	leads  bool          // as of its last step
	wake   time.Duration // wants a step by then; 0: never
	at     int           // in wakes
	held   held          // applied, and in no batch yet
}

// strongRing takes what has changed in the ring state. A store that is not confirmed
// yet may be an older copy of itself: it makes no promise and answers nothing (D6).
func (c *Core) strongRing() {
	if c.ring == nil || !c.ring.HasRing() {
		return
	}
	for id := c.cfg.Shard; id < len(c.ring.Partitions); id += c.cfg.Shards {
		p := &c.ring.Partitions[id]
		if p.Strong == nil {
			continue
		}
		sp := c.strong.parts[uint32(id)]
		if sp == nil {
			sp = &strongPart{c: c, id: uint32(id)}
			c.strong.parts[sp.id] = sp
		}
		if (c.confirmed || plant.Is(plant.StrongUnconfirmed)) && !sameStrong(sp.conf, p.Strong) {
			c.strongConfigure(sp, p)
		}
		if !sameStrong(sp.seen, p.Strong) {
			sp.seen = p.Strong
			c.strongKick(sp)
		}
	}
	if c.out && !c.strong.out {
		c.strong.out = true
		c.strongOut()
	}
}

// sameStrong tells that two states of one partition have the same configuration: an
// epoch fixes all but what is compared. A state that came over the network is new
// memory throughout, and says nothing new about most partitions.
func sameStrong(a, b *hashring.StrongConfig) bool {
	return a == b || a != nil && b != nil && a.Epoch == b.Epoch && a.Activated == b.Activated && slices.Equal(a.Learners, b.Learners)
}

// strongConfigure gives a partition's newest configuration to the replica of it.
func (c *Core) strongConfigure(sp *strongPart, p *hashring.Partition) {
	if sp.conf != nil && sp.conf.Epoch != p.Strong.Epoch {
		c.strong.stats.Epochs++
	}
	sp.conf = p.Strong
	cfg, _ := strong.ConfigOf(p)
	if sp.r == nil && !sp.broken {
		c.strongOpen(sp, &cfg)
	}
	if sp.r != nil {
		c.touchStrong(sp)
		sp.r.Configure(cfg)
		if c.draining {
			sp.r.HandOver(hashring.SID{})
		}
	}
}

// strongOpen makes the replica of a partition that this store is to hold, or has
// something of: it keeps its promises for ever (3.5).
func (c *Core) strongOpen(sp *strongPart, cfg *strong.Config) {
	saved, err := c.strong.eng.StrongSaved(sp.id)
	if plant.Is(plant.StrongDamageIsBlank) && err != nil {
		saved, err = strong.Saved{}, nil
	}
	if err == nil && saved.Hard == (strong.Hard{}) && !cfg.Holds(c.cfg.Self) {
		return
	}
	saved.Suspect = saved.Suspect || c.out
	if err == nil {
		sp.r, err = strong.New(c.cfg.Self, c.cfg.Strong, sp, saved, c.cfg.Starts<<strongBoot, c.strongNow())
	}
	if err != nil {
		sp.r, sp.broken = nil, true
		c.strongDamage(sp, err)
	}
}

// strongDamage: the promise or the log of a partition cannot be trusted.
func (c *Core) strongDamage(sp *strongPart, err error) {
	c.stats.Corrupt++
	c.strong.stats.Broken++
	if !sp.told {
		sp.told = true
		c.ready.Damage = fmt.Errorf("strong partition %d: %w", sp.id, err)
	}
}

// strongBoot is where a boot count stands in the numbers that a replica gives to its
// questions: a trillion of them in a life.
const strongBoot = 40

func (c *Core) strongNow() strong.Now {
	return strong.Now{Mono: c.now.Mono, WallMS: c.now.WallMS, Boot: c.now.Boot}
}

// strongOut: the ring has this store as suspect, which it stays for ever (D2).
func (c *Core) strongOut() {
	for _, id := range sortedKeys(c.strong.parts) {
		if sp := c.strong.parts[id]; sp.r != nil {
			c.touchStrong(sp)
			sp.r.Distrust()
		}
	}
}

// touchStrong opens the step of a replica: inputs may follow.
func (c *Core) touchStrong(sp *strongPart) {
	if sp.open {
		return
	}
	sp.open = true
	c.strong.touched = append(c.strong.touched, sp)
	seq := c.lastSeq + 1
	if c.batch != nil {
		seq = c.batch.Seq
	}
	sp.r.Begin(c.strongNow(), seq)
}

// strongDue touches the replicas whose time has come.
func (c *Core) strongDue() {
	w := &c.strong.wakes
	for len(w.heap) > 0 && w.heap[0].wake <= c.now.Mono {
		sp := w.heap[0]
		w.remove(sp)
		c.touchStrong(sp)
	}
}

// strongSynced tells the replicas that have staged something.
func (c *Core) strongSynced() {
	list := c.strong.unsynced
	kept := list[:0]
	for _, sp := range list {
		c.touchStrong(sp)
		if sp.r.Synced(c.durable); plant.Is(plant.StrongSyncedAhead) {
			sp.r.Synced(c.lastSeq)
		}
		if sp.staged > c.durable {
			kept = append(kept, sp)
		} else {
			sp.listed = false
		}
	}
	clear(list[len(kept):])
	c.strong.unsynced = kept
}

// strongFinish ends the step of the touched replicas, and of those that are touched by
// what comes of it.
func (c *Core) strongFinish() {
	for i := 0; i < len(c.strong.touched); i++ {
		sp := c.strong.touched[i]
		sp.open = false
		out := sp.r.Finish()
		c.strongDone(sp, &out)
		sp.r.Recycle(out)
	}
	clear(c.strong.touched)
	c.strong.touched = c.strong.touched[:0]
}

// strongDone carries out what a replica's step wants done.
func (c *Core) strongDone(sp *strongPart, out *strong.Out) {
	if out.Staged {
		if sp.staged = c.batch.Seq; !sp.listed {
			sp.listed = true
			c.strong.unsynced = append(c.strong.unsynced, sp)
		}
	}
	if sp.full() {
		sp.carry()
	}
	c.strongSend(sp.id, out.Sends)
	for i := range out.Loads {
		c.strongLoad(sp, &out.Loads[i])
	}
	c.strongWords(sp, out.Proposals)
	if out.WantRing != 0 { // an epoch, of which nobody has said in which ring version it came
		c.want(c.ring.Version+1, hashring.SID{})
	}
	if out.Err != nil {
		if len(c.ring.StrongMembers(sp.id)) > 1 {
			c.strongDamage(sp, out.Err)
			c.touchStrong(sp)
			sp.r.Distrust()
		} else { // there is nobody to go by instead: what can be read is served
			c.stats.Corrupt++
			c.strong.stats.Broken++
		}
	}
	c.strong.wakes.set(sp, out.Wake)
	c.strongReplies(out.Replies)
	if leads := sp.r.Leads(); leads != sp.leads {
		if sp.leads = leads; leads {
			c.strongKick(sp)
		}
	}
}

// strongWords says what a replica proposes.
func (c *Core) strongWords(sp *strongPart, proposals []strong.Proposal) {
	for i := range proposals {
		p := &proposals[i]
		c.ready.Words = append(c.ready.Words, strong.Word{Partition: sp.id, From: c.cfg.Self, Kind: p.Kind, Epoch: p.Epoch, Prefer: p.Prefer, Last: p.Last, Full: p.Full})
	}
}

// strongLoad reads a slice for a snapshot. There are few at a time of each partition,
// by the machine's own bound, and a receiver waits for each.
func (c *Core) strongLoad(sp *strongPart, l *strong.Load) {
	token := l.Token
	load := Load{Kind: LoadStrong, Partition: sp.id, Part: l.Part, Generation: l.Generation, After: l.After, MaxRows: l.Rows, MaxBytes: l.Bytes}
	sp.carry()
	c.whenDurable(c.lastSeq, func() {
		c.load(load, func(in *Loaded) {
			c.touchStrong(sp)
			sp.r.Loaded(token, in.Strong, in.Next, in.More, in.Err)
		})
	})
}

// strongDrain gives up the primaries: they lead on until others are named (a graceful
// stop costs no failover).
func (c *Core) strongDrain() {
	for _, id := range sortedKeys(c.strong.parts) {
		if sp := c.strong.parts[id]; sp.r != nil && sp.r.Leads() {
			c.touchStrong(sp)
			sp.r.HandOver(hashring.SID{})
		}
	}
}
