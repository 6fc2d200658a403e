// Package freeport finds ports for tests whose servers stop and start again. A port
// that the system hands out to clients (":0") may be taken by any connection while its
// server is down; these lie below that range, and no call gives one twice.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// The range starts above what servers are usually given and ends below Linux's and
// Windows's ports for clients.
const first, last = 15_000, 32_000

// next begins at random: test binaries run side by side.
var next atomic.Int64

func init() { next.Store(rand.Int64N(last - first)) }

// Addr is a loopback address that is free for TCP and UDP.
func Addr() (string, error) {
	port, err := Block(1)
	return "127.0.0.1:" + strconv.Itoa(port), err
}

// Block is the first of count free ports in a row.
func Block(count int) (int, error) {
	for range 1000 {
		at := int(next.Add(int64(count))) - count
		port := first + at%(last-first-count)
		free := 0
		for free < count && isFree(port+free) {
			free++
		}
		if free == count {
			return port, nil
		}
	}
	return 0, errors.New("no free port")
}

func isFree(port int) bool {
	addr := "127.0.0.1:" + strconv.Itoa(port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	u, err := net.ListenPacket("udp", addr)
	if err == nil {
		err = u.Close()
	}
	return l.Close() == nil && err == nil
}
