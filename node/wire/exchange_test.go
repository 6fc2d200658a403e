package wire

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// genExchange draws a message of kind k with the fields that antientropy's table gives it.
func genExchange(t *rapid.T, k antientropy.Kind) *antientropy.Message {
	n64 := rapid.Uint64()
	m := &antientropy.Message{Kind: k, Exchange: n64.Draw(t, "exchange"), Step: rapid.Uint32().Draw(t, "step"), Epoch: n64.Draw(t, "epoch"),
		Generation: n64.Draw(t, "generation"), Thorough: rapid.Bool().Draw(t, "thorough")}
	if k.IsReply() || k == antientropy.MsgEnd {
		m.Reason = antientropy.Reason(rapid.IntRange(0, int(antientropy.ReasonCount)-1).Draw(t, "reason"))
	}
	switch k {
	case antientropy.MsgOpen, antientropy.MsgOpenReply, antientropy.MsgDigestsReply:
		m.Digests = genDigests(t)
	case antientropy.MsgDigests:
		m.Level, m.Nodes = uint8(rapid.IntRange(0, antientropy.LeafTier).Draw(t, "level")), genNodes(t)
	case antientropy.MsgCompare:
		m.Nodes, m.After, m.Upto, m.Theirs, m.Rows = genNodes(t), genPos(t), genPos(t), rapid.Bool().Draw(t, "theirs"), genExchangeRows(t, false)
	case antientropy.MsgCompareReply:
		m.Rows, m.Upto = genExchangeRows(t, false), genPos(t)
	case antientropy.MsgLook:
		m.Rows, m.Moving = genExchangeRows(t, true), genPlaces(t)
	case antientropy.MsgLookReply:
		m.Rows, m.Want, m.Moving, m.Limit = genExchangeRows(t, false), genPlaces(t), genPlaces(t), rapid.Uint16().Draw(t, "limit")
	case antientropy.MsgFetch:
		m.Nodes, m.Digests, m.After = genNodes(t), genDigests(t), genPos(t)
	case antientropy.MsgFetchReply:
		m.Rows, m.Upto, m.Moving = genExchangeRows(t, false), genPos(t), genPlaces(t)
	case antientropy.MsgPush:
		m.Rows = genExchangeRows(t, false)
	}
	return m
}

func genNodes(t *rapid.T) []uint16 {
	nodes := rapid.SliceOfNDistinct(rapid.Uint16Max(antientropy.Leaves-1), 0, 20, rapid.ID).Draw(t, "nodes")
	if len(nodes) == 0 {
		return nil
	}
	slices.Sort(nodes)
	return nodes
}

func genDigests(t *rapid.T) (out []antientropy.Digest) {
	for range rapid.IntRange(0, 20).Draw(t, "digests") {
		d := antientropy.Digest{Keys: rapid.Uint32().Draw(t, "keys")}
		if d.Keys != 0 {
			d.Sum = rapid.Uint64().Draw(t, "sum")
		}
		out = append(out, d)
	}
	return out
}

func genPos(t *rapid.T) antientropy.Pos {
	return antientropy.Pos{Leaf: rapid.Uint16Max(antientropy.Leaves).Draw(t, "leaf"), Bucket: hashring.BucketID(rapid.Uint64().Draw(t, "pos bucket")), Key: bytesOf(t, "pos key", 0, 20)}
}

func genPlaces(t *rapid.T) []uint16 {
	return slices.Clip(append([]uint16(nil), rapid.SliceOfN(rapid.Uint16(), 0, 5).Draw(t, "places")...))
}

func genExchangeRows(t *rapid.T, clocks bool) (rows []antientropy.Row) {
	for range rapid.IntRange(0, 4).Draw(t, "exchange rows") {
		r := antientropy.Row{Bucket: hashring.BucketID(rapid.Uint64().Draw(t, "row bucket")), Key: bytesOf(t, "row key", 1, 20),
			Version: rapid.Uint64().Draw(t, "version"), Object: maybeObject(t)}
		if clocks && r.Object != nil {
			o := &version.Object{Context: r.Object.Context}
			for i := range r.Object.Siblings {
				o.Siblings = append(o.Siblings, version.Sibling{Dot: r.Object.Siblings[i].Dot})
			}
			r.Object = o
		}
		rows = append(rows, r)
	}
	return rows
}

func genRound(t *rapid.T, answer bool) *core.RoundWords {
	n64 := rapid.Uint64()
	ask := n64.Draw(t, "ask")
	if rapid.Bool().Draw(t, "confirmation") {
		c := &antientropy.Confirmation{Ask: ask}
		if answer {
			c.Boot, c.Epoch, c.Generation, c.Seen = n64.Draw(t, "boot"), n64.Draw(t, "epoch"), n64.Draw(t, "generation"), genVector(t, 0)
		}
		return &core.RoundWords{Confirmation: c, Survey: rapid.Bool().Draw(t, "survey")}
	}
	r := &antientropy.Report{Ask: ask}
	if answer {
		r.Boot, r.Epoch, r.Generation, r.Cut = n64.Draw(t, "boot"), n64.Draw(t, "epoch"), n64.Draw(t, "generation"), genVector(t, 0)
		r.Hints, r.Marks, r.WallMS = n64.Draw(t, "hints"), n64.Draw(t, "marks"), rapid.Int64().Draw(t, "wall")
	}
	return &core.RoundWords{Report: r}
}

// What antientropy counts as a message's bytes, for its pace and its figures, is about
// what the codec makes of it.
func TestExchangeSize(t *testing.T) {
	var m antientropy.Message
	m.Kind = antientropy.MsgPush
	for range 100 {
		m.Rows = append(m.Rows, antientropy.Row{Bucket: 12, Key: []byte("a-key-of-usual-length"), Object: sample(100)})
	}
	got, counted := len(appendExchange(nil, 3, &m)), int(m.Size())
	if got > counted*11/10 || got < counted*3/4 {
		t.Errorf("%d bytes, counted as %d", got, counted)
	}
}

// The versions that kinds came with: an older peer takes what it knows, and nobody
// takes a kind under the version of another.
func TestProtocolOfKinds(t *testing.T) {
	for _, k := range kinds() {
		want := uint16(2)
		if k >= core.MsgExchange {
			want = 3
		}
		if k >= core.MsgStrong {
			want = 4
		}
		var b []byte
		for _, m := range goldenMessages() {
			if m.Kind == k && b == nil {
				b = AppendMessage(nil, &m)
			}
		}
		if uint16(b[0]) != want {
			t.Errorf("%s is sent as version %d", k, b[0])
		}
		b[0] = byte(want%3) + 2
		if _, err := DecodeMessage(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s of version %d: %v", k, b[0], err)
		}
	}
}
