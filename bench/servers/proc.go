// Package servers starts the real processes that a measurement runs against, all on
// the loopback with data of their own, and ends every one of them again.
package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	stopMax   = 10 * time.Second      // for an orderly end, before it is killed
	readyMax  = 60 * time.Second      // for a cluster to serve after its start
	pollEvery = 10 * time.Millisecond // while waiting for a server
	tailBytes = 2 << 10               // of its log in an error
	probeMax  = 5 * time.Second       // for one look whether a server is ready
)

// Proc is one running server process.
type Proc struct {
	Name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was waited for
	err  error         // how it ended; read after done
}

// start runs the command with its output appended to NAME.log in logDir. The kernel
// kills it when this process ends in any way.
func start(name, logDir string, env []string, path string, args ...string) (*Proc, error) {
	p := &Proc{Name: name, log: filepath.Join(logDir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), env...)
	// A group of its own: Ctrl-C reaches this process alone, which then stops the
	// servers in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel's signal on the parent's death is tied to the thread that
		// started the child, so that thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// Pid returns the process id.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Kill ends the process as kill -9 does and returns once it is gone.
func (p *Proc) Kill() {
	_ = p.cmd.Process.Kill() // an error means that it is gone already
	<-p.done
}

// Stop asks the process to end and kills it when it does not.
func (p *Proc) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone already
	select {
	case <-p.done:
	case <-time.After(stopMax):
		p.Kill()
	}
}

// until polls ready until it returns nil; it fails with what the server last logged
// when the process ends, ctx ends or readyMax passes.
func (p *Proc) until(ctx context.Context, what string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		one, done := context.WithTimeout(ctx, probeMax)
		err := ready(one)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended (%v) before it was %s; its log ends:\n%s", p.Name, p.err, what, p.tail())
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("%s was not %s within %v: %w; its log ends:\n%s", p.Name, what, readyMax, err, p.tail())
		}
	}
}

// tail returns the end of the log, indented.
func (p *Proc) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return "    " + err.Error()
	}
	b = b[max(0, len(b)-tailBytes):]
	return "    " + strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", "\n    ")
}

// stopAll stops the processes side by side; nil ones were never started.
func stopAll(procs []*Proc) {
	ended := make(chan struct{})
	for _, p := range procs {
		go func() {
			if p != nil {
				p.Stop()
			}
			ended <- struct{}{}
		}()
	}
	for range procs {
		<-ended
	}
}

func pids(procs []*Proc) []int {
	var out []int
	for _, p := range procs {
		if p != nil {
			out = append(out, p.Pid())
		}
	}
	return out
}
