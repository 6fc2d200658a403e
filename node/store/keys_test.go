package store

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

// TestGoldenKeys: the layout is on disk. A change needs a new format of the directory.
func TestGoldenKeys(t *testing.T) {
	sid := hashring.SID{0: 0xaa, 15: 0xbb}
	for _, c := range []struct {
		name string
		key  []byte
		want string
	}{
		{"record", appendRecordKey(nil, 7, 9, []byte("k\x00")), "00000007" + "01" + "0000000000000009" + "6b00"},
		{"leaf", appendLeafKey(nil, 7, 4095, 9, []byte("k")), "00000007" + "02" + "0fff" + "0000000000000009" + "6b"},
		{"hint", appendHintKey(nil, 7, sid, 9, []byte("k")), "00000007" + "03" + "aa0000000000000000000000000000bb" + "0000000000000009" + "6b"},
		{"counters", appendCountersKey(nil, 7), "00000007" + "04"},
		{"log entry", appendEntryKey(nil, 7, 300), "00000007" + "06" + "000000000000012c"},
		{"hard row", appendHardKey(nil, 7), "00000007" + "07"},
		{"value", appendValueKey(nil, 7, 3, 9, []byte("k")), "00000007" + "0a" + "0000000000000003" + "0000000000000009" + "6b"},
		{"completion record", appendDoneKey(nil, 7, 3, strong.RequestID{StampMS: 258, Nonce: [16]byte{0xaa, 15: 0xbb}}),
			"00000007" + "0b" + "0000000000000003" + "0000000000000102" + "aa0000000000000000000000000000bb"},
		{"clock bound", appendHLCKey(nil, 258), "ffffffff" + "0f" + "68" + "0102"},
		{"owner", appendMetaKey(nil, metaOwner), "ffffffff" + "0f" + "6f"},
		{"ring", appendMetaKey(nil, metaRing), "ffffffff" + "0f" + "72"},
	} {
		if got := hex.EncodeToString(c.key); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if _, err := DecodeKey(c.key); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestGoldenValues(t *testing.T) {
	c := core.Counters{Keys: 300, Tombstones: 2, Bytes: 70000, Expiring: 5, Hints: []antientropy.HintLine{{Target: hashring.SID{1}, Hints: 3, Bytes: 40, OldestMS: 300, Dirty: 1 << 20}}}
	for _, v := range []struct {
		name string
		got  []byte
		want string
	}{
		{"counters", appendCounters(nil, &c), "02" + "ac02" + "02" + "f0a204" + "05" + "01" + "01000000000000000000000000000000" + "03" + "28" + "ac02" + "808040" + "2225cb0e"},
		{"bound", appendBound(nil, 0x0102), "01" + "0000000000000102" + "bd42566b"},
	} {
		if got := hex.EncodeToString(v.got); got != v.want {
			t.Errorf("%s: %s, want %s", v.name, got, v.want)
		}
	}
}

// counters1 is a counters row of the first format.
func counters1() []byte {
	b, err := hex.DecodeString("01" + "ac02" + "02" + "f0a204" + "01" + "01000000000000000000000000000000" + "03" + "28" + "460b5001")
	if err != nil {
		panic(err)
	}
	return b
}

// A store of the first format opens: what the row did not say is counted once, or 0.
func TestCountersOfTheFirstFormat(t *testing.T) {
	c, format, err := decodeCountersOf(counters1())
	want := core.Counters{Keys: 300, Tombstones: 2, Bytes: 70000, Hints: []antientropy.HintLine{{Target: hashring.SID{1}, Hints: 3, Bytes: 40}}}
	if err != nil || format != countersFormat1 || !reflect.DeepEqual(c, want) {
		t.Fatalf("%+v of format %d, %v", c, format, err)
	}
	fs := crashfs.New(1)
	s := openMem(t, fs, Options{})
	lasting, dead := object(1, "v"), object(2, "")
	expiring := object(3, "soon")
	expiring.Siblings[0].ExpiryMS = 5000
	dead.Siblings[0] = version.Sibling{Dot: dead.Siblings[0].Dot, Tombstone: true}
	for p := range uint32(3) {
		b := core.Batch{Seq: uint64(p + 1), Counters: []core.CountersWrite{{Partition: p, Counters: core.Counters{Keys: 1, Expiring: 77}}}}
		for i := range p + 1 {
			b.Records = append(b.Records, record(p, 9, fmt.Sprint("soon", i), expiring))
		}
		b.Records = append(b.Records, record(p, 9, "k", lasting), record(p, 9, "x", dead))
		commitAll(t, s, 0, &b)
		if p > 0 { // partition 0 has a row of now
			if err := s.db.Put(appendCountersKey(nil, p), counters1(), s.sync); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 { // the second start finds nothing to do
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openMem(t, fs, Options{})
		for p, n := range []uint64{77, 2, 3} {
			if c, err := s.Counters(uint32(p)); err != nil || c.Expiring != n || p > 0 && (c.Keys != 300 || c.Hints[0].Hints != 3) {
				t.Errorf("partition %d: %+v, %v", p, c, err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func drawKey(t *rapid.T, label string) Key {
	k := Key{Partition: rapid.Uint32Range(0, 3).Draw(t, label+"p"), Kind: rapid.SampledFrom([]Kind{KindRecord, KindLeaf, KindHint, KindEntry, KindHard, KindValue, KindDone}).Draw(t, label+"kind"),
		Bucket: hashring.BucketID(rapid.SampledFrom([]uint64{0, 1, 255, 256, 1 << 40}).Draw(t, label+"b")),
		Key:    rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xff}), 1, 4).Draw(t, label+"key")}
	switch k.Kind {
	case KindLeaf:
		k.Leaf = rapid.Uint16Range(0, core.Leaves-1).Draw(t, label+"leaf")
	case KindHint:
		k.Target = hashring.SID{rapid.Byte().Draw(t, label+"target")}
	case KindEntry, KindHard, KindDone:
		k.Bucket, k.Key = 0, nil
	}
	small := rapid.SampledFrom([]uint64{0, 1, 255, 256, 1 << 40})
	switch k.Kind {
	case KindEntry:
		k.Index = small.Draw(t, label+"index")
	case KindDone:
		k.Generation, k.ID = small.Draw(t, label+"generation"), strong.RequestID{StampMS: int64(small.Draw(t, label+"stamp")), Nonce: [16]byte{rapid.Byte().Draw(t, label+"nonce")}}
	case KindValue:
		k.Generation = small.Draw(t, label+"generation")
	}
	return k
}

func (k Key) encode() []byte {
	switch k.Kind {
	case KindLeaf:
		return appendLeafKey(nil, k.Partition, k.Leaf, k.Bucket, k.Key)
	case KindHint:
		return appendHintKey(nil, k.Partition, k.Target, k.Bucket, k.Key)
	case KindEntry:
		return appendEntryKey(nil, k.Partition, k.Index)
	case KindHard:
		return appendHardKey(nil, k.Partition)
	case KindValue:
		return appendValueKey(nil, k.Partition, k.Generation, k.Bucket, k.Key)
	case KindDone:
		return appendDoneKey(nil, k.Partition, k.Generation, k.ID)
	case KindPack:
		return appendPackKey(nil, k.Index)
	}
	return appendRecordKey(nil, k.Partition, k.Bucket, k.Key)
}

// TestKeyOrder: the order of rows is (partition, kind, leaf or target, bucket, key).
func TestKeyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawKey(t, "a"), drawKey(t, "b")
		want := cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Leaf, b.Leaf),
			bytes.Compare(a.Target[:], b.Target[:]), cmp.Compare(a.Index, b.Index), cmp.Compare(a.Generation, b.Generation),
			cmp.Compare(a.ID.StampMS, b.ID.StampMS), bytes.Compare(a.ID.Nonce[:], b.ID.Nonce[:]), cmp.Compare(a.Bucket, b.Bucket), bytes.Compare(a.Key, b.Key))
		if got := bytes.Compare(a.encode(), b.encode()); got != want {
			t.Fatalf("%+v against %+v: %d, want %d", a, b, got, want)
		}
		back, err := DecodeKey(a.encode())
		if err != nil || !bytes.Equal(back.encode(), a.encode()) || back.Bucket != a.Bucket || back.Target != a.Target || back.Leaf != a.Leaf {
			t.Fatalf("%+v came back as %+v, %v", a, back, err)
		}
	})
}

func TestUpper(t *testing.T) {
	for _, c := range []struct{ in, want []byte }{
		{[]byte{1, 2}, []byte{1, 3}}, {[]byte{1, 0xff}, []byte{2}}, {[]byte{0xff, 0xff}, nil}, {nil, nil},
	} {
		if got := upper(c.in); !slices.Equal(got, c.want) {
			t.Errorf("upper(%x) = %x, want %x", c.in, got, c.want)
		}
	}
}

func FuzzDecodeKey(f *testing.F) {
	f.Add(appendRecordKey(nil, 7, 9, []byte("k")))
	f.Add(appendLeafKey(nil, 7, 1, 9, []byte("k")))
	f.Add(appendHintKey(nil, 7, hashring.SID{1}, 9, []byte("k")))
	f.Add(appendHLCKey(nil, 3))
	f.Add(appendEntryKey(nil, 7, 1))
	f.Add(appendHardKey(nil, 7))
	f.Add(appendPackKey(nil, 7))
	f.Add(appendValueKey(nil, 7, 1, 9, []byte("k")))
	f.Add(appendDoneKey(nil, 7, 1, strong.RequestID{StampMS: 1}))
	f.Add([]byte{0, 0, 0, 1, byte(KindHint), 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := DecodeKey(b)
		if err != nil || k.Kind == KindMeta || k.Kind == KindCounters {
			return
		}
		if !bytes.Equal(k.encode(), b) {
			t.Fatalf("%x decodes to %+v, which is %x", b, k, k.encode())
		}
	})
}

func FuzzValues(f *testing.F) {
	f.Add(appendCounters(nil, &core.Counters{Keys: 1, Hints: []antientropy.HintLine{{Hints: 2}}}))
	f.Add(counters1())
	f.Add(appendHint(nil, 5, object(1, "v")))
	f.Add(appendOwner(nil, hashring.SID{1}, 3))
	f.Add(appendBound(nil, 77))
	f.Add(endSeal([]byte{sealFormat, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f}, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		// With a right seal too: the checksum keeps garbage from the decoders.
		for _, v := range [][]byte{b, endSeal(append([]byte{sealFormat}, b...), 0), endSeal(append([]byte{countersFormat}, b...), 0)} {
			if c, err := decodeCounters(v); err == nil && len(c.Hints)*minHintLine > len(v) {
				t.Fatalf("%d hint counts from %d bytes", len(c.Hints), len(v))
			}
			if o, _, err := decodeHint(v); err == nil && !o.Valid() {
				t.Fatal("an invalid object")
			}
			_, _, _ = decodeOwner(v)
			_, _ = decodeBound(v)
		}
	})
}
