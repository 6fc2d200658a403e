package core

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// The data path is counted in allocations: time depends on the machine, these do not.
// A change that needs more must say why and raise the figure.
const (
	allocsPut   = 18 // a W=2 of 3 put at an owner: request, sync, one ack, the late ack
	allocsGet1  = 2  // an R=1 get at an owner of a settled key
	allocsGet2  = 10 // an R=2 get at an owner: request, one reply
	allocsMerge = 7  // a replica's write: the next version of a key, sync, ack
	allocsRead  = 2  // a replica's read of a settled key
)

// bare is one core with its peers played by hand.
type bare struct {
	core *Core
	disk *disk
	now  Now
	ids  uint64
	key  []byte
	ev   [1]Event

	other  []byte
	theirs *version.Object
	count  uint64
}

func newBare() *bare {
	b := &bare{disk: newDisk(), now: Now{Mono: time.Second, WallMS: epochMS}, key: []byte("a-key-of-usual-length")}
	b.core = New(Config{Self: sidOf("a"), Shards: 1, Rand: rand.New(rand.NewPCG(1, 2))}, b.disk)
	b.step(Event{Ring: hashring.NewRing(ringState("abc", 1, 3))})
	b.step(Event{Confirmed: true})
	b.other, b.count = []byte("another-key"), 1
	b.theirs = version.Write(nil, nil, version.Sibling{Dot: version.Dot{Actor: 9, Counter: 1}, Value: b.key})
	return b
}

func (b *bare) step(e Event) *Ready {
	b.now.Mono += 10 * time.Microsecond
	b.ev[0] = e
	return b.core.Step(b.now, b.ev[:])
}

// put is a whole write: two peers answer after the own sync.
func (b *bare) put(value []byte) {
	b.ids++
	r := b.step(Event{Request: &Request{Op: OpPut, Bucket: "strict", Key: b.key, Value: value}})
	var id uint64
	var seq uint64
	for _, o := range r.Now {
		id = o.Message.ID
	}
	for _, g := range r.AfterSync {
		id = g.Out.Message.ID
	}
	if r.Batch != nil {
		seq = r.Batch.Seq
		b.disk.records[rowKey{bucket: 3, key: string(b.key)}] = r.Batch.Records[0].Object
	}
	b.step(Event{Synced: seq})
	for _, peer := range "bc" {
		b.step(Event{Message: &Message{Kind: MsgWriteAck, From: sidOf(string(peer)), ID: id, RingVersion: 10, Epoch: 5}})
	}
	b.now.Mono += finishFor // timers of the past go
	b.step(Event{})
}

func (b *bare) get(need Count) {
	r := b.step(Event{Request: &Request{Op: OpGet, Bucket: "strict", Key: b.key, R: need}})
	if need == 1 {
		return
	}
	id := r.Now[0].Message.ID
	b.step(Event{Message: &Message{Kind: MsgReadReply, From: sidOf("b"), ID: id, RingVersion: 10, Epoch: 5, Object: b.disk.records[rowKey{bucket: 3, key: string(b.key)}]}})
	b.now.Mono += finishFor
	b.step(Event{})
}

// merge is a write that another node coordinates, from its message to its ack.
func (b *bare) merge() {
	b.step(Event{Message: &Message{Kind: MsgWrite, From: sidOf("b"), ID: 1, RingVersion: 10, Epoch: 5, Bucket: 3, Key: b.other, Hash: 7, Object: b.theirs}})
	b.count++
	b.theirs = version.Write(b.theirs, b.theirs.Context, version.Sibling{Dot: version.Dot{Actor: 9, Counter: b.count}, Value: b.key})
	b.step(Event{Synced: b.core.lastSeq})
}

func (b *bare) read() {
	b.step(Event{Message: &Message{Kind: MsgRead, From: sidOf("b"), ID: 1, RingVersion: 10, Epoch: 5, Bucket: 3, Key: b.key}})
}

func TestAllocations(t *testing.T) {
	b := newBare()
	value := make([]byte, 80)
	b.put(value)
	for what, c := range map[string]struct {
		do   func()
		want float64
	}{
		"put":     {func() { b.put(value) }, allocsPut},
		"get r=1": {func() { b.get(1) }, allocsGet1},
		"get r=2": {func() { b.get(2) }, allocsGet2},
		"merge":   {b.merge, allocsMerge},
		"read":    {b.read, allocsRead},
	} {
		if got := testing.AllocsPerRun(300, c.do); got > c.want*1.1 {
			t.Errorf("%s: %v allocations, were %v", what, got, c.want)
		}
	}
	if s := b.core.Stats(); s.Ops != 0 || s.OverlayBytes != 0 || s.Writes < 300 || s.Reads < 600 {
		t.Errorf("the requests were not what they seemed: %+v", s)
	}
}

func BenchmarkPutW2(b *testing.B) { benchmark(b, func(c *bare, v []byte) { c.put(v) }) }
func BenchmarkGetR1(b *testing.B) { benchmark(b, func(c *bare, _ []byte) { c.get(1) }) }
func BenchmarkGetR2(b *testing.B) { benchmark(b, func(c *bare, _ []byte) { c.get(2) }) }

func benchmark(b *testing.B, do func(*bare, []byte)) {
	c, value := newBare(), make([]byte, 80)
	c.put(value)
	b.ReportAllocs()
	for b.Loop() {
		do(c, value)
	}
}
