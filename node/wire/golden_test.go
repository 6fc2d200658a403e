package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

var rewrite = flag.Bool("rewrite", false, "write testdata anew: the format has changed on purpose, and so has its version")

// The bytes of record format 1 and of all messages. A change here breaks stores and peers of released
// versions: raise RecordFormat or ProtocolMax, and keep reading the old ones.
func TestGoldenBytes(t *testing.T) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "record %s\n", hex.EncodeToString(AppendRecord(nil, sample(5))))
	fmt.Fprintf(&out, "record of a tombstone %s\n", hex.EncodeToString(AppendRecord(nil, tombstone())))
	fmt.Fprintf(&out, "log entry %s\n", hex.EncodeToString(AppendStrongEntry(nil, goldenEntry(300))))
	fmt.Fprintf(&out, "strong value %s\n", hex.EncodeToString(AppendStrongValue(nil, goldenEntry(300).Value)))
	fmt.Fprintf(&out, "completion record %s\n", hex.EncodeToString(AppendCompletion(nil, goldenEntry(300).Done)))
	fmt.Fprintf(&out, "hard row %s\n", hex.EncodeToString(AppendHard(nil, &strong.Hard{Promised: 9, Base: strong.Position{Epoch: 8, Index: 200}, Commit: 400, Applied: 399, LogTimeMS: 1_700_000_000_000, Generation: 7, Sum: 5, Diverged: true})))
	fmt.Fprintf(&out, "hard row of a lender %s\n", hex.EncodeToString(AppendHard(nil, &strong.Hard{Promised: 9, Lease: time.Second})))
	for _, m := range goldenMessages() {
		b := AppendMessage(nil, &m)
		if _, err := DecodeMessage(b); err != nil {
			t.Errorf("%s: %v", m.Kind, err)
		}
		fmt.Fprintf(&out, "%s %s\n", m.Kind, hex.EncodeToString(b))
	}
	path := filepath.Join("testdata", "format1.hex")
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")); !bytes.Equal(out.Bytes(), want) {
		t.Errorf("the format has changed; now:\n%s\nbefore:\n%s", out.Bytes(), want)
	}
}

func tombstone() *version.Object {
	dot := version.Dot{Actor: 5, Counter: 2}
	return &version.Object{Context: version.Vector{dot},
		Siblings: []version.Sibling{{Dot: dot, HLC: 77, Tombstone: true, ExpiryMS: 1_700_000_000_000}}}
}

func goldenMessages() (all []core.Message) {
	sid := func(b byte) hashring.SID { return hashring.SID{0: b, 15: 0xff} }
	for _, k := range kinds() {
		m := core.Message{Kind: k, RingVersion: 300, Epoch: 4, Partition: 129, ID: 0x0100000000000007}
		m.Bucket, m.Key, m.Hash, m.Target = 12, []byte("key"), 0xdeadbeefcafef00d, sid(1)
		m.Object, m.Timeout, m.Fallback = sample(3), 2*time.Second, true
		m.Prefix, m.Cursor, m.Limit, m.Values, m.More = []byte("pre"), []byte("cur"), 100, true, true
		m.Reason = quorum.ReasonStaleEpoch
		m.Rows = []core.Row{{Bucket: 12, Key: []byte("row"), Object: tombstone(), Target: sid(2), Gen: 9, Cursor: []byte("c")}, {Key: []byte("x")}}
		m.Request = &core.Request{Op: core.OpPut, Bucket: "default", Key: []byte("key"), ID: version.RequestID{7}, Value: []byte("value"),
			ContentType: "text/plain", Sum: 99, HasContext: true, Context: version.Context{Bucket: 12, KeyHash: 13, HLC: 14, Seen: sample(0).Context},
			HasAfter: true, R: core.All, W: 2, PW: 1, Sloppy: core.Yes, TTL: time.Hour, Timeout: time.Second, OwnerOnly: true, Hops: 1}
		m.Reply = goldenReply(sid)
		m.N, m.Gen, m.Exchange = 3, 77, goldenExchange(antientropy.MsgOpenReply)
		m.Round = &core.RoundWords{Report: &antientropy.Report{Ask: 8, Boot: 7, Epoch: 4, Generation: 2, Hints: 1, Marks: 300, Cut: sample(0).Context, WallMS: 1_700_000_000_000}}
		m.Strong = goldenStrong()
		all = append(all, m)
	}
	all = append(all, core.Message{Kind: core.MsgStrong, Strong: goldenLease()})
	for k := range antientropy.KindCount {
		all = append(all, core.Message{Kind: core.MsgExchange, RingVersion: 300, Epoch: 4, Partition: 129, N: 3, Exchange: goldenExchange(k)})
	}
	for _, k := range []core.Kind{core.MsgRoundAsk, core.MsgRoundWord} {
		all = append(all, core.Message{Kind: k, RingVersion: 300, Epoch: 4, Partition: 129, Round: &core.RoundWords{Survey: true,
			Confirmation: &antientropy.Confirmation{Ask: 9, Boot: 7, Epoch: 4, Generation: 2, Seen: sample(0).Context}}})
	}
	list := core.Message{Kind: core.MsgForward, Request: &core.Request{Op: core.OpList, Bucket: "b",
		List: core.ListRequest{Prefix: []byte("p"), Start: []byte("s"), After: []byte("a"), Limit: 10, Values: true}}}
	strongest := &core.Request{Op: core.OpIncrement, Bucket: "b", Key: []byte("k"), Level: core.LevelQuorum, Delta: -5, StrongID: strong.RequestID{StampMS: 1_700_000_000_000, Nonce: [16]byte{7}},
		If: strong.Condition{IfMatch: strong.Version{Incarnation: 1, Epoch: 8, Index: 300}, Or: []strong.Version{{Incarnation: 1, Epoch: 8, Index: 301}}, IfPresent: true, IfNoneMatch: true}}
	value := goldenEntry(300).Value
	reply := goldenReply(sid)
	reply.Code, reply.Inspect[0].Version, reply.List.Rows[1].Strong = core.PrimaryChanged, value.Version, value
	reply.Strong = &core.StrongReply{Version: value.Version, Value: value, Count: -7, Level: core.LevelStale, Applied: 300, Again: true}
	return append(all, list, core.Message{Kind: core.MsgForward, Request: strongest}, core.Message{Kind: core.MsgForwarded, Reply: reply},
		core.Message{Kind: core.MsgScanReply, Rows: []core.Row{{Bucket: 12, Key: []byte("row"), Strong: value}}})
}

// goldenExchange has every field set; a kind takes those that it carries.
func goldenExchange(k antientropy.Kind) *antientropy.Message {
	row := antientropy.Row{Bucket: 12, Key: []byte("row"), Version: 0xfeed, Object: sample(3)}
	return &antientropy.Message{Kind: k, Exchange: 0x0100000000000009, Step: 3, Epoch: 4, Generation: 2, Thorough: true, Reason: antientropy.ReasonMerge,
		Level: 2, Nodes: []uint16{0, 1, 300}, Digests: []antientropy.Digest{{Sum: 5, Keys: 400}, {}, {Sum: 1, Keys: 1}},
		After: antientropy.Pos{Leaf: 7, Bucket: 12, Key: []byte("after")}, Upto: antientropy.End, Theirs: true,
		Rows: []antientropy.Row{row, {Bucket: 12, Key: []byte("s")}}, Want: []uint16{0}, Moving: []uint16{1}, Limit: 2}
}

func goldenReply(sid func(byte) hashring.SID) *core.Reply {
	return &core.Reply{Code: core.QuorumUnavailable, Outcome: core.NotApplied, Detail: "need 2, got 1", Object: sample(3),
		Context: version.Context{Bucket: 12, Seen: sample(0).Context}, NothingWritten: true,
		Receipt: quorum.Receipt{N: 3, Need: 2, Acks: 1, Owners: 1, Fallbacks: 0, Synced: 1},
		Failed:  []quorum.Failure{{Store: sid(3), Reason: quorum.ReasonTimeout}}, Owners: []hashring.SID{sid(1), sid(2)},
		RingVersion: 300, Epoch: 4, Partition: 129, ServedBy: sid(4), RetryAfter: time.Second,
		Inspect: []core.InspectRow{{Store: sid(1), Fallback: true, State: core.TombstoneState, Hash: 5, Size: 6, HLC: 7, InSync: true,
			Dots: []version.Dot{{Actor: 5, Counter: 2}}}},
		List: &core.ListPage{Next: []byte("n"), Complete: true, Rows: []core.ListRow{{Key: []byte("n"), Object: tombstone()}, {Key: []byte("o")}}}}
}
