package h1

import (
	"bytes"
	"math"
)

// verdict says what becomes of a connection's input.
type verdict uint8

const (
	// partial: the head is not complete yet.
	partial verdict = iota
	// plain: a well-formed head whose framing is certain.
	plain
	// odd: legal or not, it is not for this parser; net/http judges it.
	odd
	// twofold: Content-Length and Transfer-Encoding together, the classic way to
	// show two servers two different requests. Refused.
	twofold
)

// field is one header line; offsets into the head.
type field struct{ name, nameEnd, value, valueEnd int }

// head is a request line and its header fields, as offsets into the bytes they
// were parsed from.
type head struct {
	method    method
	path      span
	query     span // without the question mark; empty: none
	size      int  // bytes of the head with its empty line
	length    int64
	chunked   bool
	close     bool // Connection: close
	expects   bool // Expect: 100-continue
	known     [maxKnown]span
	seen      uint32 // bit i: known[i] was given
	hasLength bool
	hasHost   bool
}

type span struct{ from, to int }

// maxKnown is the most header names a server can ask for.
const maxKnown = 32

// method is one of those that have a place on the fast road.
type method uint8

const (
	methodOther method = iota
	methodGet
	methodHead
	methodPut
	methodDelete
)

var methodNames = [...]string{"", "GET", "HEAD", "PUT", "DELETE"}

// Character classes of RFC 9110 and 9112.
var isToken, isValue, isTarget, isHost [256]bool

func init() {
	for c := range 256 {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		isToken[c] = alnum || c < 0x80 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0
		isValue[c] = c >= 0x20 && c != 0x7f || c == '\t'
		isTarget[c] = c > 0x20 && c < 0x7f && c != '#'
		isHost[c] = alnum || c < 0x80 && bytes.IndexByte([]byte(".-_:[]"), byte(c)) >= 0
	}
}

// endOfHead looks for the empty line that ends a head, from scan on, where scan is
// 0 or what the last look gave. A line that does not end in CR LF is odd.
func endOfHead(b []byte, scan int) (size, next int, v verdict) {
	for {
		i := bytes.IndexByte(b[scan:], '\n')
		if i < 0 {
			return 0, scan, partial
		}
		if i == 0 || b[scan+i-1] != '\r' {
			return 0, scan, odd
		}
		if i == 1 {
			return scan + 2, scan, plain
		}
		scan += i + 1
	}
}

// parse reads a complete head. Everything it takes is also what net/http takes,
// with the same meaning; what it does not take it calls odd. It goes on to the end
// of an odd head: a twofold one is refused whatever else is wrong with it.
func (h *head) parse(b []byte, names *names) verdict {
	*h = head{size: len(b)}
	rest, ok := h.line(b)
	if !ok {
		return odd
	}
	v, coded := plain, false
	for at := rest; at < len(b)-2; {
		f, next, ok := fieldAt(b, at)
		if !ok {
			return odd
		}
		at = next
		name, value := b[f.name:f.nameEnd], b[f.value:f.valueEnd]
		switch id := names.find(name); {
		case id < 0:
		case id < frames:
			if !h.frame(id, value) {
				v = odd
			}
			coded = coded || id == frameCoding
		case h.seen&(1<<(id-frames)) != 0:
			v = odd // twice
		default:
			h.seen |= 1 << (id - frames)
			h.known[id-frames] = span{f.value, f.valueEnd}
		}
	}
	switch {
	case coded && h.hasLength:
		return twofold
	case !h.hasHost:
		return odd
	}
	return v
}

// line parses the request line and gives where the fields begin.
func (h *head) line(b []byte) (next int, ok bool) {
	end := bytes.IndexByte(b, '\r')
	sp := bytes.IndexByte(b, ' ')
	if sp <= 0 || sp > end {
		return 0, false
	}
	switch string(b[:sp]) {
	case "GET":
		h.method = methodGet
	case "HEAD":
		h.method = methodHead
	case "PUT":
		h.method = methodPut
	case "DELETE":
		h.method = methodDelete
	default:
		for _, c := range b[:sp] {
			if !isToken[c] {
				return 0, false
			}
		}
	}
	const version = " HTTP/1.1"
	last := end - len(version)
	if last <= sp+1 || string(b[last:end]) != version || b[sp+1] != '/' || end+1 >= len(b) || b[end+1] != '\n' {
		return 0, false
	}
	h.path = span{sp + 1, last}
	inQuery := false
	for i := sp + 1; i < last; i++ {
		switch c := b[i]; {
		case !isTarget[c]:
			return 0, false
		case inQuery:
		case c == '?':
			inQuery = true
			h.path.to, h.query = i, span{i + 1, last}
		case c == '%' && (i+2 >= last || !isHex(b[i+1]) || !isHex(b[i+2])):
			return 0, false
		}
	}
	return end + 2, true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// fieldAt parses the header line at b[at:]; the head ends with an empty line, so
// there is an end to find.
func fieldAt(b []byte, at int) (f field, next int, ok bool) {
	end := at + bytes.IndexByte(b[at:], '\r')
	colon := at
	for colon < end && isToken[b[colon]] {
		colon++
	}
	if colon == at || b[colon] != ':' || b[end+1] != '\n' {
		return f, 0, false
	}
	from, to := colon+1, end
	for from < to && (b[from] == ' ' || b[from] == '\t') {
		from++
	}
	for from < to && (b[to-1] == ' ' || b[to-1] == '\t') {
		to--
	}
	for _, c := range b[from:to] {
		if !isValue[c] {
			return f, 0, false
		}
	}
	return field{at, colon, from, to}, end + 2, true
}

// frame takes a field that decides where a message ends or what becomes of the
// connection. Anything but the usual form is odd.
func (h *head) frame(id int, value []byte) bool {
	switch id {
	case frameHost:
		ok := !h.hasHost && len(value) > 0
		for _, c := range value {
			ok = ok && isHost[c]
		}
		h.hasHost = true
		return ok
	case frameLength:
		n, ok := number(value)
		ok = ok && !h.hasLength
		h.length, h.hasLength = n, true
		return ok
	case frameCoding:
		ok := !h.chunked && string(value) == "chunked"
		h.chunked = true
		return ok
	case frameConnection:
		if fold(value, "close") {
			h.close = true
			return true
		}
		return fold(value, "keep-alive")
	case frameExpect:
		h.expects = fold(value, "100-continue")
		return h.expects
	}
	return false // Upgrade, Trailer
}

// number reads a Content-Length: digits only.
func number(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, n <= math.MaxInt32*2
}

// fold compares with a lower-case text, without regard to the case of letters.
func fold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Fields that this package reads itself; they stand first in names.
const (
	frameHost = iota
	frameLength
	frameCoding
	frameConnection
	frameExpect
	frameUpgrade
	frameTrailer
	frames
)

var frameNames = [frames]string{"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "trailer"}

// names finds header names: those of one length are few.
type names struct {
	byLength [maxName + 1][]nameID
	wanted   []string // canonical, in the order of their bits
}

type nameID struct {
	lower string
	id    int
}

// maxName is longer than every name that is looked for.
const maxName = 32

func newNames(wanted []string) *names {
	n := &names{wanted: wanted}
	for id, name := range frameNames {
		n.add(name, id)
	}
	for i, name := range wanted {
		n.add(string(bytes.ToLower([]byte(name))), frames+i)
	}
	return n
}

func (n *names) add(lower string, id int) {
	n.byLength[len(lower)] = append(n.byLength[len(lower)], nameID{lower, id})
}

// find gives the id of a name, -1 if nobody asks for it.
func (n *names) find(name []byte) int {
	if len(name) > maxName {
		return -1
	}
	for _, k := range n.byLength[len(name)] {
		if fold(name, k.lower) {
			return k.id
		}
	}
	return -1
}
