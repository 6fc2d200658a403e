package peer

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/quoratedb/quorate/node/wire"
)

func FuzzPreface(f *testing.F) {
	f.Add((&preface{code: byte(kindMessages), hello: hello(1), target: sid(2)}).append(nil))
	f.Add((&preface{code: byte(RefusedCheck), hello: hello(2), reason: "no"}).append(nil))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, resealed(b)} {
			p, err := readPreface(bytes.NewReader(in))
			if err != nil {
				continue
			}
			again, err := readPreface(bytes.NewReader(p.append(nil)))
			if err != nil || again != p {
				t.Fatalf("%+v comes back as %+v (%v)", p, again, err)
			}
		}
	})
}

// resealed gives b a right length and checksum, so that the fuzzer gets past them.
func resealed(b []byte) []byte {
	if len(b) < prefaceHead+minBody+4 || len(b) > prefaceHead+maxBody+4 {
		return b
	}
	b = bytes.Clone(b)
	end := len(b) - 4
	copy(b, magic[:])
	b[4] = prefaceVersion
	binary.BigEndian.PutUint16(b[6:], uint16(end-prefaceHead))
	binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[:end], castagnoli))
	return b
}

// FuzzFrames reads a stream of frames whose checksums are made right.
func FuzzFrames(f *testing.F) {
	frame, _ := appendFrame(nil, ping(sid(1), 7))
	f.Add(frame)
	first := append(chunkHeader(frameFirst, []byte{0, 0, 0, 3}, []byte("ab")), "ab"...)
	f.Add(append(append(first, chunkHeader(frameNext, nil, []byte("c"))...), 'c'))
	f.Add(pingFrame)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		var chunks assembly
		for at := 0; at < len(b); {
			if n := len(b) - at; n >= frameHead {
				size := frameHead + int(binary.BigEndian.Uint32(b[at+4:])&0xffffff)
				if size <= n {
					binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:at+size], castagnoli))
				}
			}
			kind, payload, size, err := parseFrame(b[at:])
			if err != nil || size > len(b)-at {
				return
			}
			if len(payload) != size-frameHead {
				t.Fatalf("frame of %d bytes has a payload of %d", size, len(payload))
			}
			switch kind {
			case frameMessage:
				_, _ = wire.DecodeMessage(payload)
			case frameFirst, frameNext:
				if chunks.total == 0 && len(payload) >= chunkHead && binary.BigEndian.Uint32(payload) > 1<<20 {
					return // the bound itself is tested elsewhere; here it would only cost memory
				}
				if _, err := chunks.add(kind, payload); err != nil {
					return
				}
			}
			at += size
		}
	})
}

func FuzzBlock(f *testing.F) {
	f.Add((&block{id: 1, timeout: time.Second, name: "ring", payload: []byte("x")}).append(nil))
	f.Add((&block{}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 8 {
			binary.BigEndian.PutUint32(b, uint32(len(b)-8))
			binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
		}
		if got, err := readBlock(bytes.NewReader(b)); err == nil && !bytes.Equal(got.append(nil), b) {
			t.Fatalf("%x is read as %+v", b, got)
		}
	})
}

func TestBoundsOfChunks(t *testing.T) {
	first := func(total uint32, p string) []byte { return append(binary.BigEndian.AppendUint32(nil, total), p...) }
	for name, steps := range map[string][][]byte{
		"too large":     {first(wire.MaxMessage+1, "x")},
		"nothing":       {first(0, "")},
		"no total":      {{1, 2}},
		"empty chunk":   {first(5, "")},
		"more":          {first(1, "xy")},
		"twice a begin": {first(5, "x"), first(5, "x")},
	} {
		var a assembly
		var err error
		for _, p := range steps {
			_, err = a.add(frameFirst, p)
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
