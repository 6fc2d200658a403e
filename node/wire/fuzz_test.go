package wire

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
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

// FuzzDecodeStrong likewise reads the input as a row of each kind of a strong partition.
func FuzzDecodeStrong(f *testing.F) {
	e := goldenEntry(300)
	for _, b := range [][]byte{AppendStrongEntry(nil, e), AppendStrongValue(nil, e.Value), AppendCompletion(nil, e.Done), AppendHard(nil, &strong.Hard{Promised: 300})} {
		f.Add(b)
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, sealed(b)} {
			if e, err := DecodeStrongEntry(in); err == nil && !bytes.Equal(AppendStrongEntry(nil, e), in) {
				t.Fatalf("%x decodes to %v", in, e)
			}
			if v, err := DecodeStrongValue(in); err == nil && !bytes.Equal(AppendStrongValue(nil, v), in) {
				t.Fatalf("%x decodes to %v", in, v)
			}
			if c, err := DecodeCompletion(in); err == nil && !bytes.Equal(AppendCompletion(nil, c), in) {
				t.Fatalf("%x decodes to %v", in, c)
			}
			if h, err := DecodeHard(in); err == nil && !bytes.Equal(AppendHard(nil, &h), in) {
				t.Fatalf("%x decodes to %v", in, h)
			}
		}
	})
}

func sealed(b []byte) []byte {
	return binary.BigEndian.AppendUint32(bytes.Clone(b), crc32.Checksum(b, castagnoli))
}
