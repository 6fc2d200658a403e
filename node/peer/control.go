package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"time"
)

const (
	// maxCall is the largest payload of a request or an answer: a ring state of
	// some ten thousand partitions has a few MiB.
	maxCall   = 16 << 20
	maxMethod = 255
	maxText   = 4096
	// maxCalls served at once; one more is refused with RefusedBusy.
	maxCalls = 64
	// callTimeout is for callers whose context has no deadline; longer deadlines
	// are cut to callMax.
	callTimeout = 5 * time.Second
	callMax     = time.Minute
	// callRead bounds the arrival of a request after the hello, and the answer's
	// departure: maxCall at 13 Mbit/s.
	callRead = 10 * time.Second
)

// Codes of errors that the transport itself answers with.
const (
	CodeFailed   = "failed" // the handler's error had no code
	CodeTooLarge = "too_large"
	CodeDeadline = "deadline" // the handler ran into the caller's deadline
)

// RemoteError is the far side's answer to a call when it was not a success. A
// handler returns one to choose its code.
type RemoteError struct{ Code, Text string }

func (e *RemoteError) Error() string { return e.Code + ": " + e.Text }

// Is makes both ends of a deadline look alike: which of them sees it first is chance.
func (e *RemoteError) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Code == CodeDeadline
}

var errCall = errors.New("broken control call")

// A call is one block each way, on a connection of its own: a cancelled caller
// just closes it, a large ring state delays nobody, and no idle connection can
// turn out dead at the next call. Calls are rare; one costs about 0.1 ms more.
//
//	length(4) CRC-32C(4) body: id(8) timeout in ns(8) name length(2) name payload

// block is a request (name: the method) or an answer (name: the error's code,
// empty for success; its text is the payload).
type block struct {
	id      uint64
	timeout time.Duration
	name    string
	payload []byte
}

const blockHead = 8 + 8 + 2

func (b *block) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, b.id)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.timeout))
	dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(b.name))), b.name...)
	dst = append(dst, b.payload...)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-8))
	binary.BigEndian.PutUint32(dst[at+4:], crc32.Checksum(dst[at+8:], castagnoli))
	return dst
}

// readBlock reads one block; memory grows with what arrives, not with what the
// length promises.
func readBlock(r io.Reader) (b block, err error) {
	var head [8]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return b, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < blockHead || n > maxCall+blockHead+maxMethod {
		return b, fmt.Errorf("%w: %d bytes", errCall, n)
	}
	var body bytes.Buffer
	if _, err = io.CopyN(&body, r, int64(n)); err != nil {
		return b, err
	}
	return parseBlock(body.Bytes(), binary.BigEndian.Uint32(head[4:]))
}

func parseBlock(body []byte, sum uint32) (b block, err error) {
	if crc32.Checksum(body, castagnoli) != sum {
		return b, fmt.Errorf("%w: wrong checksum", errCall)
	}
	if len(body) < blockHead {
		return b, fmt.Errorf("%w: %d bytes", errCall, len(body))
	}
	b.id = binary.BigEndian.Uint64(body)
	b.timeout = time.Duration(binary.BigEndian.Uint64(body[8:]))
	n := int(binary.BigEndian.Uint16(body[16:]))
	if n > maxMethod || n > len(body)-blockHead || b.timeout < 0 {
		return b, fmt.Errorf("%w: name of %d bytes", errCall, n)
	}
	b.name, b.payload = string(body[blockHead:blockHead+n]), body[blockHead+n:]
	return b, nil
}

// Call asks the node at addr. The deadline of ctx travels with the request (none:
// 5 s; at most a minute). Errors: *RemoteError when the far side answered so;
// *RefusedError; else the network's or ctx's, and the call may have happened.
func (t *Transport) Call(ctx context.Context, addr, method string, payload []byte) ([]byte, error) {
	if len(method) > maxMethod || len(payload) > maxCall {
		return nil, fmt.Errorf("call of %s with %d bytes: at most %d", method, len(payload), maxCall)
	}
	t.count.calls.Add(1)
	limit := callMax
	if _, ok := ctx.Deadline(); !ok {
		limit = callTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)() // Close ends calls too
	answer, err := t.call(ctx, addr, block{id: t.callID.Add(1), name: method, payload: payload})
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", method, addr, err)
	}
	if answer.name != "" {
		return nil, &RemoteError{Code: answer.name, Text: string(answer.payload)}
	}
	return answer.payload, nil
}

func (t *Transport) call(ctx context.Context, addr string, ask block) (answer block, err error) {
	hello, cancel := context.WithTimeout(ctx, handshakeTimeout)
	c, _, err := t.dial(hello, addr, kindControl, [16]byte{})
	cancel()
	if err != nil {
		return answer, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	deadline, _ := ctx.Deadline()
	ask.timeout = max(time.Until(deadline), 0)
	if _, err = c.Write(ask.append(nil)); err != nil {
		return answer, err
	}
	if answer, err = readBlock(c); err == nil && answer.id != ask.id {
		err = fmt.Errorf("%w: answer %d to call %d", errCall, answer.id, ask.id)
	}
	return answer, err
}

// serveCall answers the one call of an accepted connection, on its goroutine.
func (t *Transport) serveCall(c net.Conn, mine, from Hello) {
	defer c.Close()
	defer context.AfterFunc(t.ctx, func() { _ = c.Close() })()
	select {
	case t.control <- struct{}{}:
		defer func() { <-t.control }()
	default:
		t.refuse(c, mine, &RefusedError{Code: RefusedBusy, Remote: from, Reason: fmt.Sprintf("%s serves %d calls already", mine.Node, maxCalls)})
		return
	}
	if !t.accept(c, mine) {
		return
	}
	_ = c.SetDeadline(time.Now().Add(callRead))
	ask, err := readBlock(c)
	if err != nil {
		t.log.info("call "+from.SID.String(), "control call cut short", "other", from.Node, "error", err)
		return
	}
	_ = c.SetDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(t.ctx, min(ask.timeout, callMax))
	defer cancel()
	answer := t.answer(ctx, cancel, c, from, ask)
	_ = c.SetDeadline(time.Now().Add(callRead))
	_, _ = c.Write(answer.append(nil))
	t.count.served.Add(1)
}

// answer runs the handler; a caller that hangs up ends its ctx.
func (t *Transport) answer(ctx context.Context, cancel context.CancelFunc, c net.Conn, from Hello, ask block) block {
	hungUp := make(chan struct{})
	go func() {
		defer close(hungUp)
		var one [1]byte
		_, _ = c.Read(one[:]) // the caller sends nothing more: it hung up, or the deadline below
		cancel()
	}()
	payload, err := t.cfg.Control(ctx, from, ask.name, ask.payload)
	_ = c.SetReadDeadline(time.Unix(1, 0))
	<-hungUp
	_ = c.SetReadDeadline(time.Time{})
	return toBlock(ask.id, payload, err)
}

func toBlock(id uint64, payload []byte, err error) block {
	var remote *RemoteError
	switch {
	case err == nil && len(payload) <= maxCall:
		return block{id: id, payload: payload}
	case err == nil:
		remote = &RemoteError{CodeTooLarge, fmt.Sprintf("the answer has %d bytes, at most %d", len(payload), maxCall)}
	case errors.As(err, &remote):
	case errors.Is(err, context.DeadlineExceeded):
		remote = &RemoteError{CodeDeadline, err.Error()}
	default:
		remote = &RemoteError{CodeFailed, err.Error()}
	}
	code := remote.Code[:min(len(remote.Code), maxMethod)]
	if code == "" {
		code = CodeFailed
	}
	return block{id: id, name: code, payload: []byte(remote.Text[:min(len(remote.Text), maxText)])}
}
