package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
)

// Flags of a message's body.
const (
	msgObject byte = 1 << iota
	msgFallback
	msgValues
	msgMore
)

// messageFlags are the flags each kind may set; index by kind. A kind whose mask
// is 0 has no flags byte.
var messageFlags = [core.KindCount]byte{
	core.MsgRead:      msgFallback,
	core.MsgReadReply: msgObject | msgFallback,
	core.MsgScan:      msgValues,
	core.MsgScanReply: msgMore,
	core.MsgHintPage:  msgMore,
}

// protocolOf is the version that a kind came with; its bytes have not changed since.
// A message is sent as that, so that it is understood by all who can: from convergence
// on core sends the newer kinds only once all stores of the ring know them.
func protocolOf(k core.Kind) uint16 {
	switch {
	case k >= core.MsgStrong:
		return protocolStrong
	case k >= core.MsgExchange:
		return protocolConvergence
	}
	return ProtocolMin
}

// protocolFor is the version that m is sent as: that of its kind, or the one that
// strong buckets came with if it says anything of those. They are made only when all
// stores know it.
func protocolFor(m *core.Message) uint16 {
	strong := false
	switch m.Kind {
	case core.MsgForward:
		strong = strongRequest(m.Request)
	case core.MsgForwarded:
		strong = m.Reply != nil && strongReply(m.Reply)
	case core.MsgScanReply:
		strong = slices.ContainsFunc(m.Rows, func(r core.Row) bool { return r.Strong != nil })
	}
	if strong {
		return protocolStrong
	}
	return protocolOf(m.Kind)
}

// AppendMessage appends m as the body of a frame: version, kind, what is in every
// message, then the fields of its kind. From, To and Request.Waiter stay behind.
// What m points at is valid; m is of a known kind.
func AppendMessage(dst []byte, m *core.Message) []byte {
	dst = append(dst, byte(protocolFor(m)), byte(m.Kind))
	dst = binary.AppendUvarint(dst, m.RingVersion)
	dst = binary.AppendUvarint(dst, m.Epoch)
	dst = binary.AppendUvarint(dst, uint64(m.Partition))
	dst = binary.BigEndian.AppendUint64(dst, m.ID)
	if m.Kind.IsReply() {
		dst = append(dst, byte(m.Reason))
	}
	if known := messageFlags[m.Kind]; known != 0 {
		dst = append(dst, known&(bitIf(m.Object != nil, msgObject)|bitIf(m.Fallback, msgFallback)|
			bitIf(m.Values, msgValues)|bitIf(m.More, msgMore)))
	}
	return appendBody(dst, m)
}

func appendBody(dst []byte, m *core.Message) []byte {
	switch m.Kind {
	case core.MsgWrite:
		return AppendObject(appendDuration(appendKey(dst, m), m.Timeout), m.Object)
	case core.MsgHint:
		dst = append(appendKey(dst, m), m.Target[:]...)
		return AppendObject(dst, m.Object)
	case core.MsgRead:
		return appendDuration(appendKey(dst, m), m.Timeout)
	case core.MsgReadReply:
		if m.Object != nil {
			return AppendObject(dst, m.Object)
		}
	case core.MsgForward:
		return appendRequest(appendEcho(appendDuration(dst, m.Timeout), m.Echo), m.Request)
	case core.MsgForwarded:
		dst = appendEcho(dst, m.Echo)
		if m.Reply != nil {
			return appendReply(append(dst, 1), m.Reply)
		}
		return append(dst, 0)
	case core.MsgScan:
		dst = appendDuration(binary.AppendUvarint(dst, uint64(m.Bucket)), m.Timeout)
		dst = binary.AppendUvarint(dst, uint64(m.Limit))
		return appendBytes(appendBytes(appendBytes(dst, m.Prefix), m.Key), m.Cursor)
	case core.MsgHintPull:
		return appendBytes(binary.AppendUvarint(dst, uint64(m.Limit)), m.Cursor)
	case core.MsgWriteAck:
		return append(dst, m.Target[:]...)
	case core.MsgScanReply:
		return appendRows(appendBytes(dst, m.Cursor), m.Rows, true)
	case core.MsgHintPage:
		return appendRows(dst, m.Rows, true)
	case core.MsgHintDone:
		return appendRows(dst, m.Rows, false)
	case core.MsgExchange:
		return appendExchange(dst, m.N, m.Exchange)
	case core.MsgRoundAsk, core.MsgRoundWord:
		return appendRound(dst, m.Round, m.Kind == core.MsgRoundWord)
	case core.MsgMark, core.MsgMarkMet:
		return binary.AppendUvarint(dst, m.Gen)
	case core.MsgStrong:
		return appendStrong(dst, m.Strong)
	}
	return dst // hint notice: the head says it all
}

func appendEcho(dst []byte, e core.Echo) []byte {
	return appendDuration(binary.BigEndian.AppendUint64(dst, e.Boot), e.At)
}

func (d *decoder) echo() core.Echo { return core.Echo{Boot: d.u64(), At: d.duration()} }

func appendKey(dst []byte, m *core.Message) []byte {
	dst = binary.AppendUvarint(dst, uint64(m.Bucket))
	dst = binary.BigEndian.AppendUint64(dst, m.Hash)
	return appendBytes(dst, m.Key)
}

// DecodeMessage reads the body of one frame, which it may keep: keys and values
// alias b. Errors: ErrMalformed, or a *VersionError.
func DecodeMessage(b []byte) (core.Message, error) {
	if len(b) < 2 || len(b) > MaxMessage {
		return core.Message{}, fmt.Errorf("%w: message of %d bytes", ErrMalformed, len(b))
	}
	if v := uint16(b[0]); v < ProtocolMin || v > ProtocolMax {
		return core.Message{}, &VersionError{What: "message", Got: v, Min: ProtocolMin, Max: ProtocolMax}
	}
	d := decoder{b: b[2:]}
	m := core.Message{Kind: core.Kind(b[1])}
	if m.Kind == 0 || m.Kind >= core.KindCount {
		return core.Message{}, fmt.Errorf("%w: message kind %d", ErrMalformed, b[1])
	}
	v := uint16(b[0])
	if v != protocolOf(m.Kind) && v != protocolStrong {
		return core.Message{}, fmt.Errorf("%w: %s message of version %d", ErrMalformed, m.Kind, v)
	}
	d.head(&m)
	d.body(&m, v == protocolStrong)
	if !d.done() || v != protocolFor(&m) {
		return core.Message{}, fmt.Errorf("%w: %s message of %d bytes", ErrMalformed, m.Kind, len(b))
	}
	return m, nil
}

func (d *decoder) head(m *core.Message) {
	m.RingVersion = d.uvarint()
	m.Epoch = d.uvarint()
	m.Partition = uint32(d.uvarintTo(math.MaxUint32))
	m.ID = d.u64()
	if m.Kind.IsReply() {
		m.Reason = d.reason()
	}
}

// reason is one that this binary has a name for: reasons are metric labels.
func (d *decoder) reason() quorum.Reason {
	r := quorum.Reason(d.u8())
	if r.String() == unknownReason {
		d.fail()
		return 0
	}
	return r
}

var unknownReason = quorum.Reason(255).String()

// body reads the fields of a kind; strong tells whether it may say something of strong
// buckets.
func (d *decoder) body(m *core.Message, strong bool) {
	var f byte
	if known := messageFlags[m.Kind]; known != 0 {
		f = d.flags(known)
		m.Fallback = f&msgFallback != 0
		m.Values, m.More = f&msgValues != 0, f&msgMore != 0
	}
	switch m.Kind {
	case core.MsgWrite:
		d.key(m)
		m.Timeout = d.duration()
		m.Object = d.object()
	case core.MsgHint:
		d.key(m)
		m.Target = d.sid()
		m.Object = d.object()
	case core.MsgRead:
		d.key(m)
		m.Timeout = d.duration()
	case core.MsgReadReply:
		if f&msgObject != 0 {
			m.Object = d.object()
		}
	case core.MsgForward:
		m.Timeout = d.duration()
		m.Echo = d.echo()
		m.Request = d.request(strong)
	case core.MsgForwarded:
		m.Echo = d.echo()
		if d.flags(1) != 0 {
			m.Reply = d.reply(strong)
		}
	case core.MsgScan:
		m.Bucket = hashring.BucketID(d.uvarint())
		m.Timeout = d.duration()
		m.Limit = uint32(d.uvarintTo(MaxRows))
		m.Prefix = d.bytes(core.MaxKey)
		m.Key = d.bytes(core.MaxKey)
		m.Cursor = d.bytes(MaxCursor)
	case core.MsgHintPull:
		m.Limit = uint32(d.uvarintTo(MaxRows))
		m.Cursor = d.bytes(MaxCursor)
	case core.MsgWriteAck:
		m.Target = d.sid()
	case core.MsgScanReply:
		m.Cursor = d.bytes(MaxCursor)
		m.Rows = d.rows(true, strong)
	case core.MsgHintPage:
		m.Rows = d.rows(true, false)
	case core.MsgHintDone:
		m.Rows = d.rows(false, false)
	case core.MsgExchange:
		m.N, m.Exchange = d.exchange()
	case core.MsgRoundAsk, core.MsgRoundWord:
		m.Round = d.round(m.Kind == core.MsgRoundWord)
	case core.MsgMark, core.MsgMarkMet:
		m.Gen = d.uvarint()
	case core.MsgStrong:
		m.Strong = d.strong()
	}
}

func (d *decoder) key(m *core.Message) {
	m.Bucket = hashring.BucketID(d.uvarint())
	m.Hash = d.u64()
	m.Key = d.some(core.MaxKey)
}
