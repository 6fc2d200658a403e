package wire

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

const (
	// MaxStrongMessages that travel as one.
	MaxStrongMessages = 1 << 12
	// MaxStrongEntries of one message: 256 KiB of them, each of the least size.
	MaxStrongEntries = 1 << 16
	// MaxStrongRows of one slice of a snapshot; 256 are asked for.
	MaxStrongRows = 1 << 12
)

// Fields of a strong message, in the order in which they stand.
const (
	smPrev uint32 = 1 << iota
	smLast
	smCommit
	smSafe
	smRound
	smMatch
	smApplied
	smPromised
	smID
	smKey
	smPart
	smAfter
	smNext
	smLogTime
	smSum   // behind a flag: SumAt, Sum
	smAsked // behind a flag: Asked
	smLease // with it: Lease
	smValue // behind a flag
	smRows
	smEntries // they follow Prev; in a snapshot, Match
)

// Flags of a strong message.
const (
	smFull byte = 1 << iota
	smReject
	smOpen
	smMore
	smGone
	smHasValue
	smDiffers
	smHasSum
	smHasAsked = smHasValue // of those that have no value; from FeatureLease on
)

// strongKinds is what each kind carries, as strong/message.go says. A kind without
// flags has no flags byte.
var strongKinds = [strong.MessageKindCount]struct {
	fields uint32
	flags  byte
}{
	strong.MsgSeal:           {},
	strong.MsgSealAck:        {smLast | smCommit, smFull},
	strong.MsgNak:            {smPromised, 0},
	strong.MsgPull:           {smPrev, 0},
	strong.MsgPullReply:      {smPrev | smLast | smEntries, smGone},
	strong.MsgAppend:         {smPrev | smCommit | smSafe | smRound | smSum | smAsked | smEntries, smHasSum | smDiffers | smHasAsked},
	strong.MsgAppendAck:      {smPrev | smRound | smMatch | smApplied | smSum | smAsked | smLease, smFull | smReject | smDiffers | smHasSum | smHasAsked},
	strong.MsgConfirm:        {smRound, 0},
	strong.MsgConfirmAck:     {smRound, smFull},
	strong.MsgReadIndex:      {smID, 0},
	strong.MsgReadIndexReply: {smMatch | smID, smReject},
	strong.MsgPeek:           {smID | smKey, 0},
	strong.MsgPeekReply:      {smLast | smCommit | smPromised | smID | smValue, smFull | smOpen | smHasValue},
	strong.MsgSnapOffer:      {smPrev | smCommit | smRound, 0},
	strong.MsgSnapAsk:        {smPrev | smMatch | smPart | smAfter, 0},
	strong.MsgSnapReply:      {smPrev | smCommit | smMatch | smPart | smAfter | smNext | smLogTime | smRows | smEntries, smMore | smGone},
	strong.MsgRelease:        {},
}

const minStrongMessage = 2 // kind, epoch

// clockInPrev tells that the place of Prev.Index holds the sender's clock. Only an ack that
// refuses something has a Prev; binaries that know of no clock write 0 in the others, and
// do not read it.
func clockInPrev(m *strong.Message) bool { return m.Kind == strong.MsgAppendAck && !m.Reject }

func appendStrong(dst []byte, messages []*strong.Message) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(messages)))
	for _, m := range messages {
		dst = appendStrongMessage(dst, m)
	}
	return dst
}

func appendStrongMessage(dst []byte, m *strong.Message) []byte {
	kind := &strongKinds[m.Kind]
	dst = binary.AppendUvarint(append(dst, byte(m.Kind)), m.Epoch)
	has := func(f uint32) bool { return kind.fields&f != 0 }
	if kind.flags != 0 {
		dst = append(dst, kind.flags&(bitIf(m.Full, smFull)|bitIf(m.Reject, smReject)|bitIf(m.Open, smOpen)|bitIf(m.More, smMore)|
			bitIf(m.Gone, smGone)|bitIf(has(smValue) && m.Value != nil, smHasValue)|bitIf(has(smAsked) && m.Asked != 0, smHasAsked)|bitIf(m.Differs, smDiffers)|bitIf(m.SumAt != 0, smHasSum)))
	}
	number := func(f uint32, v uint64) {
		if has(f) {
			dst = binary.AppendUvarint(dst, v)
		}
	}
	number(smPrev, m.Prev.Epoch)
	if clockInPrev(m) {
		number(smPrev, uint64(m.WallMS))
	} else {
		number(smPrev, m.Prev.Index)
	}
	number(smLast, m.Last.Epoch)
	number(smLast, m.Last.Index)
	number(smCommit, m.Commit)
	number(smSafe, m.Safe)
	number(smRound, m.Round)
	number(smMatch, m.Match)
	number(smApplied, m.Applied)
	number(smPromised, m.Promised)
	if has(smID) {
		dst = binary.BigEndian.AppendUint64(dst, m.ID)
	}
	if has(smKey) {
		dst = appendBytes(binary.AppendUvarint(dst, uint64(m.Bucket)), m.Key)
	}
	if has(smPart) {
		dst = append(dst, byte(m.Part))
	}
	if has(smAfter) {
		dst = appendBytes(dst, m.After)
	}
	if has(smNext) {
		dst = appendBytes(dst, m.Next)
	}
	if has(smLogTime) {
		dst = binary.AppendVarint(dst, m.LogTimeMS)
	}
	if has(smSum) && m.SumAt != 0 {
		dst = binary.BigEndian.AppendUint64(binary.AppendUvarint(dst, m.SumAt), m.Sum)
	}
	if has(smAsked) && m.Asked != 0 {
		dst = binary.AppendUvarint(dst, uint64(m.Asked))
		number(smLease, uint64(m.Lease))
	}
	if has(smValue) && m.Value != nil {
		dst = appendStrongValue(dst, m.Value)
	}
	if has(smRows) {
		dst = appendStrongRows(dst, m.Rows)
	}
	if has(smEntries) {
		dst = appendStrongEntries(dst, m.Entries)
	}
	return dst
}

func (d *decoder) strong() []*strong.Message {
	n := d.count(MaxStrongMessages, minStrongMessage)
	if n == 0 {
		d.fail() // nobody sends nothing
		return nil
	}
	// One by one: a message takes a hundred times its least size in memory.
	out := make([]*strong.Message, 0, min(n, 4))
	for range n {
		m := new(strong.Message)
		if d.strongMessage(m); d.bad {
			return nil
		}
		out = append(out, m)
	}
	return out
}

func (d *decoder) strongMessage(m *strong.Message) {
	m.Kind = strong.MessageKind(d.upTo(byte(strong.MessageKindCount - 1)))
	if m.Kind == 0 {
		d.fail()
		return
	}
	kind := &strongKinds[m.Kind]
	m.Epoch = d.uvarint()
	var f byte
	if kind.flags != 0 {
		f = d.flags(kind.flags)
	}
	m.Full, m.Reject, m.Open, m.More, m.Gone = f&smFull != 0, f&smReject != 0, f&smOpen != 0, f&smMore != 0, f&smGone != 0
	m.Differs = f&smDiffers != 0
	has := func(f uint32) bool { return kind.fields&f != 0 }
	number := func(f uint32, v *uint64) {
		if has(f) {
			*v = d.uvarint()
		}
	}
	number(smPrev, &m.Prev.Epoch)
	number(smPrev, &m.Prev.Index)
	if clockInPrev(m) {
		m.WallMS, m.Prev.Index = int64(m.Prev.Index), 0
	}
	number(smLast, &m.Last.Epoch)
	number(smLast, &m.Last.Index)
	number(smCommit, &m.Commit)
	number(smSafe, &m.Safe)
	number(smRound, &m.Round)
	number(smMatch, &m.Match)
	number(smApplied, &m.Applied)
	number(smPromised, &m.Promised)
	if has(smID) {
		m.ID = d.u64()
	}
	if has(smKey) {
		m.Bucket, m.Key = hashring.BucketID(d.uvarint()), d.some(core.MaxKey)
	}
	if has(smPart) {
		m.Part = strong.Part(d.upTo(byte(strong.PartLog)))
	}
	if has(smAfter) {
		m.After = d.bytes(MaxCursor)
	}
	if has(smNext) {
		m.Next = d.bytes(MaxCursor)
	}
	if has(smLogTime) {
		m.LogTimeMS = d.varint()
	}
	if f&smHasSum != 0 {
		m.SumAt, m.Sum = d.nonZero(d.uvarint()), d.u64()
	}
	if has(smAsked) && f&smHasAsked != 0 {
		if m.Asked = d.lasting(); has(smLease) {
			m.Lease = d.lasting()
		}
	}
	if has(smValue) && f&smHasValue != 0 {
		m.Value = d.strongValue()
	}
	if has(smRows) {
		m.Rows = d.strongRows()
	}
	if has(smEntries) {
		after := m.Prev.Index
		if m.Kind == strong.MsgSnapReply {
			after = m.Match
		}
		m.Entries = d.strongEntries(after)
	}
}

// lasting is a duration above zero.
func (d *decoder) lasting() time.Duration {
	return time.Duration(d.nonZero(d.uvarintTo(math.MaxInt64)))
}

// Flags of a row of a snapshot.
const rowDone byte = 1 // a completion record, else a value

const minStrongRow = 1 + 1 + 2 + 3 + 1 // flags, bucket, key of one byte, version, flags of the value

func appendStrongRows(dst []byte, rows []strong.Row) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	for i := range rows {
		r := &rows[i]
		if r.Done != nil {
			dst = appendCompletion(append(dst, rowDone), r.Done, true)
			continue
		}
		dst = appendBytes(binary.AppendUvarint(append(dst, 0), uint64(r.Bucket)), r.Key)
		dst = appendStrongValue(dst, r.Value)
	}
	return dst
}

func (d *decoder) strongRows() []strong.Row {
	n := d.count(MaxStrongRows, minStrongRow)
	if n == 0 {
		return nil
	}
	rows := make([]strong.Row, n)
	for i := 0; i < n && !d.bad; i++ {
		r := &rows[i]
		if d.flags(rowDone) != 0 {
			r.Done = d.completion(true)
			continue
		}
		r.Bucket, r.Key = hashring.BucketID(d.uvarint()), d.some(core.MaxKey)
		r.Value = d.strongValue()
	}
	return rows
}

const (
	minStrongEntry = 3 // flags, epoch, time
	// entriesTogether share an allocation: a log lets go of them about together.
	entriesTogether = 16
)

// appendStrongEntries appends entries that follow each other: their indexes are not said.
func appendStrongEntries(dst []byte, entries []*strong.Entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(entries)))
	for _, e := range entries {
		dst = appendEntry(dst, e)
	}
	return dst
}

// strongEntries reads those behind index after. Epochs do not fall along a log.
func (d *decoder) strongEntries(after uint64) []*strong.Entry {
	n := d.count(MaxStrongEntries, minStrongEntry)
	if n == 0 {
		return nil
	}
	if after > math.MaxUint64-uint64(n) {
		d.fail()
		return nil
	}
	entries, epoch := make([]*strong.Entry, n), uint64(0)
	var room []effect
	for i := range entries {
		if len(room) == 0 {
			room = make([]effect, min(n-i, entriesTogether))
		}
		e := d.entry(after+1+uint64(i), &room[0])
		room = room[1:]
		if d.bad || e.Epoch < epoch {
			d.fail()
			return nil
		}
		entries[i], epoch = e, e.Epoch
	}
	return entries
}
