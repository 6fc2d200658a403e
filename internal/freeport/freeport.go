// Package freeport finds ports for tests whose servers stop and start again. A port
// that the system hands out to clients (":0") may be taken by any connection while its
// server is down; these lie below that range, no call gives one twice, and no two test
// binaries that run side by side try the same ones.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/gofrs/flock"
)

// The range starts above what servers are usually given and ends below Linux's and
// Windows's ports for clients. A process takes regions of it, each by a lock file that
// it holds until it ends.
const (
	first, last = 15_000, 32_000
	region      = 200
	regions     = (last - first) / region
)

var (
	mu      sync.Mutex
	held    []*flock.Flock // never closed: the end of the process lets them go
	at, end int            // what is left of the newest region
)

// Addr is a loopback address that is free for TCP and UDP.
func Addr() (string, error) {
	port, err := Block(1)
	return "127.0.0.1:" + strconv.Itoa(port), err
}

// Block is the first of count free ports in a row, at most a region.
func Block(count int) (int, error) {
	mu.Lock()
	defer mu.Unlock()
	if count < 1 || count > region {
		return 0, fmt.Errorf("%d ports in a row, not 1 to %d", count, region)
	}
	for {
		for at+count <= end {
			port := at
			free := 0
			for free < count && isFree(port+free) {
				free++
			}
			if free == count {
				at += count
				return port, nil
			}
			at += free + 1
		}
		if err := claim(); err != nil {
			return 0, err
		}
	}
}

// claim takes a region that no other process has.
func claim() error {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("quorate-test-ports-%d", os.Getuid())) // one for each user
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, n := range rand.Perm(regions) {
		l := flock.New(filepath.Join(dir, strconv.Itoa(n)))
		ok, err := l.TryLock()
		if err != nil || !ok { // another process has it
			continue
		}
		held = append(held, l)
		at, end = first+n*region, first+(n+1)*region
		return nil
	}
	return errors.New("no free ports: other processes hold all regions")
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
