package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// logWriter turns memberlist's lines ("[WARN] memberlist: text") into slog records.
// The library reports every malformed packet: lines are limited, so that garbage on
// the port cannot fill a disk with logs.
type logWriter struct {
	log     *slog.Logger
	limit   *rate.Limiter
	dropped atomic.Int64
}

const (
	logPerSecond = 2
	logBurst     = 20
	logLineMax   = 300 // bytes of one line; a refuted message prints its metadata
)

func newLogger(l *slog.Logger) *log.Logger {
	return log.New(&logWriter{log: l, limit: rate.NewLimiter(logPerSecond, logBurst)}, "", 0)
}

var (
	logPrefix = []byte("memberlist: ")
	// quiet lines repeat what gossip has logged itself, with names.
	quiet = [][]byte{[]byte("ignoring alive message"), []byte(ErrForeign.Error()), []byte("Conflicting address"), []byte("Refuting")}
)

func (w *logWriter) Write(line []byte) (int, error) {
	n := len(line)
	level := slog.LevelDebug
	line = bytes.TrimSpace(line)
	switch {
	case bytes.HasPrefix(line, []byte("[WARN] ")), bytes.HasPrefix(line, []byte("[ERR] ")):
		level = slog.LevelWarn
	}
	if i := bytes.IndexByte(line, ' '); i > 0 && line[0] == '[' {
		line = bytes.TrimPrefix(line[i+1:], logPrefix)
	}
	for _, q := range quiet {
		if bytes.Contains(line, q) {
			level = slog.LevelDebug
		}
	}
	if !w.log.Enabled(context.Background(), level) {
		return n, nil
	}
	if !w.limit.Allow() {
		w.dropped.Add(1)
		return n, nil
	}
	if len(line) > logLineMax {
		line = line[:logLineMax]
	}
	args := []any{"text", string(line)}
	if d := w.dropped.Swap(0); d > 0 {
		args = append(args, "lines_dropped", d)
	}
	w.log.Log(context.Background(), level, "memberlist", args...)
	return n, nil
}
