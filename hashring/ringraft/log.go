package ringraft

import (
	"context"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// logger shows raft's own lines to slog. Its INFO is about internals, so it
// arrives as debug; what an operator needs to know is logged by this package.
type logger struct {
	log    *slog.Logger
	name   string
	args   []any
	repeat *repeats
}

func newLogger(l *slog.Logger) hclog.Logger {
	return &logger{log: l.With("part", "raft"), repeat: &repeats{last: map[string]time.Time{}}}
}

// repeats holds back a warning that was given a moment ago: raft repeats itself
// several times a second for as long as one voter is down.
type repeats struct {
	mu   sync.Mutex
	last map[string]time.Time
}

const (
	repeatAfter = 10 * time.Second
	repeatMax   = 256 // messages remembered; raft has fewer
)

func (r *repeats) again(msg string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if last, ok := r.last[msg]; ok && now.Sub(last) < repeatAfter {
		return true
	}
	if len(r.last) >= repeatMax {
		clear(r.last)
	}
	r.last[msg] = now
	return false
}

// quiet warnings are normal here: a store that is not alive has no address, and
// a node outside the voters has no configuration of its own.
func quiet(msg string) bool {
	return strings.HasPrefix(msg, "unable to get address") || strings.HasPrefix(msg, "no known peers") ||
		strings.HasPrefix(msg, "not part of stable configuration")
}

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error, hclog.Warn:
		return slog.LevelWarn // nothing in raft is fatal to the data plane
	default:
		return slog.LevelDebug
	}
}

func (l *logger) Log(level hclog.Level, msg string, args ...any) {
	to := slogLevel(level)
	if to > slog.LevelDebug && (quiet(msg) || l.repeat.again(msg)) {
		to = slog.LevelDebug
	}
	if l.log.Enabled(context.Background(), to) {
		for i, a := range args {
			if f, ok := a.(hclog.Format); ok {
				args[i] = formatted(f)
			}
		}
		l.log.Log(context.Background(), to, msg, args...)
	}
}

func formatted(f hclog.Format) any {
	if len(f) == 0 {
		return ""
	}
	return f[len(f)-1] // the value; slog prints it with %+v by itself
}

func (l *logger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *logger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *logger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }
func (l *logger) enabled(level hclog.Level) bool {
	return l.log.Enabled(context.Background(), slogLevel(level))
}
func (l *logger) IsTrace() bool         { return l.enabled(hclog.Trace) }
func (l *logger) IsDebug() bool         { return l.enabled(hclog.Debug) }
func (l *logger) IsInfo() bool          { return l.enabled(hclog.Info) }
func (l *logger) IsWarn() bool          { return l.enabled(hclog.Warn) }
func (l *logger) IsError() bool         { return l.enabled(hclog.Error) }
func (l *logger) ImpliedArgs() []any    { return l.args }
func (l *logger) Name() string          { return l.name }
func (l *logger) SetLevel(hclog.Level)  {}
func (l *logger) GetLevel() hclog.Level { return hclog.Debug }

func (l *logger) With(args ...any) hclog.Logger {
	return &logger{log: l.log.With(args...), name: l.name, args: append(l.args[:len(l.args):len(l.args)], args...), repeat: l.repeat}
}

func (l *logger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

func (l *logger) ResetNamed(name string) hclog.Logger {
	return &logger{log: l.log, name: name, args: l.args, repeat: l.repeat}
}

func (l *logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.log.Handler(), slog.LevelDebug)
}

func (l *logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(nil).Writer()
}
