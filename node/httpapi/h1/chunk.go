package h1

import (
	"bytes"
	"errors"
)

// chunkState is where in a chunked body the input stands.
type chunkState uint8

const (
	chunkNone chunkState = iota // the body is not chunked
	chunkSize                   // before a chunk's size
	chunkData                   // in its data
	chunkDone                   // behind the last one and its trailer
)

const (
	// chunkDigits is the longest size of a chunk, in hexadecimal digits.
	chunkDigits = 8
	// chunkExcess bounds what a chunked body may waste on sizes, extensions and
	// trailers, beyond a fair share of its data.
	chunkExcess = 16 << 10
)

var errChunk = errors.New("malformed chunked body")

// nextChunk goes to the data of the next chunk, or behind the last one. Lines end
// with CR LF and nothing else; extensions and trailers are read and dropped.
func (x *Exchange) nextChunk() error {
	if x.chunk == chunkData {
		line, err := x.line()
		if err != nil {
			return err
		}
		if len(line) != 0 {
			return errChunk
		}
	}
	line, err := x.line()
	if err != nil {
		return err
	}
	n, ok := chunkLength(line)
	if !ok {
		return errChunk
	}
	x.excess -= 16 + 2*n
	if x.left, x.chunk = n, chunkData; n > 0 {
		return nil
	}
	for {
		line, err := x.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			x.chunk = chunkDone
			return nil
		}
		if _, _, ok := fieldAt(append(line, "\r\n"...), 0); !ok {
			return errChunk
		}
	}
}

// line takes one line of the chunked framing; it is valid until the next read.
func (x *Exchange) line() ([]byte, error) {
	c := x.c
	for scan := 0; ; {
		if i := bytes.IndexByte(c.buf[c.r+scan:c.w], '\n'); i >= 0 {
			end := c.r + scan + i
			if end == c.r || c.buf[end-1] != '\r' {
				return nil, errChunk
			}
			line := c.buf[c.r : end-1 : end-1]
			c.r = end + 1
			if bytes.IndexByte(line, '\r') >= 0 {
				return nil, errChunk
			}
			if x.excess = max(x.excess, 0) + int64(len(line)) + 2; x.excess > chunkExcess {
				return nil, errChunk
			}
			return line, nil
		}
		if scan = c.w - c.r; scan > chunkExcess {
			return nil, errChunk
		}
		if err := x.reading(); err != nil {
			return nil, err
		}
		if err := c.fill(); err != nil {
			return nil, unexpected(err)
		}
	}
}

// chunkLength reads the size of a chunk, before its extensions.
func chunkLength(line []byte) (n int64, ok bool) {
	digits, _, _ := bytes.Cut(line, []byte{';'})
	if len(digits) == 0 || len(digits) > chunkDigits {
		return 0, false
	}
	for _, d := range digits {
		switch {
		case d >= '0' && d <= '9':
			n = n<<4 | int64(d-'0')
		case d >= 'a' && d <= 'f':
			n = n<<4 | int64(d-'a'+10)
		case d >= 'A' && d <= 'F':
			n = n<<4 | int64(d-'A'+10)
		default:
			return 0, false
		}
	}
	return n, true
}
