//go:build unix

package client

import (
	"errors"
	"syscall"
)

// alive looks, without waiting, whether the other side has closed an idle
// connection: then there is an end to be read. Bytes nobody asked for are no better.
func (c *httpConn) alive() bool {
	if c.br.Buffered() > 0 {
		return false
	}
	if c.raw != c.Conn {
		return true // below TLS there may be bytes of its own
	}
	sc, ok := c.raw.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	idle := false
	err = rc.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		idle = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
		return true
	})
	return err == nil && idle
}
