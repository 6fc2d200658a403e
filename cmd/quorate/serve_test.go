package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quoratedb/quorate/cmd/quorate/internal/conf"
	"github.com/quoratedb/quorate/node"
)

func TestReloadTakesTheLogLevelAndNamesTheRest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "q.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log-level: info\n")
	src := conf.Sources{File: file}
	l, err := conf.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
	write("log-level: debug\nreplicas: 2\n")
	reload(src, l, level, log)
	if level.Level() != slog.LevelDebug || !strings.Contains(out.String(), "waiting_for_restart=[replicas]") {
		t.Fatalf("level %v, log %s", level.Level(), out.String())
	}
	write("log-level: warn\nnope: 1\n")
	reload(src, l, level, log)
	if level.Level() != slog.LevelDebug || !strings.Contains(out.String(), ":2: nope: unknown key") {
		t.Fatalf("level %v, log %s", level.Level(), out.String())
	}
}

func TestLogFormats(t *testing.T) {
	for _, c := range []struct {
		format string
		tty    bool
		json   bool
	}{{"auto", false, true}, {"auto", true, false}, {"text", false, false}, {"json", true, true}} {
		var out bytes.Buffer
		a := &app{stderr: &out, errTTY: c.tty}
		a.logger(&node.Config{Name: "n1", LogFormat: c.format, LogLevel: "warn"}, new(slog.LevelVar)).Warn("x")
		if got := strings.HasPrefix(out.String(), "{"); got != c.json || !strings.Contains(out.String(), "n1") {
			t.Errorf("%+v: %s", c, out.String())
		}
	}
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if got := logLevel(strings.ToLower(l.String())); got != l {
			t.Errorf("%v: got %v", l, got)
		}
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	hard := make(chan struct{})
	old := hardExit
	hardExit = func() { close(hard) }
	defer func() { hardExit = old }()
	a := &app{stdin: strings.NewReader("")}
	l := &conf.Loaded{}
	s := a.signals(conf.Sources{}, l, new(slog.LevelVar), slog.New(slog.DiscardHandler), false)
	defer s.close()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []<-chan struct{}{s.ctx.Done(), hard} {
		if err := self.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-wait:
		case <-time.After(10 * time.Second):
			t.Fatal("the signal did nothing")
		}
	}
	if !strings.Contains(s.reason(), "terminated") {
		t.Errorf("reason %q", s.reason())
	}
}

func TestEndOfStandardInputStops(t *testing.T) {
	a := &app{stdin: strings.NewReader("some bytes")}
	s := a.signals(conf.Sources{}, &conf.Loaded{}, new(slog.LevelVar), slog.New(slog.DiscardHandler), true)
	defer s.close()
	select {
	case <-s.ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("still running")
	}
}

func TestExplainStartNamesTheFlag(t *testing.T) {
	cfg := &node.Config{API: "127.0.0.1:7400", Gossip: "127.0.0.1:7401", Peer: "127.0.0.1:7402"}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7402}
	err := explainStart(&net.OpError{Op: "listen", Net: "tcp", Addr: addr, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}, cfg)
	if !strings.Contains(err.Error(), "port 7402 (tcp) of --peer") {
		t.Errorf("got %v", err)
	}
	other := errors.New("something else")
	if got := explainStart(other, cfg); got != other {
		t.Errorf("got %v", got)
	}
}
