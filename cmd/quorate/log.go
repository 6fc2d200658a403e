package main

import (
	"io"
	"log/slog"

	"github.com/quoratedb/quorate/node"
)

// logger writes to standard error: text for people, JSON for machines.
func (a *app) logger(cfg *node.Config, level *slog.LevelVar) *slog.Logger {
	level.Set(logLevel(cfg.LogLevel))
	o := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(a.stderr, o)
	if cfg.LogFormat == "text" || (cfg.LogFormat == "auto" && a.errTTY) {
		h = slog.NewTextHandler(a.stderr, o)
	}
	return slog.New(h).With("node", cfg.Name)
}

// logLevel reads a level that the configuration has checked.
func logLevel(name string) slog.Level {
	switch name {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// waitEOF reads until the end or an error.
func waitEOF(r io.Reader) {
	_, _ = io.Copy(io.Discard, r) // an error ends standard input as well
}
