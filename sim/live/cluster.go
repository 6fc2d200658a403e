package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/quoratedb/quorate/internal/process"
)

// cluster is the nodes that this process runs, and their links.
type cluster struct {
	children []*child
	links    *Links
	end      func() // of the spawner

	mu   sync.Mutex
	died []string // what ended by itself, with the end of its log
}

// newCluster prepares the nodes in dir; nothing runs yet.
func newCluster(o *Options, dir string) (*cluster, error) {
	c := &cluster{}
	ports, err := freePorts(3 * o.Nodes)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	var ends []Endpoint
	var join []string
	for i := range o.Nodes {
		ends = append(ends, Endpoint{Gossip: at(3 * i), Peer: at(3*i + 1)})
		join = append(join, ends[i].Gossip)
	}
	if c.links, err = NewLinks(ends); err != nil {
		return nil, err
	}
	var spawn process.Spawner
	spawn, c.end = process.NewSpawner()
	for i := range o.Nodes {
		n := &child{name: nodeName(i), api: at(3*i + 2), at: ends[i], command: o.Command, spawn: spawn, surprise: c.surprise}
		n.log, n.switches = filepath.Join(dir, n.name+".log"), filepath.Join(dir, n.name+".switches")
		n.args = []string{"serve", "--name", n.name, "--data", filepath.Join(dir, n.name), "--api", n.api, "--gossip", n.at.Gossip,
			"--peer", n.at.Peer, "--log-format", "text", "--stop-with-stdin", "--testing.switches", n.switches}
		if runtime.GOOS == "linux" || runtime.GOOS == "darwin" { // elsewhere there is no clock for it
			n.args = append(n.args, "--strong-lease", "1s")
		}
		if o.Nodes > 1 {
			n.args = append(n.args, "--join", strings.Join(join, ","), "--bootstrap-expect", strconv.Itoa(o.Nodes))
		}
		n.args = append(n.args, c.links.Arguments(i)...)
		n.env = append(append([]string(nil), o.Env...), TestingEnv)
		c.children = append(c.children, n)
	}
	return c, nil
}

// Ports are taken below the range that systems hand out by themselves, so that a
// port stays free while its node is dead.
const (
	portLow  = 22000
	portHigh = 31000
)

// freePorts finds ports that are free for TCP and UDP now.
func freePorts(count int) ([]int, error) {
	var out []int
	port := portLow + rand.IntN(portHigh-portLow)
	for range portHigh - portLow {
		if port++; port >= portHigh {
			port = portLow
		}
		if portFree(port) {
			if out = append(out, port); len(out) == count {
				return out, nil
			}
		}
	}
	return nil, fmt.Errorf("only %d of %d ports are free between %d and %d", len(out), count, portLow, portHigh)
}

func portFree(port int) bool {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
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

func (c *cluster) surprise(n *child, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.died = append(c.died, fmt.Sprintf("%s ended by itself (%v):\n%s", n.name, err, n.tail()))
}

// dead tells what ended by itself so far.
func (c *cluster) dead() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.died...)
}

func (c *cluster) start(ctx context.Context) error {
	for _, n := range c.children {
		if err := errors.Join(ctx.Err(), n.start()); err != nil {
			return err
		}
	}
	return nil
}

// heal undoes every fault: links, clocks, disks, Raft, paused and killed nodes.
func (c *cluster) heal() error {
	c.links.Heal()
	var errs []error
	for _, n := range c.children {
		if err := os.Remove(n.switches); err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
		if n.runs() {
			errs = append(errs, n.pause(false))
		} else {
			errs = append(errs, n.start())
		}
	}
	return errors.Join(errs...)
}

// stop ends everything and waits for it.
func (c *cluster) stop() error {
	var wg sync.WaitGroup
	errs := make([]error, len(c.children))
	for i, n := range c.children {
		wg.Go(func() { errs[i] = n.stop() })
	}
	wg.Wait()
	err := errors.Join(append(errs, c.links.Close())...)
	c.end()
	return err
}
