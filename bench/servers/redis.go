package servers

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/quoratedb/quorate/bench/load"
)

// Redis is a primary and its replicas; each fsyncs its append-only file before it
// answers (appendfsync always).
type Redis struct {
	addrs []string
	procs []*Proc
}

// StartRedis starts a primary and its replicas with fresh data under dir and waits
// until a write reaches them all.
func StartRedis(ctx context.Context, dir string, replicas int) (*Redis, error) {
	bin, err := find("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1 + replicas)
	if err != nil {
		return nil, err
	}
	r := &Redis{addrs: ports, procs: make([]*Proc, len(ports))}
	for i := range ports {
		if r.procs[i], err = r.start(bin, dir, i); err != nil {
			r.Stop()
			return nil, err
		}
	}
	if err := r.awaitReplicas(ctx, replicas); err != nil {
		r.Stop()
		return nil, err
	}
	return r, nil
}

func (r *Redis) start(bin, dir string, i int) (*Proc, error) {
	name := "redis-r" + strconv.Itoa(i+1)
	data := filepath.Join(dir, name)
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(r.addrs[i])
	if err != nil {
		return nil, err
	}
	args := []string{"--bind", host, "--port", port, "--dir", data, "--daemonize", "no",
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--repl-diskless-sync-delay", "0"}
	if i > 0 {
		host, port, err := net.SplitHostPort(r.addrs[0])
		if err != nil {
			return nil, err
		}
		args = append(args, "--replicaof", host+" "+port)
	}
	return start(name, dir, nil, bin, args...)
}

// awaitReplicas writes until WAIT counts every replica.
func (r *Redis) awaitReplicas(ctx context.Context, replicas int) error {
	opts := load.Opts{}
	if replicas > 0 {
		opts["wait"] = strconv.Itoa(replicas)
	}
	d, err := load.Open("redis", r.addrs, opts)
	if err != nil {
		return err
	}
	defer d.Close()
	return r.procs[0].until(ctx, "replicated", func(ctx context.Context) error {
		w, err := d.Worker(ctx, 0)
		if err != nil {
			return err
		}
		defer w.Close()
		return w.Put([]byte("ready"), []byte("ready"))
	})
}

// Addrs returns the addresses, the primary's first.
func (r *Redis) Addrs() []string { return r.addrs }

// Pids returns the process ids, in the order of Addrs.
func (r *Redis) Pids() []int { return pids(r.procs) }

// Stop ends all servers.
func (r *Redis) Stop() { stopAll(r.procs) }
