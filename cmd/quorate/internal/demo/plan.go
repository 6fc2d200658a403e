// Package demo runs several real nodes as child processes on loopback, with a light
// load and faults from the keyboard or a script. However the parent ends, its
// children end too.
package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quoratedb/quorate/sim/live"
)

// Bounds: more nodes than NodesMax help nobody on one machine.
const (
	NodesMax = 25
	portStep = 10 // node i: API at port+10(i-1), gossip one above, peers two above
	portMax  = 65535
)

// Options of a demo.
type Options struct {
	Nodes    int
	Dir      string // "": a temporary directory, removed at the end
	APIPort  int
	Duration time.Duration // 0: until the user ends it
	Script   []Event
	// Isolation makes the traffic between nodes pass through this process, so that
	// Isolate works from the keyboard too; a script that isolates brings it by itself.
	Isolation bool
	// Command is the program of a node and its first arguments; the addresses and so
	// on follow as flags of serve.
	Command []string
	Env     []string
	Term    Terminal
}

// nodePlan is where one node lives.
type nodePlan struct {
	name              string
	api, gossip, peer string
	data, log         string
	extra             []string // more arguments of serve
}

// Check says what is wrong with o.
func (o *Options) Check() error {
	if o.Nodes < 1 || o.Nodes > NodesMax {
		return fmt.Errorf("--nodes: %d is outside 1 to %d", o.Nodes, NodesMax)
	}
	if last := o.APIPort + portStep*(o.Nodes-1) + 2; o.APIPort < 1 || last > portMax {
		return fmt.Errorf("--api-port: ports %d to %d are outside 1 to %d", o.APIPort, last, portMax)
	}
	if o.Duration < 0 {
		return fmt.Errorf("--duration: %v is below zero", o.Duration)
	}
	if o.isolates() && o.Nodes > live.LinksMax {
		return fmt.Errorf("--script: isolating works with up to %d nodes", live.LinksMax)
	}
	for _, e := range o.Script {
		if e.Node >= o.Nodes {
			return fmt.Errorf("--script: %v: there are %d nodes", e, o.Nodes)
		}
	}
	return nil
}

// isolates tells whether the traffic between nodes must pass through here.
func (o *Options) isolates() bool {
	return o.Isolation && o.Term.In != nil && o.Nodes > 1 && o.Nodes <= live.LinksMax ||
		slices.ContainsFunc(o.Script, func(e Event) bool { return e.Action == Isolate })
}

func (o *Options) plan(dir string) []nodePlan {
	plans := make([]nodePlan, o.Nodes)
	for i := range plans {
		port := o.APIPort + portStep*i
		at := func(p int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p)) }
		name := "n" + strconv.Itoa(i+1)
		plans[i] = nodePlan{name: name, api: at(port), gossip: at(port + 1), peer: at(port + 2),
			data: filepath.Join(dir, name), log: filepath.Join(dir, name+".log")}
	}
	return plans
}

// args are the arguments of a node.
func (p nodePlan) args(all []nodePlan) []string {
	args := []string{"serve", "--name", p.name, "--data", p.data, "--api", p.api, "--gossip", p.gossip, "--peer", p.peer,
		"--log-format", "text", "--stop-with-stdin"}
	args = append(args, p.extra...)
	if len(all) == 1 {
		return args
	}
	var join []string
	for _, o := range all {
		join = append(join, o.gossip)
	}
	return append(args, "--join", strings.Join(join, ","), "--bootstrap-expect", strconv.Itoa(len(all)))
}

// portsFree looks for addresses in use before anything starts.
func portsFree(ctx context.Context, plans []nodePlan) error {
	var lc net.ListenConfig
	var busy []string
	for _, p := range plans {
		for _, addr := range []string{p.api, p.gossip, p.peer} {
			l, err := lc.Listen(ctx, "tcp", addr)
			if err == nil {
				err = l.Close()
			}
			if err == nil && addr == p.gossip {
				var c net.PacketConn
				if c, err = lc.ListenPacket(ctx, "udp", addr); err == nil {
					err = c.Close()
				}
			}
			if err != nil {
				busy = append(busy, addr+" ("+p.name+")")
			}
		}
	}
	if busy != nil {
		return fmt.Errorf("in use already: %s; another demo or node runs here, or choose other ports with --api-port", strings.Join(busy, ", "))
	}
	return nil
}

// workDir makes the directory; clean removes it when it was a temporary one.
func workDir(dir string) (path string, clean func() error, err error) {
	if dir == "" {
		path, err = os.MkdirTemp("", "quorate-demo-")
		return path, func() error { return os.RemoveAll(path) }, err
	}
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	return dir, func() error { return nil }, nil
}
