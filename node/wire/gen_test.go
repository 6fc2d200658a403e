package wire

import (
	"hash/crc32"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

// Generators of everything the codec carries, all fields set at random, zero
// values included. Empty byte strings are nil, which is what a decoder gives.

func bytesOf(t *rapid.T, name string, least, most int) []byte {
	b := rapid.SliceOfN(rapid.Byte(), least, most).Draw(t, name)
	if len(b) == 0 {
		return nil
	}
	return b
}

func genSID(t *rapid.T, name string) (s hashring.SID) {
	if rapid.Bool().Draw(t, name+" set") {
		copy(s[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name))
	}
	return s
}

func genVector(t *rapid.T, least int) version.Vector {
	actors := rapid.SliceOfNDistinct(rapid.Uint64(), least, 7, rapid.ID).Draw(t, "actors")
	if len(actors) == 0 {
		return nil
	}
	slices.Sort(actors)
	v := make(version.Vector, len(actors))
	for i, a := range actors {
		v[i] = version.Dot{Actor: version.Actor(a), Counter: rapid.Uint64Min(1).Draw(t, "counter")}
	}
	return v
}

func genObject(t *rapid.T) *version.Object {
	o := &version.Object{Context: genVector(t, 0)}
	for _, top := range o.Context {
		for range rapid.IntRange(0, 2).Draw(t, "siblings of actor") {
			dot := version.Dot{Actor: top.Actor, Counter: rapid.Uint64Range(1, top.Counter).Draw(t, "dot")}
			if n := len(o.Siblings); n > 0 && o.Siblings[n-1].Dot.Compare(dot) >= 0 {
				continue
			}
			o.Siblings = append(o.Siblings, genSibling(t, dot))
		}
	}
	return o
}

func genSibling(t *rapid.T, dot version.Dot) version.Sibling {
	return version.Sibling{
		Dot: dot, HLC: version.HLC(rapid.Uint64().Draw(t, "hlc")), Tombstone: rapid.Bool().Draw(t, "tombstone"),
		ExpiryMS: rapid.Int64Min(0).Draw(t, "expiry"), Request: version.RequestID(genSID(t, "request")),
		ContentType: rapid.SampledFrom([]string{"", "text/plain", "application/json", "image/png", "x/y; a=b"}).Draw(t, "type"),
		Value:       bytesOf(t, "value", 0, 40), Sum: rapid.Uint32().Draw(t, "sum"),
	}
}

func maybeObject(t *rapid.T) *version.Object {
	if rapid.Bool().Draw(t, "object there") {
		return genObject(t)
	}
	return nil
}

func genContext(t *rapid.T) version.Context {
	return version.Context{Bucket: rapid.Uint64().Draw(t, "context bucket"), KeyHash: rapid.Uint64().Draw(t, "context key"),
		HLC: version.HLC(rapid.Uint64().Draw(t, "context hlc")), Seen: genVector(t, 0)}
}

func duration(t *rapid.T, name string) time.Duration {
	return time.Duration(rapid.Int64().Draw(t, name))
}

func genReason(t *rapid.T) quorum.Reason {
	return rapid.SampledFrom([]quorum.Reason{quorum.ReasonNone, quorum.ReasonStaleEpoch, quorum.ReasonSiblings, quorum.ReasonTooLarge}).Draw(t, "reason")
}

func genRequest(t *rapid.T) *core.Request {
	r := &core.Request{
		Op: core.Op(rapid.IntRange(int(core.OpGet), int(core.OpList)).Draw(t, "op")), Bucket: rapid.StringN(0, 20, 60).Draw(t, "bucket"),
		Key: bytesOf(t, "key", 0, 30), ID: version.RequestID(genSID(t, "id")), Value: bytesOf(t, "value", 0, 50),
		ContentType: rapid.StringN(0, 20, 80).Draw(t, "type"), Sum: rapid.Uint32().Draw(t, "sum"),
		HasContext: rapid.Bool().Draw(t, "has context"), ReadFirst: rapid.Bool().Draw(t, "read first"), HasAfter: rapid.Bool().Draw(t, "has after"),
		R: core.Count(rapid.Int8Min(-1).Draw(t, "r")), W: core.Count(rapid.Int8Min(-1).Draw(t, "w")), PW: core.Count(rapid.Int8Min(-1).Draw(t, "pw")),
		Sloppy: core.Tri(rapid.IntRange(0, 2).Draw(t, "sloppy")), TTL: duration(t, "ttl"), Timeout: duration(t, "timeout"),
		OwnerOnly: rapid.Bool().Draw(t, "owner only"), Hops: rapid.Byte().Draw(t, "hops"),
	}
	if r.HasContext {
		r.Context = genContext(t)
	}
	if r.HasAfter {
		r.After = genContext(t)
	}
	if r.Op == core.OpList {
		r.List = core.ListRequest{Prefix: bytesOf(t, "prefix", 0, 9), Start: bytesOf(t, "start", 0, 9), After: bytesOf(t, "after", 0, 9),
			Limit: rapid.IntRange(0, core.MaxListLimit).Draw(t, "limit"), Values: rapid.Bool().Draw(t, "values")}
	}
	if rapid.Bool().Draw(t, "strong") {
		genStrongRequest(t, r)
	}
	return r
}

func genReply(t *rapid.T) *core.Reply {
	n := rapid.Int32()
	r := &core.Reply{
		Code: core.Code(rapid.IntRange(0, int(core.CodeCount)-1).Draw(t, "code")), Outcome: core.Outcome(rapid.IntRange(0, 3).Draw(t, "outcome")),
		Detail: rapid.StringN(0, 40, 160).Draw(t, "detail"), Object: maybeObject(t), NothingWritten: rapid.Bool().Draw(t, "nothing"),
		Receipt: quorum.Receipt{N: int(n.Draw(t, "n")), Need: int(n.Draw(t, "need")), Acks: int(n.Draw(t, "acks")),
			Owners: int(n.Draw(t, "owners")), Fallbacks: int(n.Draw(t, "fallbacks")), Synced: int(n.Draw(t, "synced"))},
		RingVersion: rapid.Uint64().Draw(t, "ring"), Epoch: rapid.Uint64().Draw(t, "epoch"), Partition: rapid.Uint32().Draw(t, "partition"),
		ServedBy: genSID(t, "served by"), RetryAfter: duration(t, "retry"),
	}
	if rapid.Bool().Draw(t, "context there") {
		r.Context = genContext(t)
	}
	for range rapid.IntRange(0, 3).Draw(t, "failed") {
		r.Failed = append(r.Failed, quorum.Failure{Store: genSID(t, "store"), Reason: genReason(t)})
	}
	for range rapid.IntRange(0, 3).Draw(t, "owner sids") {
		r.Owners = append(r.Owners, genSID(t, "owner"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "inspected") {
		row := core.InspectRow{Store: genSID(t, "store"), Fallback: rapid.Bool().Draw(t, "fallback"),
			State: core.ReplicaState(rapid.IntRange(0, int(core.ReplicaStates)-1).Draw(t, "state")), Hash: rapid.Uint64().Draw(t, "hash"),
			Size: int(n.Draw(t, "size")), HLC: version.HLC(rapid.Uint64().Draw(t, "hlc")), InSync: rapid.Bool().Draw(t, "in sync")}
		for range rapid.IntRange(0, 2).Draw(t, "dots") {
			row.Dots = append(row.Dots, version.Dot{Actor: version.Actor(rapid.Uint64().Draw(t, "actor")), Counter: rapid.Uint64().Draw(t, "counter")})
		}
		r.Inspect = append(r.Inspect, row)
	}
	if rapid.Bool().Draw(t, "list there") {
		r.List = &core.ListPage{Next: bytesOf(t, "next", 0, 9), Complete: rapid.Bool().Draw(t, "complete")}
		for range rapid.IntRange(0, 3).Draw(t, "list rows") {
			r.List.Rows = append(r.List.Rows, core.ListRow{Key: bytesOf(t, "key", 1, 9), Object: maybeObject(t)})
		}
	}
	if rapid.Bool().Draw(t, "strong") {
		genStrongReply(t, r)
	} else {
		r.Code = min(r.Code, core.ClockSkew)
	}
	return r
}

func genRows(t *rapid.T, objects bool) (rows []core.Row) {
	for range rapid.IntRange(0, 4).Draw(t, "rows") {
		r := core.Row{Bucket: hashring.BucketID(rapid.Uint64().Draw(t, "row bucket")), Key: bytesOf(t, "row key", 1, 20),
			Target: genSID(t, "row target"), Gen: rapid.Uint64().Draw(t, "gen"), Cursor: bytesOf(t, "row cursor", 0, 30)}
		if objects {
			r.Object = maybeObject(t)
		}
		rows = append(rows, r)
	}
	return rows
}

// genMessage draws a message of kind k with all fields that message.go gives it.
func genMessage(t *rapid.T, k core.Kind) core.Message {
	m := core.Message{Kind: k, RingVersion: rapid.Uint64().Draw(t, "ring"), Epoch: rapid.Uint64().Draw(t, "epoch"),
		Partition: rapid.Uint32().Draw(t, "partition"), ID: rapid.Uint64().Draw(t, "id")}
	if k.IsReply() {
		m.Reason = genReason(t)
	}
	switch k {
	case core.MsgWrite, core.MsgHint, core.MsgRead:
		m.Bucket, m.Key = hashring.BucketID(rapid.Uint64().Draw(t, "bucket")), bytesOf(t, "key", 1, 40)
		m.Hash = rapid.Uint64().Draw(t, "hash")
	case core.MsgScan:
		m.Bucket, m.Values = hashring.BucketID(rapid.Uint64().Draw(t, "bucket")), rapid.Bool().Draw(t, "values")
		m.Prefix, m.Key = bytesOf(t, "prefix", 0, 20), bytesOf(t, "start", 0, 20)
	case core.MsgWriteAck:
		m.Target = genSID(t, "target")
	case core.MsgForward:
		m.Echo = core.Echo{Boot: rapid.Uint64().Draw(t, "boot"), At: time.Duration(rapid.Int64().Draw(t, "at"))}
		m.Request = genRequest(t)
	case core.MsgForwarded:
		m.Echo = core.Echo{Boot: rapid.Uint64().Draw(t, "boot"), At: time.Duration(rapid.Int64().Draw(t, "at"))}
		if rapid.Bool().Draw(t, "reply there") {
			m.Reply = genReply(t)
		}
	case core.MsgScanReply, core.MsgHintPage:
		if k == core.MsgScanReply {
			m.Cursor = bytesOf(t, "last", 0, 30)
		}
		m.Rows, m.More = genRows(t, true), rapid.Bool().Draw(t, "more")
		for i := range m.Rows {
			if k == core.MsgScanReply && rapid.Bool().Draw(t, "strong row") {
				m.Rows[i].Strong = genStrongValue(t)
			}
		}
	case core.MsgHintDone:
		m.Rows = genRows(t, false)
	}
	switch k {
	case core.MsgWrite, core.MsgRead, core.MsgScan, core.MsgForward:
		m.Timeout = duration(t, "timeout")
	}
	switch k {
	case core.MsgWrite:
		m.Object = genObject(t)
	case core.MsgHint:
		m.Object, m.Target = genObject(t), genSID(t, "target")
	case core.MsgReadReply:
		m.Object = maybeObject(t)
	}
	switch k {
	case core.MsgExchange:
		m.N, m.Exchange = rapid.Byte().Draw(t, "n"), genExchange(t, antientropy.Kind(rapid.IntRange(0, int(antientropy.KindCount)-1).Draw(t, "exchange kind")))
	case core.MsgRoundAsk, core.MsgRoundWord:
		m.Round = genRound(t, k == core.MsgRoundWord)
	case core.MsgMark, core.MsgMarkMet:
		m.Gen = rapid.Uint64().Draw(t, "generation")
	case core.MsgStrong:
		for range rapid.IntRange(1, 3).Draw(t, "strong messages") {
			m.Strong = append(m.Strong, genStrong(t, strong.MessageKind(rapid.IntRange(1, int(strong.MessageKindCount)-1).Draw(t, "strong kind"))))
		}
	}
	if k == core.MsgRead || k == core.MsgReadReply {
		m.Fallback = rapid.Bool().Draw(t, "fallback")
	}
	if k == core.MsgScan || k == core.MsgHintPull {
		m.Cursor, m.Limit = bytesOf(t, "cursor", 0, 30), uint32(rapid.IntRange(0, MaxRows).Draw(t, "limit"))
	}
	return m
}

// sample is a full object of fixed content for golden files, seeds and benchmarks.
func sample(valueSize int) *version.Object {
	value := make([]byte, valueSize)
	for i := range value {
		value[i] = byte(i)
	}
	return &version.Object{
		Context: version.Vector{{Actor: 0x1122334455667788, Counter: 300}, {Actor: 0xa1a2a3a4a5a6a7a8, Counter: 7}},
		Siblings: []version.Sibling{{Dot: version.Dot{Actor: 0x1122334455667788, Counter: 300}, HLC: version.HLCFromMS(1_700_000_000_000) + 3,
			Request: version.RequestID{1, 2, 3, 15: 9}, ContentType: "text/plain", Value: value, Sum: crc32.Checksum(value, castagnoli)}},
	}
}
