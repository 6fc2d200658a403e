package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

func kinds() (all []core.Kind) {
	for k := core.Kind(1); k < core.KindCount; k++ {
		all = append(all, k)
	}
	return all
}

// Every kind comes back with every field it carries, encodes to the same bytes
// again, and neither a shorter nor a longer input is taken.
func TestMessageRoundTrip(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := genMessage(t, k)
				b := AppendMessage(nil, &want)
				got, err := DecodeMessage(b)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("sent %+v\ngot  %+v", want, got)
				}
				if again := AppendMessage([]byte("before"), &got); !bytes.Equal(again[6:], b) {
					t.Fatalf("encodes to %x, then to %x", b, again[6:])
				}
				if hint := SizeHint(&want); hint < len(b)/2 {
					t.Fatalf("%d bytes, the hint said %d", len(b), hint)
				}
				cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
				if _, err := DecodeMessage(b[:cut]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("first %d of %d bytes: %v", cut, len(b), err)
				}
				if _, err := DecodeMessage(append(b, 0)); !errors.Is(err, ErrMalformed) {
					t.Fatalf("a byte too many: %v", err)
				}
			})
		})
	}
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genObject(t)
		b := AppendRecord([]byte("before"), want)[6:]
		got, err := DecodeRecord(b)
		if err != nil || !reflect.DeepEqual(normal(got), normal(want)) {
			t.Fatalf("%v (%v), stored %v", got, err, want)
		}
		flipped := bytes.Clone(b)
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		flipped[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := DecodeRecord(flipped); !errors.Is(err, core.ErrCorrupt) {
			t.Fatalf("bit flipped in byte %d: %v", at, err)
		}
	})
}

// normal makes empty lists nil.
func normal(o *version.Object) version.Object {
	out := *o
	if len(out.Context) == 0 {
		out.Context = nil
	}
	if len(out.Siblings) == 0 {
		out.Siblings = nil
	}
	return out
}

func TestObjectRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genObject(t)
		b := AppendObject(nil, want)
		got, err := DecodeObject(b)
		if err != nil || !reflect.DeepEqual(normal(got), normal(want)) || !bytes.Equal(AppendObject(nil, got), b) {
			t.Fatalf("%v (%v), encoded %v", got, err, want)
		}
		if want.Size() < len(b)/2 {
			t.Fatalf("%d bytes, Size said %d", len(b), want.Size())
		}
	})
}

// What merges into a decoded object must not reach the memory of its neighbours.
func TestDecodedSlicesHaveNoSpareRoom(t *testing.T) {
	o, err := DecodeObject(AppendObject(nil, sample(10)))
	if err != nil {
		t.Fatal(err)
	}
	if cap(o.Context) != len(o.Context) || cap(o.Siblings) != len(o.Siblings) || cap(o.Siblings[0].Value) != 10 {
		t.Fatalf("capacities %d, %d, %d", cap(o.Context), cap(o.Siblings), cap(o.Siblings[0].Value))
	}
}

func TestVersions(t *testing.T) {
	m := core.Message{Kind: core.MsgHintNotice, ID: 1}
	b := AppendMessage(nil, &m)
	b[0] = byte(ProtocolMax) + 1
	var v *VersionError
	if _, err := DecodeMessage(b); !errors.As(err, &v) || v.Got != ProtocolMax+1 || v.Max != ProtocolMax {
		t.Fatalf("newer message: %v", err)
	}
	b[0] = 0
	if _, err := DecodeMessage(b); !errors.As(err, &v) {
		t.Fatalf("version 0: %v", err)
	}
	newer := AppendRecord(nil, sample(4))
	newer[0]++
	if _, err := DecodeRecord(newer); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a flipped format byte is damage, not a newer format: %v", err)
	}
	newer = sealed(newer[:len(newer)-4])
	if _, err := DecodeRecord(newer); !errors.As(err, &v) || v.Got != RecordFormat+1 || errors.Is(err, ErrCorrupt) {
		t.Fatalf("a whole record of a newer format is not damaged: %v", err)
	}
}

// What the shape of a message allows but its rules do not.
func TestRefused(t *testing.T) {
	write := func(change func(*core.Message)) []byte {
		m := core.Message{Kind: core.MsgWrite, Key: []byte("k"), Object: sample(5)}
		change(&m)
		return AppendMessage(nil, &m)
	}
	object := func(change func(*version.Object)) []byte {
		return write(func(m *core.Message) { change(m.Object) })
	}
	forward := func(change func(*core.Request)) []byte {
		m := core.Message{Kind: core.MsgForward, Request: &core.Request{Op: core.OpGet}}
		change(m.Request)
		return AppendMessage(nil, &m)
	}
	forwarded := func(change func(*core.Reply)) []byte {
		m := core.Message{Kind: core.MsgForwarded, Reply: &core.Reply{}}
		change(m.Reply)
		return AppendMessage(nil, &m)
	}
	for name, b := range map[string][]byte{
		"kind 0":              {byte(ProtocolMax), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"unknown kind":        {byte(ProtocolMax), byte(core.KindCount), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"uvarint not minimal": {byte(ProtocolMax), byte(core.MsgHintNotice), 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"partition too large": {byte(ProtocolMax), byte(core.MsgHintNotice), 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0},
		"no key":              write(func(m *core.Message) { m.Key = nil }),
		"key too long":        write(func(m *core.Message) { m.Key = make([]byte, core.MaxKey+1) }),
		"dots out of order":   object(func(o *version.Object) { o.Context[0], o.Context[1] = o.Context[1], o.Context[0] }),
		"counter 0":           object(func(o *version.Object) { o.Context[1].Counter = 0 }),
		"dot not covered":     object(func(o *version.Object) { o.Siblings[0].Dot.Counter++ }),
		"sibling twice":       object(func(o *version.Object) { o.Siblings = append(o.Siblings, o.Siblings[0]) }),
		"content type length": object(func(o *version.Object) { o.Siblings[0].ContentType = strings.Repeat("x", core.MaxContentType+1) }),
		"value too large":     object(func(o *version.Object) { o.Siblings[0].Value = make([]byte, core.MaxValue+1) }),
		"negative expiry":     object(func(o *version.Object) { o.Siblings[0].ExpiryMS = -1 }),
		"unknown op":          forward(func(r *core.Request) { r.Op = core.OpIncrement + 1 }),
		"op 0":                forward(func(r *core.Request) { r.Op = 0 }),
		"quota -2":            forward(func(r *core.Request) { r.W = -2 }),
		"sloppy 3":            forward(func(r *core.Request) { r.Sloppy = 3 }),
		"bucket name length":  forward(func(r *core.Request) { r.Bucket = strings.Repeat("b", MaxBucketName+1) }),
		"list limit":          forward(func(r *core.Request) { r.Op, r.List.Limit = core.OpList, core.MaxListLimit+1 }),
		"context invalid": forward(func(r *core.Request) {
			r.HasContext, r.Context.Seen = true, version.Vector{{Actor: 2, Counter: 1}, {Actor: 1, Counter: 1}}
		}),
		"unknown code":    forwarded(func(r *core.Reply) { r.Code = core.CodeCount }),
		"unknown outcome": forwarded(func(r *core.Reply) { r.Outcome = core.Unknown + 1 }),
		"unknown reason":  forwarded(func(r *core.Reply) { r.Failed = []quorum.Failure{{Reason: 200}} }),
		"unknown state":   forwarded(func(r *core.Reply) { r.Inspect = []core.InspectRow{{State: core.ReplicaStates}} }),
		"level 6":         forward(func(r *core.Request) { r.Level = core.LevelLease + 1 }),
		"too many versions": forward(func(r *core.Request) {
			r.If = strong.Condition{IfMatch: strong.Version{Epoch: 1}, Or: make([]strong.Version, strong.MaxMatches+1)}
		}),
		"level of a reply": forwarded(func(r *core.Reply) { r.Strong = &core.StrongReply{Level: core.LevelLease + 1} }),
		"rows":             AppendMessage(nil, &core.Message{Kind: core.MsgHintDone, Rows: manyRows(MaxRows + 1)}),
		"scan limit":       AppendMessage(nil, &core.Message{Kind: core.MsgScan, Limit: MaxRows + 1}),
	} {
		if m, err := DecodeMessage(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func manyRows(n int) []core.Row {
	rows := make([]core.Row, n)
	for i := range rows {
		rows[i].Key = fmt.Appendf(nil, "key%d", i)
	}
	return rows
}

// A length that promises more than the input holds must not be believed.
func TestLengthsAreNotBelieved(t *testing.T) {
	actors := append([]byte{0xff, 0xff, 0x03}, make([]byte, 100)...) // 65,535 actors in 100 bytes
	if got := testing.AllocsPerRun(10, func() { _, _ = DecodeObject(actors) }); got > 6 {
		t.Errorf("%v allocations for a false length", got)
	}
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, _ = DecodeObject(actors)
		}
	})
	if r.AllocedBytesPerOp() > 2000 {
		t.Errorf("%d bytes allocated for an input of %d", r.AllocedBytesPerOp(), len(actors))
	}
}

func TestDetailIsCut(t *testing.T) {
	m := core.Message{Kind: core.MsgForwarded, Reply: &core.Reply{Detail: strings.Repeat("x", MaxDetail-1) + "ü"}}
	got, err := DecodeMessage(AppendMessage(nil, &m))
	if err != nil || got.Reply.Detail != strings.Repeat("x", MaxDetail-1) {
		t.Fatalf("%d bytes, %v", len(got.Reply.Detail), err)
	}
}

// The largest object that replicas may hold passes, one byte more does not.
func TestLargestObject(t *testing.T) {
	o := &version.Object{Context: version.Vector{{Actor: 1, Counter: 100}}}
	value := make([]byte, core.MaxValue-100)
	for i := range MaxEncodedObject / core.MaxValue {
		o.Siblings = append(o.Siblings, version.Sibling{Dot: version.Dot{Actor: 1, Counter: uint64(i + 1)}, Value: value})
	}
	b := AppendObject(make([]byte, 0, MaxEncodedObject), o)
	if _, err := DecodeObject(b); err != nil || len(b) > MaxEncodedObject {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	o.Siblings = append(o.Siblings, version.Sibling{Dot: version.Dot{Actor: 1, Counter: 100}, Value: value})
	if _, err := DecodeObject(AppendObject(b[:0], o)); !errors.Is(err, ErrMalformed) {
		t.Fatalf("above the bound: %v", err)
	}
}
