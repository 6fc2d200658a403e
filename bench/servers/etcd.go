package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrMissing says that a server to compare with is not installed, and how to get it.
var ErrMissing = errors.New("not installed")

func find(binary, pkg string) (string, error) {
	path, err := exec.LookPath(binary)
	if err != nil {
		return "", fmt.Errorf("%s is %w; on Debian and Ubuntu: apt-get install %s", binary, ErrMissing, pkg)
	}
	return path, nil
}

// Etcd is a cluster of etcd members with default settings.
type Etcd struct {
	addrs []string
	procs []*Proc
}

// StartEtcd starts n members with fresh data under dir and waits until each is healthy.
// extra is added to the arguments of each.
func StartEtcd(ctx context.Context, dir string, n int, extra ...string) (*Etcd, error) {
	bin, err := find("etcd", "etcd-server")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2 * n)
	if err != nil {
		return nil, err
	}
	e := &Etcd{addrs: ports[:n], procs: make([]*Proc, n)}
	name := func(i int) string { return "etcd-e" + strconv.Itoa(i+1) }
	var initial []string
	for i := range n {
		initial = append(initial, name(i)+"=http://"+ports[n+i])
	}
	for i := range n {
		client, peer := "http://"+ports[i], "http://"+ports[n+i]
		args := append([]string{"--name", name(i), "--data-dir", filepath.Join(dir, name(i)),
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(initial, ","), "--initial-cluster-state", "new",
			"--initial-cluster-token", "quorate-bench", "--log-level", "warn", "--logger", "zap"}, extra...)
		e.procs[i], err = start(name(i), dir, nil, bin, args...)
		if err != nil {
			e.Stop()
			return nil, err
		}
	}
	for i, p := range e.procs {
		err := p.until(ctx, "healthy", func(ctx context.Context) error {
			return expect(ctx, http.MethodGet, "http://"+e.addrs[i]+"/health", nil, http.StatusOK)
		})
		if err != nil {
			e.Stop()
			return nil, err
		}
	}
	return e, nil
}

// Addrs returns the client addresses.
func (e *Etcd) Addrs() []string { return e.addrs }

// Pids returns the process ids, in the order of Addrs.
func (e *Etcd) Pids() []int { return pids(e.procs) }

// Stop ends all members.
func (e *Etcd) Stop() { stopAll(e.procs) }

// Version returns the first line of "BINARY ARG", "" when there is none.
func Version(ctx context.Context, binary, arg string) string {
	out, err := exec.CommandContext(ctx, binary, arg).Output()
	if err != nil {
		return ""
	}
	l, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(l)
}
