package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// BuildQuorate builds the server from the source tree at repo into dir.
func BuildQuorate(ctx context.Context, repo, dir string) (string, error) {
	mod, err := os.ReadFile(filepath.Join(repo, "go.mod"))
	if err != nil || !strings.HasPrefix(string(mod), "module github.com/quoratedb/quorate\n") {
		return "", fmt.Errorf("%s is not quorate's source tree; run this in its bench folder, or name the tree with -repo", repo)
	}
	bin := filepath.Join(dir, "quorate")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/quorate")
	cmd.Dir = repo
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build quorate: %w\n%s", err, out)
	}
	return bin, nil
}

// Quorate is a cluster of quorate nodes.
type Quorate struct {
	bin, dir          string
	env               []string
	api, gossip, peer []string
	frames            []string // none: it takes no frames
	procs             []*Proc
}

// StartQuorate starts n nodes with fresh data under dir and waits until each is
// ready. env is added to the environment, such as QUORATE_PROFILE=true. With frames
// they take frames too.
func StartQuorate(ctx context.Context, bin, dir string, n int, frames bool, env ...string) (*Quorate, error) {
	ports, err := freePorts(4 * n)
	if err != nil {
		return nil, err
	}
	q := &Quorate{bin: bin, dir: dir, env: env, api: ports[:n], gossip: ports[n : 2*n], peer: ports[2*n : 3*n], procs: make([]*Proc, n)}
	if frames {
		q.frames = ports[3*n:]
	}
	for i := range n {
		if err := q.Start(i); err != nil {
			q.Stop()
			return nil, err
		}
	}
	for i := range n {
		if err := q.AwaitReady(ctx, i); err != nil {
			q.Stop()
			return nil, err
		}
	}
	return q, nil
}

// Start starts node i on its data directory, fresh or not.
func (q *Quorate) Start(i int) error {
	name := "n" + strconv.Itoa(i+1)
	args := []string{"serve", "--name", name, "--data", q.Data(i),
		"--api", q.api[i], "--gossip", q.gossip[i], "--peer", q.peer[i]}
	if len(q.procs) > 1 {
		args = append(args, "--join", strings.Join(q.gossip, ","), "--bootstrap-expect", strconv.Itoa(len(q.procs)))
	}
	env := slices.Clone(q.env)
	if q.frames != nil {
		env = append(env, "QUORATE_FRAMES="+q.frames[i])
	}
	p, err := start("quorate-"+name, q.dir, env, q.bin, args...)
	if err == nil {
		q.procs[i] = p
	}
	return err
}

// AwaitReady returns once /readyz of node i answers 200.
func (q *Quorate) AwaitReady(ctx context.Context, i int) error {
	return q.procs[i].until(ctx, "ready", func(ctx context.Context) error {
		return expect(ctx, http.MethodGet, q.url(i, "/readyz"), nil, http.StatusOK)
	})
}

// Env sets what later starts add to their environment.
func (q *Quorate) Env(env ...string) { q.env = env }

// Data is the data directory of node i.
func (q *Quorate) Data(i int) string { return filepath.Join(q.dir, "n"+strconv.Itoa(i+1)) }

// Restart starts node i and returns once it is ready.
func (q *Quorate) Restart(ctx context.Context, i int) error {
	if err := q.Start(i); err != nil {
		return err
	}
	return q.AwaitReady(ctx, i)
}

// Kill ends node i as kill -9 does.
func (q *Quorate) Kill(i int) { q.procs[i].Kill() }

// Addrs returns the API addresses.
func (q *Quorate) Addrs() []string { return q.api }

// FrameAddrs returns the addresses for frames, in the order of Addrs.
func (q *Quorate) FrameAddrs() []string { return q.frames }

// Pids returns the process ids, in the order of Addrs.
func (q *Quorate) Pids() []int { return pids(q.procs) }

// Stop ends all nodes.
func (q *Quorate) Stop() { stopAll(q.procs) }

func (q *Quorate) url(i int, path string) string { return "http://" + q.api[i] + path }

// Bucket is what POST /v1/buckets takes.
type Bucket struct {
	Name     string `json:"name"`
	Mode     string `json:"mode"`
	Conflict string `json:"conflict"`
	N        int    `json:"n"`
	R        int    `json:"r"`
	W        int    `json:"w"`
	Sloppy   bool   `json:"sloppy"`
}

// CreateBucket creates a bucket and returns once every node knows it.
func (q *Quorate) CreateBucket(ctx context.Context, b Bucket) error {
	var ask any = b
	if b.Mode == "strong" { // it has nothing else to choose
		ask = map[string]string{"name": b.Name, "mode": b.Mode}
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	err = q.procs[0].until(ctx, "able to create bucket "+b.Name, func(ctx context.Context) error {
		return expect(ctx, http.MethodPost, q.url(0, "/v1/buckets"), body, http.StatusCreated, http.StatusOK)
	})
	for i := 0; err == nil && i < len(q.procs); i++ {
		err = q.procs[i].until(ctx, "aware of bucket "+b.Name, func(ctx context.Context) error {
			return expect(ctx, http.MethodGet, q.url(i, "/v1/buckets/"+b.Name), nil, http.StatusOK)
		})
	}
	return err
}

// Receipt writes one key and returns the receipt: the proof of what an
// acknowledgement in this bucket stands for.
func (q *Quorate) Receipt(ctx context.Context, bucket string) (string, error) {
	res, err := send(ctx, http.MethodPut, q.url(0, "/v1/kv/"+bucket+"/receipt"), []byte("x"))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusNoContent {
		return "", fmt.Errorf("PUT answered %s", res.Status)
	}
	return res.Header.Get("Quorate-Receipt"), nil
}

// Get fetches a path from node i and returns the status and the body.
func (q *Quorate) Get(ctx context.Context, i int, path string) (int, []byte, error) {
	res, err := send(ctx, http.MethodGet, q.url(i, path), nil)
	if err != nil {
		return 0, nil, err
	}
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// send does one request; the reply's body is read whole and needs no closing.
func send(ctx context.Context, method, url string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(b))
	return res, err
}

func expect(ctx context.Context, method, url string, body []byte, want ...int) error {
	res, err := send(ctx, method, url, body)
	if err != nil {
		return err
	}
	for _, w := range want {
		if res.StatusCode == w {
			return nil
		}
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s %s: %s: %.300s", method, url, res.Status, b)
}
