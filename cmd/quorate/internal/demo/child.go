package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/quoratedb/quorate/internal/process"
)

// state of a child as the demo sees it.
type state string

const (
	running state = "running"
	paused  state = "paused"
	killed  state = "killed" // by us
	dead    state = "dead"   // by itself
)

const (
	stopPatience  = 15 * time.Second // a node drains for up to 10 s
	readyPatience = 60 * time.Second // a first ring takes up to 10 s, a slow machine more
	readyPoll     = 100 * time.Millisecond
	tailBytes     = 4 << 10
	tailLines     = 12
)

// child is one node: its process, and what became of it.
type child struct {
	plan    nodePlan
	command []string
	env     []string

	mu    sync.Mutex
	state state
	proc  *os.Process
	stdin io.Closer
	gone  chan struct{} // closed when the process ended
	wait  error
}

// exit is a child's end that nobody asked for.
type exit struct {
	child *child
	err   error
}

// start runs the process. Its standard input is a pipe whose other end only this
// process holds: when this process ends, however it ends, the pipe closes and the
// child stops. spawn runs it on the thread that stays (see spawner).
func (c *child) start(spawn process.Spawner, all []nodePlan, exits chan<- exit) error {
	if s := c.is(); s == killed || s == dead {
		<-c.ended() // the old process holds the ports and the directory until then
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == running || c.state == paused {
		return fmt.Errorf("%s runs already", c.plan.name)
	}
	log, err := os.OpenFile(c.plan.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(c.command[0], append(c.command[1:len(c.command):len(c.command)], c.plan.args(all)...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, log, log
	process.Tie(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := spawn(cmd.Start); err != nil {
		return fmt.Errorf("starting %s: %w", c.plan.name, err)
	}
	gone := make(chan struct{})
	c.state, c.proc, c.stdin, c.gone = running, cmd.Process, in, gone
	go c.reap(cmd, gone, exits)
	return nil
}

// reap waits for the process; an end that was not asked for is reported.
func (c *child) reap(cmd *exec.Cmd, gone chan struct{}, exits chan<- exit) {
	err := cmd.Wait()
	c.mu.Lock()
	surprise := c.state == running || c.state == paused
	if surprise {
		c.state = dead
	}
	c.wait = err
	c.mu.Unlock()
	close(gone)
	if surprise {
		exits <- exit{c, err}
	}
}

func (c *child) is() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// ended is closed when the present process ends; nil when there was none.
func (c *child) ended() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// act does one action of a script or a key.
func (c *child) act(a Action, again func() error) error {
	if a == Start {
		return again()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	want := map[Action][]state{Kill: {running, paused}, Pause: {running}, Resume: {paused}}[a]
	for _, s := range want {
		if c.state == s {
			return c.signal(a)
		}
	}
	return fmt.Errorf("%s is %s", c.plan.name, c.state)
}

func (c *child) signal(a Action) error {
	next, err := map[Action]state{Kill: killed, Pause: paused, Resume: running}[a], error(nil)
	switch a {
	case Kill:
		c.state = next // before the end can be seen, so that it is no surprise
		return c.proc.Kill()
	case Pause:
		err = process.Pause(c.proc)
	case Resume:
		err = process.Resume(c.proc)
	}
	if err == nil {
		c.state = next
	}
	return err
}

// release asks for a clean stop; wait must follow.
func (c *child) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == paused {
		_ = process.Resume(c.proc) // if it cannot, the kill after the patience does
	}
	if c.state == running || c.state == paused {
		c.state = killed
		_ = c.stdin.Close() // the child's sign to stop
	}
}

// join waits for the end of the process, and ends it when patience ran out.
func (c *child) join(patience time.Duration) error {
	gone := c.ended()
	if gone == nil {
		return nil
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-gone:
		return nil
	case <-t.C:
	}
	c.mu.Lock()
	err := c.proc.Kill()
	c.mu.Unlock()
	<-gone
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return fmt.Errorf("%s did not stop within %v and was killed", c.plan.name, patience)
}

// ready waits for /readyz.
func (c *child) ready(ctx context.Context, hc *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	last, gone := "no answer", c.ended()
	for {
		ok, why := c.probe(ctx, hc)
		if ok {
			return nil
		}
		if ctx.Err() == nil {
			last = why
		}
		select {
		case <-tick.C:
		case <-gone:
			return fmt.Errorf("%s ended before it was ready\n%s", c.plan.name, c.tail())
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return fmt.Errorf("%s was not ready within %v: %s\n%s", c.plan.name, readyPatience, last, c.tail())
			}
			return ctx.Err()
		}
	}
}

func (c *child) probe(ctx context.Context, hc *http.Client) (bool, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.plan.api+"/readyz", nil)
	if err != nil {
		return false, err.Error()
	}
	resp, err := hc.Do(req)
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, tailBytes)) // so that the connection is kept
	return resp.StatusCode == http.StatusOK, resp.Status
}

// tail is the end of the child's log.
func (c *child) tail() string {
	f, err := os.Open(c.plan.log)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		_, _ = f.Seek(-tailBytes, io.SeekEnd) // failing, the beginning is shown
	}
	text, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return "  | " + strings.Join(lines, "\n  | ") + "\n  (whole log: " + c.plan.log + ")"
}
