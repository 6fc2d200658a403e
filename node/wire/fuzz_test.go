package wire

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/quoratedb/quorate/node/core"
)

// The decoders never panic, and what they take is canonical: it encodes to the
// very bytes it came from.

func FuzzDecodeMessage(f *testing.F) {
	for _, m := range goldenMessages() {
		f.Add(AppendMessage(nil, &m))
	}
	f.Add([]byte{})
	f.Add([]byte{1, byte(core.MsgScanReply), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x07})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		if m.Kind == core.MsgForwarded && m.Reply != nil && clip(m.Reply.Detail) != m.Reply.Detail {
			t.Fatal("a detail of a length that is never sent")
		}
		if again := AppendMessage(nil, &m); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which is %x", b, m, again)
		}
	})
}

func FuzzDecodeObject(f *testing.F) {
	f.Add(AppendObject(nil, sample(20)))
	f.Add(AppendObject(nil, tombstone()))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeObject(b)
		if err != nil {
			return
		}
		if again := AppendObject(nil, o); !o.Valid() || !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %v, which is %x", b, o, again)
		}
	})
}

// FuzzDecodeRecord also seals the input with a right checksum, so that the fuzzer
// gets past it.
func FuzzDecodeRecord(f *testing.F) {
	f.Add(AppendRecord(nil, sample(20)))
	whole := AppendRecord(nil, tombstone())
	f.Add(whole[:len(whole)-4])
	f.Add([]byte{RecordFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, sealed(b)} {
			if o, err := DecodeRecord(in); err == nil && !bytes.Equal(AppendRecord(nil, o), in) {
				t.Fatalf("%x decodes to %v", in, o)
			}
		}
	})
}

func sealed(b []byte) []byte {
	return binary.BigEndian.AppendUint32(bytes.Clone(b), crc32.Checksum(b, castagnoli))
}
