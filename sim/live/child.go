package live

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/quoratedb/quorate/internal/process"
)

// child is one node that this process runs.
type child struct {
	name, api     string
	at            Endpoint
	args          []string
	command, env  []string
	log, switches string // files
	spawn         process.Spawner
	surprise      func(*child, error) // it ended by itself

	mu     sync.Mutex
	proc   *os.Process
	stdin  io.Closer
	gone   chan struct{} // closed when the present process ended
	up     bool
	paused bool
	asked  bool // the end was asked for
}

// stopPatience is for a clean stop: a node drains for up to 10 s.
const stopPatience = 15 * time.Second

// start runs the process; its predecessor's end is waited for.
func (c *child) start() error {
	c.mu.Lock()
	gone, runs := c.gone, c.up && !c.asked
	c.mu.Unlock()
	if runs {
		return fmt.Errorf("%s runs already", c.name)
	}
	if gone != nil { // a killed process may take its time
		<-gone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(c.command[0], append(c.command[1:len(c.command):len(c.command)], c.args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, log, log
	process.Tie(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.spawn(cmd.Start); err != nil {
		return fmt.Errorf("starting %s: %w", c.name, err)
	}
	c.proc, c.stdin, c.gone, c.up, c.paused, c.asked = cmd.Process, in, make(chan struct{}), true, false, false
	go c.reap(cmd, c.gone)
	return nil
}

func (c *child) reap(cmd *exec.Cmd, gone chan struct{}) {
	err := cmd.Wait()
	c.mu.Lock()
	c.up = false
	asked := c.asked
	c.mu.Unlock()
	if !asked {
		c.surprise(c, err)
	}
	close(gone)
}

// kill is kill -9; it does not wait.
func (c *child) kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up {
		return fmt.Errorf("%s does not run", c.name)
	}
	c.asked = true // before the end can be seen, so that it is no surprise
	if err := c.proc.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (c *child) pause(on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.up || c.asked:
		return fmt.Errorf("%s does not run", c.name)
	case on == c.paused:
		return nil
	}
	do := process.Resume
	if on {
		do = process.Pause
	}
	err := do(c.proc)
	if err == nil {
		c.paused = on
	}
	return err
}

// runs tells whether the process is there and nobody has ended it.
func (c *child) runs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up && !c.asked
}

// stop ends the process cleanly, or after a while by force.
func (c *child) stop() error {
	c.mu.Lock()
	gone, up := c.gone, c.up
	if up {
		c.asked = true
		if c.paused {
			_ = process.Resume(c.proc) // if it cannot, the kill after the patience does
		}
		_ = c.stdin.Close() // the sign to stop
	}
	c.mu.Unlock()
	if !up {
		if gone != nil {
			<-gone
		}
		return nil
	}
	t := time.NewTimer(stopPatience)
	defer t.Stop()
	select {
	case <-gone:
		return nil
	case <-t.C:
	}
	err := c.kill()
	<-gone
	return errors.Join(fmt.Errorf("%s did not stop within %v and was killed", c.name, stopPatience), err)
}

// set writes the file of testing switches; what is not named is off.
func (c *child) set(text string) error {
	tmp := filepath.Join(filepath.Dir(c.switches), "."+filepath.Base(c.switches))
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.switches)
}

const (
	tailBytes = 4 << 10
	tailLines = 12
)

// tail is the end of the log.
func (c *child) tail() string {
	f, err := os.Open(c.log)
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
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
