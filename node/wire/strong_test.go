package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

func genPosition(t *rapid.T) strong.Position {
	return strong.Position{Epoch: rapid.Uint64().Draw(t, "epoch"), Index: rapid.Uint64().Draw(t, "index")}
}

func genStrongVersion(t *rapid.T) strong.Version {
	n := rapid.Uint64()
	return strong.Version{Incarnation: n.Draw(t, "incarnation"), Epoch: n.Draw(t, "version epoch"), Index: n.Draw(t, "version index")}
}

func genStrongValue(t *rapid.T) *strong.Value {
	v := &strong.Value{Version: genStrongVersion(t), Tombstone: rapid.Bool().Draw(t, "tombstone")}
	if !v.Tombstone {
		v.Counter, v.Data = rapid.Bool().Draw(t, "counter"), bytesOf(t, "data", 0, 40)
		v.ContentType, v.Sum = rapid.StringN(0, 20, 80).Draw(t, "type"), rapid.Uint32().Draw(t, "sum")
	}
	return v
}

func genStrongID(t *rapid.T) (id strong.RequestID) {
	id.StampMS = rapid.Int64Min(0).Draw(t, "stamp")
	copy(id.Nonce[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "nonce"))
	return id
}

func genCompletion(t *rapid.T) *strong.Completion {
	return &strong.Completion{ID: genStrongID(t), Digest: rapid.Uint64().Draw(t, "digest"), Code: strong.Code(rapid.IntRange(0, int(strong.CodeCount)-1).Draw(t, "code")),
		Version: genStrongVersion(t), Count: rapid.Int64().Draw(t, "count")}
}

func genEntry(t *rapid.T, at strong.Position) *strong.Entry {
	e := &strong.Entry{Epoch: at.Epoch, Index: at.Index, Kind: strong.Kind(rapid.IntRange(1, 3).Draw(t, "entry kind")), TimeMS: rapid.Int64().Draw(t, "time")}
	if e.Kind == strong.Refusal || e.Kind == strong.Effect && rapid.Bool().Draw(t, "done") {
		e.Done = genCompletion(t)
	}
	if e.Kind == strong.Effect {
		e.Bucket, e.Key, e.Value = hashring.BucketID(rapid.Uint64().Draw(t, "bucket")), bytesOf(t, "key", 1, 30), genStrongValue(t)
		e.Old = rapid.Uint64().Draw(t, "old")
		e.Value.Version.Epoch, e.Value.Version.Index = e.Epoch, e.Index
		if e.Done != nil {
			e.Done.Version = e.Value.Version
		}
	}
	return e
}

func genEntries(t *rapid.T, after uint64) (out []*strong.Entry) {
	epoch := rapid.Uint64Max(math.MaxUint64-10).Draw(t, "first epoch")
	for i := range rapid.IntRange(0, 4).Draw(t, "entries") {
		epoch += rapid.Uint64Max(2).Draw(t, "step")
		out = append(out, genEntry(t, strong.Position{Epoch: epoch, Index: after + 1 + uint64(i)}))
	}
	return out
}

func genStrongRows(t *rapid.T) (rows []strong.Row) {
	for range rapid.IntRange(0, 4).Draw(t, "rows") {
		if rapid.Bool().Draw(t, "completion") {
			rows = append(rows, strong.Row{Done: genCompletion(t)})
			continue
		}
		rows = append(rows, strong.Row{Bucket: hashring.BucketID(rapid.Uint64().Draw(t, "row bucket")), Key: bytesOf(t, "row key", 1, 30), Value: genStrongValue(t)})
	}
	return rows
}

func genLasting(t *rapid.T, name string) time.Duration {
	return time.Duration(rapid.Int64Min(0).Draw(t, name))
}

// genStrong draws a message of kind k with what strong/message.go gives it.
func genStrong(t *rapid.T, k strong.MessageKind) *strong.Message {
	n := rapid.Uint64()
	yes := func(name string) bool { return rapid.Bool().Draw(t, name) }
	m := &strong.Message{Kind: k, Epoch: n.Draw(t, "epoch")}
	low := strong.Position{Epoch: n.Draw(t, "prev epoch"), Index: rapid.Uint64Max(math.MaxUint64-10).Draw(t, "prev index")}
	switch k {
	case strong.MsgSealAck:
		m.Full, m.Last, m.Commit = yes("full"), genPosition(t), n.Draw(t, "commit")
	case strong.MsgNak:
		m.Promised = n.Draw(t, "promised")
	case strong.MsgPull:
		m.Prev = low
	case strong.MsgPullReply:
		m.Prev, m.Entries, m.Last, m.Gone = low, genEntries(t, low.Index), genPosition(t), yes("gone")
	case strong.MsgAppend:
		m.Prev, m.Entries, m.Commit, m.Safe, m.Round = low, genEntries(t, low.Index), n.Draw(t, "commit"), n.Draw(t, "safe"), n.Draw(t, "round")
		m.Differs = yes("differs")
		if m.SumAt = n.Draw(t, "sum at"); m.SumAt != 0 {
			m.Sum = n.Draw(t, "sum")
		}
		m.Asked = genLasting(t, "asked")
	case strong.MsgAppendAck:
		if m.Asked = genLasting(t, "asked"); m.Asked != 0 {
			m.Lease = 1 + genLasting(t, "lease")/2
		}
		if m.SumAt = n.Draw(t, "sum at"); m.SumAt != 0 {
			m.Sum = n.Draw(t, "sum")
		}
		m.Match, m.Applied, m.Round, m.Full = n.Draw(t, "match"), n.Draw(t, "applied"), n.Draw(t, "round"), yes("full")
		m.Reject, m.Differs = yes("reject"), yes("differs")
		if m.Reject {
			m.Prev = low
		} else {
			m.WallMS = rapid.Int64().Draw(t, "clock")
		}
	case strong.MsgConfirm:
		m.Round = n.Draw(t, "round")
	case strong.MsgConfirmAck:
		m.Round, m.Full = n.Draw(t, "round"), yes("full")
	case strong.MsgReadIndex:
		m.ID = n.Draw(t, "id")
	case strong.MsgReadIndexReply:
		m.ID, m.Match, m.Reject = n.Draw(t, "id"), n.Draw(t, "match"), yes("reject")
	case strong.MsgPeek:
		m.ID, m.Bucket, m.Key = n.Draw(t, "id"), hashring.BucketID(n.Draw(t, "bucket")), bytesOf(t, "key", 1, 30)
	case strong.MsgPeekReply:
		m.ID, m.Full, m.Promised, m.Last, m.Commit, m.Open = n.Draw(t, "id"), yes("full"), n.Draw(t, "promised"), genPosition(t), n.Draw(t, "commit"), yes("open")
		if yes("value there") {
			m.Value = genStrongValue(t)
		}
	case strong.MsgSnapOffer:
		m.Prev, m.Round, m.Commit = low, n.Draw(t, "round"), n.Draw(t, "commit")
	case strong.MsgSnapAsk, strong.MsgSnapReply:
		m.Part, m.Prev, m.After = strong.Part(rapid.IntRange(0, 2).Draw(t, "part")), low, bytesOf(t, "after", 0, 40)
		m.Match = rapid.Uint64Max(math.MaxUint64-10).Draw(t, "match")
	}
	if k == strong.MsgSnapReply {
		m.Rows, m.Entries, m.Next, m.More = genStrongRows(t), genEntries(t, m.Match), bytesOf(t, "next", 0, 40), yes("more")
		m.Commit, m.LogTimeMS, m.Gone = n.Draw(t, "commit"), rapid.Int64().Draw(t, "log time"), yes("gone")
	}
	return m
}

// genStrongRequest adds what only strong buckets know.
func genStrongRequest(t *rapid.T, r *core.Request) {
	yes := func(name string) bool { return rapid.Bool().Draw(t, name) }
	r.Level, r.Delta = core.Level(rapid.IntRange(0, int(core.LevelLease)).Draw(t, "level")), rapid.Int64().Draw(t, "delta")
	r.If = strong.Condition{IfMatch: genStrongVersion(t), IfPresent: yes("present"), IfNoneMatch: yes("none")}
	for range rapid.IntRange(0, 3).Draw(t, "or") {
		r.If.Or = append(r.If.Or, genStrongVersion(t))
	}
	if yes("strong id") {
		r.StrongID = genStrongID(t)
	}
	if r.Op != core.OpList && yes("increment") {
		r.Op = core.OpIncrement
	}
}

func genStrongReply(t *rapid.T, r *core.Reply) {
	r.Strong = &core.StrongReply{Version: genStrongVersion(t), Count: rapid.Int64().Draw(t, "count"), Level: core.Level(rapid.IntRange(0, int(core.LevelLease)).Draw(t, "level")),
		Applied: rapid.Uint64().Draw(t, "applied"), Again: rapid.Bool().Draw(t, "again")}
	if rapid.Bool().Draw(t, "value there") {
		r.Strong.Value = genStrongValue(t)
	}
	for i := range r.Inspect {
		r.Inspect[i].Version = genStrongVersion(t)
	}
	if r.List != nil {
		for i := range r.List.Rows {
			r.List.Rows[i].Strong = genStrongValue(t)
		}
	}
}

// What says nothing of strong buckets is sent as before, so that older nodes
// understand it; anything that does is of the version that they came with, and nothing
// is taken under the version of the other.
func TestProtocolOfStrongBuckets(t *testing.T) {
	value := goldenEntry(1).Value
	request := func(r core.Request) core.Message {
		r.Bucket, r.Key = "b", []byte("k")
		return core.Message{Kind: core.MsgForward, Request: &r}
	}
	reply := func(r core.Reply) core.Message { return core.Message{Kind: core.MsgForwarded, Reply: &r} }
	for name, c := range map[string]struct {
		m    core.Message
		want uint16
	}{
		"get":           {request(core.Request{Op: core.OpGet}), 2},
		"level":         {request(core.Request{Op: core.OpGet, Level: core.LevelLeader}), 4},
		"if match":      {request(core.Request{Op: core.OpPut, If: strong.Condition{IfMatch: value.Version}}), 4},
		"if present":    {request(core.Request{Op: core.OpPut, If: strong.Condition{IfPresent: true}}), 4},
		"if none match": {request(core.Request{Op: core.OpPut, If: strong.Condition{IfNoneMatch: true}}), 4},
		"id":            {request(core.Request{Op: core.OpPut, StrongID: strong.RequestID{StampMS: 1}}), 4},
		"increment":     {request(core.Request{Op: core.OpIncrement}), 4},
		"ok":            {reply(core.Reply{}), 2},
		"clock skew":    {reply(core.Reply{Code: core.ClockSkew}), 2},
		"precondition":  {reply(core.Reply{Code: core.PreconditionFailed}), 4},
		"strong":        {reply(core.Reply{Strong: &core.StrongReply{}}), 4},
		"inspected":     {reply(core.Reply{Inspect: []core.InspectRow{{Version: value.Version}}}), 4},
		"listed":        {reply(core.Reply{List: &core.ListPage{Rows: []core.ListRow{{Key: []byte("k"), Strong: value}}}}), 4},
		"scanned":       {core.Message{Kind: core.MsgScanReply, Rows: []core.Row{{Key: []byte("k"), Strong: value}}}, 4},
		"object":        {core.Message{Kind: core.MsgScanReply, Rows: []core.Row{{Key: []byte("k"), Object: tombstone()}}}, 2},
	} {
		b := AppendMessage(nil, &c.m)
		got, err := DecodeMessage(b)
		if uint16(b[0]) != c.want || err != nil || !bytes.Equal(AppendMessage(nil, &got), b) {
			t.Errorf("%s: version %d, %v", name, b[0], err)
		}
		b[0] ^= 2 ^ 4
		if _, err := DecodeMessage(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s as version %d: %v", name, b[0], err)
		}
	}
}

// Every kind of strong message comes back with all that it carries.
func TestStrongRoundTrip(t *testing.T) {
	for k := strong.MessageKind(1); k < strong.MessageKindCount; k++ {
		t.Run(k.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := core.Message{Kind: core.MsgStrong, Partition: 3, Strong: []*strong.Message{genStrong(t, k), {Kind: strong.MsgConfirm, Epoch: 1}}}
				b := AppendMessage(nil, &want)
				got, err := DecodeMessage(b)
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("sent %+v\ngot  %+v, %v", want.Strong[0], got.Strong, err)
				}
				if again := AppendMessage(nil, &got); !bytes.Equal(again, b) {
					t.Fatalf("encodes to %x, then to %x", b, again)
				}
			})
		})
	}
}

// The rows of strong partitions come back from the disk, and no flipped bit passes.
func TestStrongRowsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := func(b []byte, want any, decode func([]byte) (any, error)) {
			got, err := decode(b)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("stored %+v\ngot    %+v, %v", want, got, err)
			}
			flipped := bytes.Clone(b)
			flipped[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			if _, err := decode(flipped); !errors.Is(err, core.ErrCorrupt) {
				t.Fatalf("a flipped bit: %v", err)
			}
			newer := append([]byte{StrongFormat + 1}, b[1:len(b)-4]...)
			var v *VersionError
			if _, err := decode(sealed(newer)); !errors.As(err, &v) || errors.Is(err, core.ErrCorrupt) {
				t.Fatalf("a newer format: %v", err)
			}
		}
		e, v, c := genEntry(t, genPosition(t)), genStrongValue(t), genCompletion(t)
		h := strong.Hard{Promised: 7, Base: genPosition(t), Commit: rapid.Uint64().Draw(t, "commit"), Applied: 3, LogTimeMS: rapid.Int64().Draw(t, "time"), Generation: 9,
			Sum: rapid.Uint64().Draw(t, "sum"), Diverged: rapid.Bool().Draw(t, "diverged"), Lease: genLasting(t, "lease")}
		row(AppendStrongEntry(nil, e), e, func(b []byte) (any, error) { return DecodeStrongEntry(b) })
		row(AppendStrongValue(nil, v), v, func(b []byte) (any, error) { return DecodeStrongValue(b) })
		row(AppendCompletion(nil, c), c, func(b []byte) (any, error) { return DecodeCompletion(b) })
		row(AppendHard(nil, &h), h, func(b []byte) (any, error) { return DecodeHard(b) })
	})
}

// What the shape of a strong message allows but its rules do not.
func TestStrongRefused(t *testing.T) {
	entry := func(change func(*strong.Entry)) *strong.Entry {
		e := goldenEntry(8)
		change(e)
		return e
	}
	appended := func(entries ...*strong.Entry) *strong.Message {
		return &strong.Message{Kind: strong.MsgAppend, Epoch: 9, Prev: strong.Position{Epoch: 8, Index: 7}, Entries: entries}
	}
	last := appended(entry(func(*strong.Entry) {}))
	last.Prev.Index = math.MaxUint64
	for name, m := range map[string]*strong.Message{
		"no key in a peek":       {Kind: strong.MsgPeek},
		"unknown part":           {Kind: strong.MsgSnapAsk, Part: 3},
		"epochs fall":            appended(entry(func(e *strong.Entry) { e.Epoch = 9 }), entry(func(e *strong.Entry) { e.Epoch = 8 })),
		"entry without kind":     appended(entry(func(e *strong.Entry) { e.Kind = 0 })),
		"refusal without answer": appended(&strong.Entry{Epoch: 8, Index: 8, Kind: strong.Refusal}),
		"barrier with answer":    appended(&strong.Entry{Epoch: 8, Index: 8, Kind: strong.Barrier, Done: &strong.Completion{}}),
		"effect without key":     appended(entry(func(e *strong.Entry) { e.Key = nil })),
		"key too long":           appended(entry(func(e *strong.Entry) { e.Key = make([]byte, core.MaxKey+1) })),
		"value too large":        appended(entry(func(e *strong.Entry) { e.Value.Data = make([]byte, core.MaxValue+1) })),
		"negative stamp":         appended(entry(func(e *strong.Entry) { e.Done.ID.StampMS = -1 })),
		"unknown code":           appended(entry(func(e *strong.Entry) { e.Done.Code = strong.CodeCount })),
		"cursor too long":        {Kind: strong.MsgSnapAsk, After: make([]byte, MaxCursor+1)},
		"behind the last index":  last,
	} {
		b := AppendMessage(nil, &core.Message{Kind: core.MsgStrong, Strong: []*strong.Message{m}})
		if m, err := DecodeMessage(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	head := AppendMessage(nil, &core.Message{Kind: core.MsgStrong})
	head = head[:len(head)-1]
	for name, tail := range map[string][]byte{
		"no messages": {0}, "kind 0": {1, 0, 1}, "unknown kind": {1, byte(strong.MessageKindCount), 1},
		"unknown flag":          {1, byte(strong.MsgConfirmAck), 1, smOpen, 1},
		"asked at zero":         {1, byte(strong.MsgAppend), 1, smHasAsked, 0, 0, 0, 0, 0, 0, 0},
		"lent for ever":         {1, byte(strong.MsgAppendAck), 1, smHasAsked, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1},
		"tombstone with a type": {1, byte(strong.MsgPeekReply), 1, smHasValue, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, valTombstone | valCounter},
		"too many":              binary.AppendUvarint(nil, MaxStrongMessages+1),
	} {
		if m, err := DecodeMessage(append(bytes.Clone(head), tail...)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// Whoever adds a field to what this codec carries finds it here, and says in the codec
// which kinds have it.
func TestFieldsAreKnown(t *testing.T) {
	for _, c := range []struct {
		of     any
		fields int
	}{
		{strong.Message{}, 31}, {strong.Entry{}, 9}, {strong.Value{}, 6}, {strong.Completion{}, 5}, {strong.Row{}, 4}, {strong.Hard{}, 9}, {strong.Condition{}, 4},
		{core.Request{}, 26}, {core.Reply{}, 17}, {core.StrongReply{}, 6}, {core.InspectRow{}, 9}, {core.ListRow{}, 3}, {core.Row{}, 9}, {core.Message{}, 29},
	} {
		if got := reflect.TypeOf(c.of).NumField(); got != c.fields {
			t.Errorf("%T has %d fields, the codec was made for %d", c.of, got, c.fields)
		}
	}
}

// A full Append with one of the largest values behind it fits into a message, and a
// message is about as long as its Size, by which the road is chosen.
func TestStrongMessageSize(t *testing.T) {
	small, large := appendOf(1000, 150), appendOf(1, core.MaxValue)
	large.Entries[0].Key = make([]byte, core.MaxKey)
	m := core.Message{Kind: core.MsgStrong, Strong: []*strong.Message{small, large}}
	b := AppendMessage(nil, &m)
	if _, err := DecodeMessage(b); err != nil {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	for _, x := range m.Strong {
		got := len(appendStrongMessage(nil, x))
		if size := x.Size(); size < got || size > got*3/2 {
			t.Errorf("%v of %d entries: %d bytes, its size says %d", x.Kind, len(x.Entries), got, size)
		}
	}
	if hint := SizeHint(&m); hint < len(b) {
		t.Errorf("%d bytes, the hint said %d", len(b), hint)
	}
}

// appendOf is an Append of n writes with values of a size.
func appendOf(n, size int) *strong.Message {
	m := &strong.Message{Kind: strong.MsgAppend, Epoch: 300, Prev: strong.Position{Epoch: 300, Index: 1_000_000}, Commit: 1_000_000, Safe: 999_000}
	for i := range n {
		at := m.Prev.Index + 1 + uint64(i)
		m.Entries = append(m.Entries, &strong.Entry{Epoch: 300, Index: at, Kind: strong.Effect, TimeMS: 1_700_000_000_000, Bucket: 12, Key: []byte("a-key-of-usual-length"),
			Value: &strong.Value{Version: strong.Version{Incarnation: 1, Epoch: 300, Index: at}, Data: make([]byte, size), ContentType: "application/json", Sum: 5}})
	}
	return m
}

// A length that promises more than the input holds is not believed here either.
func TestStrongLengthsAreNotBelieved(t *testing.T) {
	m := core.Message{Kind: core.MsgStrong, Strong: []*strong.Message{{Kind: strong.MsgAppend}}}
	b := AppendMessage(nil, &m)
	b = append(b[:len(b)-1], 0xff, 0xff, 0x03) // 65,535 entries
	r := testing.Benchmark(func(b2 *testing.B) {
		for b2.Loop() {
			_, _ = DecodeMessage(b)
		}
	})
	if r.AllocedBytesPerOp() > 4000 {
		t.Errorf("%d bytes allocated for an input of %d", r.AllocedBytesPerOp(), len(b))
	}
}

func goldenEntry(index uint64) *strong.Entry {
	v := strong.Version{Incarnation: 1, Epoch: 8, Index: index}
	return &strong.Entry{Epoch: 8, Index: index, Kind: strong.Effect, TimeMS: 1_700_000_000_000, Bucket: 12, Key: []byte("key"), Old: 0xf00d,
		Value: &strong.Value{Version: v, Data: []byte("value"), ContentType: "text/plain", Sum: 99},
		Done:  goldenCompletion(v)}
}

func goldenCompletion(v strong.Version) *strong.Completion {
	return &strong.Completion{ID: strong.RequestID{StampMS: 1_700_000_000_001, Nonce: [16]byte{1, 15: 2}}, Digest: 0xfeed, Version: v, Count: -3}
}

// goldenStrong has every field set in each kind; a kind takes those that it carries.
func goldenStrong() (all []*strong.Message) {
	refused := goldenCompletion(strong.Version{Incarnation: 1, Epoch: 2, Index: 3})
	refused.Code = strong.PreconditionFailed
	gone := &strong.Value{Version: strong.Version{Incarnation: 2, Epoch: 8, Index: 301}, Tombstone: true}
	for k := strong.MessageKind(1); k < strong.MessageKindCount; k++ {
		all = append(all, &strong.Message{Kind: k, Epoch: 9, Prev: strong.Position{Epoch: 8, Index: 299}, Last: strong.Position{Epoch: 8, Index: 400},
			Entries: []*strong.Entry{goldenEntry(300), {Epoch: 8, Index: 301, Kind: strong.Effect, TimeMS: 1_700_000_000_002, Bucket: 12, Key: []byte("k"), Value: gone},
				{Epoch: 9, Index: 302, Kind: strong.Refusal, TimeMS: 1_700_000_000_003, Done: refused}, {Epoch: 9, Index: 303, Kind: strong.Barrier, TimeMS: 1_700_000_000_004}},
			Commit: 298, Safe: 200, Round: 5, Match: 299, Applied: 290, Promised: 9, ID: 0x0100000000000007, Bucket: 12, Key: []byte("key"), Value: gone,
			Part: strong.PartCompletions, After: []byte("after"), Next: []byte("next"),
			Rows:      []strong.Row{{Bucket: 12, Key: []byte("key"), Value: &strong.Value{Version: strong.Version{Incarnation: 1, Epoch: 2, Index: 3}, Counter: true, Data: []byte("42")}}, {Done: refused}},
			LogTimeMS: 1_700_000_000_005, SumAt: 290, Sum: 0xbeef, Differs: true, Full: true, Reject: true, Open: true, More: true, Gone: true})
	}
	return all
}

// goldenLease is what leases have added, in messages of older kinds.
func goldenLease() []*strong.Message {
	return []*strong.Message{{Kind: strong.MsgAppend, Epoch: 9, Round: 5, Asked: 77 * time.Second},
		{Kind: strong.MsgAppendAck, Epoch: 9, Round: 5, Match: 299, Asked: 77 * time.Second, Lease: time.Second}}
}
