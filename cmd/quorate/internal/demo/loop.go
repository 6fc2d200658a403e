package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/quoratedb/quorate/cmd/quorate/internal/bench"
)

// loop serves keys, the script, children that end, and the status line until the
// demo is over.
func (d *demo) loop(ctx context.Context, load *bench.Run) {
	began := time.Now()
	commands, quit := make(chan command), make(chan struct{})
	defer close(quit)
	if t := d.o.Term; t.In != nil {
		if t.Raw != nil {
			if undo, err := t.Raw(); err == nil {
				defer undo()
			}
		}
		go readKeys(t, len(d.children), commands, quit)
	}
	tick := time.NewTicker(d.every())
	defer tick.Stop()
	over := after(d.o.Duration)
	script := d.o.Script
	for {
		var step <-chan time.Time
		if len(script) > 0 {
			step = time.After(time.Until(began.Add(script[0].At)))
		}
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case c := <-commands:
			if c.quit {
				return
			}
			d.obey(ctx, c)
		case <-step:
			d.act(ctx, script[0].Action, script[0].Node)
			script = script[1:]
		case e := <-d.exits:
			d.died = append(d.died, e.child.plan.name)
			d.say.line("%s ended by itself (%v):\n%s", e.child.plan.name, e.err, e.child.tail())
		case <-tick.C:
			d.say.status(d.status(time.Since(began), load.Counts()))
		}
	}
}

func (d *demo) every() time.Duration {
	if d.o.Term.Live {
		return statusLive
	}
	return statusPlain
}

// after is never for zero.
func after(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}

func (d *demo) obey(ctx context.Context, c command) {
	if c.help {
		d.say.line("%s", keyHelp)
		return
	}
	d.act(ctx, c.action, c.node)
}

func (d *demo) act(ctx context.Context, a Action, node int) {
	c := d.children[node]
	if a == Isolate || a == Heal {
		d.isolate(a, node)
		return
	}
	err := c.act(a, func() error { return c.start(d.spawn, d.plans, d.exits) })
	if err != nil {
		d.say.line("%s %s: %v", a, c.plan.name, err)
		return
	}
	d.say.line("%s %s: done", a, c.plan.name)
	if a == Start {
		d.wg.Go(func() {
			began := time.Now()
			if err := c.ready(ctx, d.http); err == nil {
				d.say.line("%s is ready again after %v", c.plan.name, time.Since(began).Round(time.Millisecond))
			} else if ctx.Err() == nil && c.is() == running {
				d.say.line("%v", err)
			}
		})
	}
}

func (d *demo) status(since time.Duration, n bench.Counts) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v ", since.Round(time.Second))
	for i, c := range d.children {
		fmt.Fprintf(&b, " %s %s", c.plan.name, c.is())
		if d.alone[i] {
			b.WriteString(" isolated")
		}
	}
	fmt.Fprintf(&b, "  load: %d ops, %d retries, %d errors", n.Ops, n.Retries, n.Errors)
	return b.String()
}

// talk writes lines; on a terminal the status line stays below them.
type talk struct {
	mu    sync.Mutex
	w     io.Writer
	live  bool
	shown string
}

const clearLine = "\r\x1b[K"

func (t *talk) line(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown != "" {
		fmt.Fprint(t.w, clearLine)
	}
	fmt.Fprintf(t.w, format+"\n", args...)
	if t.shown != "" {
		fmt.Fprint(t.w, t.shown)
	}
}

func (t *talk) status(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.live {
		fmt.Fprintln(t.w, s)
		return
	}
	fmt.Fprint(t.w, clearLine+s)
	t.shown = s
}

// end leaves the status line standing and begins a new one.
func (t *talk) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown != "" {
		fmt.Fprintln(t.w)
		t.shown = ""
	}
}
