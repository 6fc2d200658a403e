package wire

import (
	"encoding/binary"
	"math"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// Bounds of an exchange's message, from what antientropy asks for in one go.
const (
	// maxNodes in one list, and digests: all leaves, and a root with its children.
	maxNodes = antientropy.Leaves + 1
	// maxExchangeRows: a compare's answer when none of its two ends' rows is the other's.
	maxExchangeRows = 2 * antientropy.CompareRows
	// maxPlaces of rows or nodes in a request.
	maxPlaces = 2 * antientropy.LookKeys
)

// What each kind of an exchange's message carries, beside its head.
const (
	exLevel uint16 = 1 << iota
	exNodes
	exDigests
	exAfter
	exUpto
	exRows
	exWant
	exMoving
	exLimit
	exReason
)

var exchangeFields = [antientropy.KindCount]uint16{
	antientropy.MsgOpen:         exDigests,
	antientropy.MsgOpenReply:    exReason | exDigests,
	antientropy.MsgDigests:      exLevel | exNodes,
	antientropy.MsgDigestsReply: exReason | exDigests,
	antientropy.MsgCompare:      exNodes | exAfter | exUpto | exRows,
	antientropy.MsgCompareReply: exReason | exUpto | exRows,
	antientropy.MsgLook:         exRows | exMoving,
	antientropy.MsgLookReply:    exReason | exRows | exWant | exMoving | exLimit,
	antientropy.MsgFetch:        exNodes | exDigests | exAfter,
	antientropy.MsgFetchReply:   exReason | exUpto | exRows | exMoving,
	antientropy.MsgPush:         exRows,
	antientropy.MsgPushReply:    exReason,
	antientropy.MsgEnd:          exReason,
}

// Flags of an exchange's message.
const (
	exThorough byte = 1 << iota
	exTheirs        // compare only
)

// Flags of an exchange's row.
const (
	exVersion byte = 1 << iota
	exObject
)

func appendExchange(dst []byte, n uint8, m *antientropy.Message) []byte {
	dst = append(dst, n, byte(m.Kind), bitIf(m.Thorough, exThorough)|bitIf(m.Theirs && m.Kind == antientropy.MsgCompare, exTheirs))
	dst = binary.BigEndian.AppendUint64(dst, m.Exchange)
	dst = binary.AppendUvarint(dst, uint64(m.Step))
	dst = binary.AppendUvarint(dst, m.Epoch)
	dst = binary.AppendUvarint(dst, m.Generation)
	has := exchangeFields[m.Kind]
	if has&exReason != 0 {
		dst = append(dst, byte(m.Reason))
	}
	if has&exLevel != 0 {
		dst = append(dst, m.Level)
	}
	if has&exNodes != 0 {
		dst = appendNodes(dst, m.Nodes)
	}
	if has&exDigests != 0 {
		dst = appendDigests(dst, m.Digests)
	}
	if has&exAfter != 0 {
		dst = appendPos(dst, m.After)
	}
	if has&exUpto != 0 {
		dst = appendPos(dst, m.Upto)
	}
	if has&exRows != 0 {
		dst = appendExchangeRows(dst, m.Rows, m.Kind == antientropy.MsgLook)
	}
	if has&exWant != 0 {
		dst = appendPlaces(dst, m.Want)
	}
	if has&exMoving != 0 {
		dst = appendPlaces(dst, m.Moving)
	}
	if has&exLimit != 0 {
		dst = binary.AppendUvarint(dst, uint64(m.Limit))
	}
	return dst
}

func (d *decoder) exchange() (n uint8, m *antientropy.Message) {
	m = &antientropy.Message{}
	n, m.Kind = d.u8(), antientropy.Kind(d.upTo(byte(antientropy.KindCount-1)))
	f := d.flags(exThorough | bitIf(m.Kind == antientropy.MsgCompare, exTheirs))
	m.Thorough, m.Theirs = f&exThorough != 0, f&exTheirs != 0
	m.Exchange = d.u64()
	m.Step = uint32(d.uvarintTo(math.MaxUint32))
	m.Epoch, m.Generation = d.uvarint(), d.uvarint()
	has := exchangeFields[m.Kind]
	if has&exReason != 0 {
		m.Reason = antientropy.Reason(d.upTo(byte(antientropy.ReasonCount - 1)))
	}
	if has&exLevel != 0 {
		m.Level = d.upTo(antientropy.LeafTier)
	}
	if has&exNodes != 0 {
		m.Nodes = d.nodes()
	}
	if has&exDigests != 0 {
		m.Digests = d.digests()
	}
	if has&exAfter != 0 {
		m.After = d.pos()
	}
	if has&exUpto != 0 {
		m.Upto = d.pos()
	}
	if has&exRows != 0 {
		m.Rows = d.exchangeRows(m.Kind == antientropy.MsgLook)
	}
	if has&exWant != 0 {
		m.Want = d.places()
	}
	if has&exMoving != 0 {
		m.Moving = d.places()
	}
	if has&exLimit != 0 {
		m.Limit = uint16(d.uvarintTo(math.MaxUint16))
	}
	return n, m
}

// appendNodes appends numbers that rise, each as what lies between it and the one
// before: neighbours, the usual ones, take a byte.
func appendNodes(dst []byte, nodes []uint16) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(nodes)))
	next := uint16(0)
	for _, n := range nodes {
		dst = binary.AppendUvarint(dst, uint64(n-next))
		next = n + 1
	}
	return dst
}

func (d *decoder) nodes() []uint16 {
	n := d.count(maxNodes, 1)
	if n == 0 {
		return nil
	}
	nodes := make([]uint16, n)
	next := uint64(0)
	for i := range nodes {
		at := next + d.uvarintTo(antientropy.Leaves)
		if at >= antientropy.Leaves {
			d.fail()
			return nil
		}
		nodes[i], next = uint16(at), at+1
	}
	return nodes
}

// appendDigests appends the number of keys, and their sum if there are any.
func appendDigests(dst []byte, digests []antientropy.Digest) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(digests)))
	for _, g := range digests {
		dst = binary.AppendUvarint(dst, uint64(g.Keys))
		if g.Keys != 0 {
			dst = binary.BigEndian.AppendUint64(dst, g.Sum)
		}
	}
	return dst
}

func (d *decoder) digests() []antientropy.Digest {
	n := d.count(maxNodes, 1)
	if n == 0 {
		return nil
	}
	digests := make([]antientropy.Digest, n)
	for i := range digests {
		digests[i].Keys = uint32(d.uvarintTo(math.MaxUint32))
		if digests[i].Keys != 0 {
			digests[i].Sum = d.u64()
		}
	}
	return digests
}

func appendPos(dst []byte, p antientropy.Pos) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.Leaf))
	return appendBytes(binary.AppendUvarint(dst, uint64(p.Bucket)), p.Key)
}

func (d *decoder) pos() antientropy.Pos {
	return antientropy.Pos{Leaf: uint16(d.uvarintTo(antientropy.Leaves)), Bucket: hashring.BucketID(d.uvarint()), Key: d.bytes(core.MaxKey)}
}

func appendPlaces(dst []byte, places []uint16) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(places)))
	for _, p := range places {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	return dst
}

func (d *decoder) places() []uint16 {
	n := d.count(maxPlaces, 1)
	if n == 0 {
		return nil
	}
	places := make([]uint16, n)
	for i := range places {
		places[i] = uint16(d.uvarintTo(math.MaxUint16))
	}
	return places
}

// appendExchangeRows appends rows with their objects, or, in a look, with their
// clocks: what is in an object beside decides nothing there.
func appendExchangeRows(dst []byte, rows []antientropy.Row, clocks bool) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	for i := range rows {
		r := &rows[i]
		dst = append(dst, bitIf(r.Version != 0, exVersion)|bitIf(r.Object != nil, exObject))
		dst = appendBytes(binary.AppendUvarint(dst, uint64(r.Bucket)), r.Key)
		if r.Version != 0 {
			dst = binary.BigEndian.AppendUint64(dst, r.Version)
		}
		switch {
		case r.Object == nil:
		case clocks:
			dst = appendClock(dst, r.Object)
		default:
			dst = AppendObject(dst, r.Object)
		}
	}
	return dst
}

func (d *decoder) exchangeRows(clocks bool) []antientropy.Row {
	n := d.count(maxExchangeRows, 1+1+2) // flags, bucket, key of one byte
	if n == 0 {
		return nil
	}
	rows := make([]antientropy.Row, n)
	for i := 0; i < n && !d.bad; i++ {
		r := &rows[i]
		f := d.flags(exVersion | exObject)
		r.Bucket = hashring.BucketID(d.uvarint())
		r.Key = d.some(core.MaxKey)
		if f&exVersion != 0 {
			r.Version = d.nonZero(d.u64())
		}
		switch {
		case f&exObject == 0:
		case clocks:
			r.Object = d.clock()
		default:
			r.Object = d.object()
		}
	}
	return rows
}

// appendClock appends an object's context and the dots of its siblings.
func appendClock(dst []byte, o *version.Object) []byte {
	dst = binary.AppendUvarint(appendVector(dst, o.Context), uint64(len(o.Siblings)))
	for i := range o.Siblings {
		dst = appendDot(dst, o.Siblings[i].Dot)
	}
	return dst
}

func (d *decoder) clock() *version.Object {
	o := &version.Object{Context: d.vector(MaxActors)}
	if n := d.count(MaxSiblings, minDot); n > 0 {
		o.Siblings = make([]version.Sibling, n)
	}
	for i := range o.Siblings {
		o.Siblings[i].Dot = d.dot()
	}
	if d.bad || !o.Valid() {
		d.fail()
		return nil
	}
	return o
}
