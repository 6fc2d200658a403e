package wire

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// The messages of a PUT and a GET, and the allocations their decoding may cost:
// one for an object with its lists, none for what has no object.
var dataPath = []struct {
	name   string
	m      core.Message
	allocs float64
}{
	{"write", core.Message{Kind: core.MsgWrite, RingVersion: 9, Epoch: 3, ID: 5, Bucket: 4, Hash: 1, Key: []byte("user:0000012345"), Object: sample(80), Timeout: time.Second}, 1},
	{"write_ack", core.Message{Kind: core.MsgWriteAck, RingVersion: 9, Epoch: 3, ID: 5}, 0},
	{"read", core.Message{Kind: core.MsgRead, RingVersion: 9, Epoch: 3, ID: 5, Bucket: 4, Hash: 1, Key: []byte("user:0000012345"), Timeout: time.Second}, 0},
	{"read_reply", core.Message{Kind: core.MsgReadReply, RingVersion: 9, Epoch: 3, ID: 5, Object: sample(80)}, 1},
	{"forward", core.Message{Kind: core.MsgForward, RingVersion: 9, Epoch: 3, ID: 5, Timeout: time.Second, Request: &core.Request{Op: core.OpPut,
		Bucket: "default", Key: []byte("user:0000012345"), Value: make([]byte, 80)}}, 2}, // request, bucket name
	{"strong_append", core.Message{Kind: core.MsgStrong, RingVersion: 9, Partition: 3, Strong: []*strong.Message{appendOf(8, 80)}}, 4}, // entries, two lists, message
	{"strong_ack", core.Message{Kind: core.MsgStrong, RingVersion: 9, Partition: 3, Strong: []*strong.Message{{Kind: strong.MsgAppendAck, Epoch: 3, Match: 9, Full: true}}}, 2},
}

func TestAllocations(t *testing.T) {
	for _, c := range dataPath {
		buf := AppendMessage(nil, &c.m)
		if got := testing.AllocsPerRun(100, func() { buf = AppendMessage(buf[:0], &c.m) }); got != 0 {
			t.Errorf("encoding a %s allocates %v times", c.name, got)
		}
		var err error
		if got := testing.AllocsPerRun(100, func() { _, err = DecodeMessage(buf) }); got != c.allocs || err != nil {
			t.Errorf("decoding a %s allocates %v times, %v are needed (%v)", c.name, got, c.allocs, err)
		}
	}
	record := AppendRecord(nil, sample(80))
	if got := testing.AllocsPerRun(100, func() { record = AppendRecord(record[:0], sampleObject) }); got != 0 {
		t.Errorf("encoding a record allocates %v times", got)
	}
	if got := testing.AllocsPerRun(100, func() { _, _ = DecodeRecord(record) }); got != 1 {
		t.Errorf("decoding a record allocates %v times, 1 is needed", got)
	}
}

var sampleObject = sample(80)

func BenchmarkEncode(b *testing.B) {
	for _, c := range dataPath {
		b.Run(c.name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendMessage(buf[:0], &c.m)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range dataPath {
		b.Run(c.name, func(b *testing.B) {
			buf := AppendMessage(nil, &c.m)
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if _, err := DecodeMessage(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRecord(b *testing.B) {
	buf := AppendRecord(nil, sampleObject)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendRecord(buf[:0], sampleObject)
		if _, err := DecodeRecord(buf); err != nil {
			b.Fatal(err)
		}
	}
}
