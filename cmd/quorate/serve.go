package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/conf"
	"github.com/quoratedb/quorate/node"
)

func newServe(a *app) *cobra.Command {
	var file string
	var withStdin bool
	c := &cobra.Command{Use: "serve", Short: "Run a node", Args: cobra.NoArgs,
		Long: `Run a node. With no flags: a single node on loopback, data in ./quorate-data.

Three nodes: give each its --name, addresses and --data, and all of them
  --join host1:7401,host2:7401,host3:7401 --bootstrap-expect 3

TERM and INT drain and stop, a second one stops at once; HUP reads the configuration
again and takes over the log level.`,
		RunE: func(c *cobra.Command, _ []string) error {
			s := conf.Sources{File: file, Env: a.environ, Flags: c.Flags()}
			l, err := conf.Load(s)
			if err != nil {
				return err
			}
			return a.serve(c.Context(), s, l, withStdin)
		}}
	c.Flags().StringVarP(&file, "config", "c", "", "YAML file")
	conf.AddFlags(c.Flags())
	c.Flags().BoolVar(&withStdin, "stop-with-stdin", false, "stop when standard input ends")
	_ = c.Flags().MarkHidden("stop-with-stdin") // added above
	return c
}

// serve runs one node from start to stop.
func (a *app) serve(ctx context.Context, s conf.Sources, l *conf.Loaded, withStdin bool) error {
	cfg := l.Config
	level := new(slog.LevelVar)
	log := a.logger(&cfg, level)
	for _, name := range l.Strangers {
		log.Warn("no key has this environment variable; it is ignored", "variable", name)
	}
	if err := preflight(ctx, &cfg); err != nil {
		return err
	}
	if beyondLoopback(cfg.API) {
		log.Warn("the API listens beyond loopback, in plain text and without authentication: anybody who reaches it can read and change all data", "api", cfg.API)
	}
	stop := a.signals(s, l, level, log, withStdin)
	defer stop.close()
	for mends := 0; ; mends++ {
		err := a.runNode(stop, &cfg, log)
		if err == nil || mends == maxMends || !mendable(err) || stop.ctx.Err() != nil {
			return err
		}
		log.Error("the node ended for its store; starting again, which sees to that", "error", err)
	}
}

// unstarted is why a node did not start: a start has seen to its store already.
type unstarted struct{ error }

func (u unstarted) Unwrap() error { return u.error }

func mendable(err error) bool {
	var not unstarted
	return !errors.As(err, &not) && node.Mendable(err)
}

// maxMends bounds how often one process sees to its own store: a disk that damages
// everything would fill with what is set aside.
const maxMends = 2

// runNode is one node from its start to its end.
func (a *app) runNode(stop *stopper, cfg *node.Config, log *slog.Logger) error {
	// The first signal ends a start that still waits; the second ends everything.
	n, err := node.Start(stop.ctx, *cfg, log)
	if err != nil {
		if stop.ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		return unstarted{explainStart(err, cfg)}
	}
	fmt.Fprintf(a.stderr, "ready api=http://%s node=%s\n", n.APIAddr(), cfg.Name)
	select {
	case err := <-n.Done():
		return errors.Join(err, stopNode(n, cfg))
	case <-stop.ctx.Done():
		log.Info("stopping", "reason", stop.reason())
		return stopNode(n, cfg)
	}
}

// stopMargin is for what comes after the requests in flight: leaving gossip, closing
// the store.
const stopMargin = 2

func stopNode(n *node.Node, cfg *node.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopMargin*cfg.ShutdownTimeout)
	defer cancel()
	return n.Stop(ctx)
}

// stopper turns signals and the end of standard input into the end of ctx.
type stopper struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	quit   chan struct{}
}

func (s *stopper) reason() string { return context.Cause(s.ctx).Error() }
func (s *stopper) close()         { close(s.quit); s.cancel(errors.New("stopped")) }

// hardExit is the end without a stop: what is acknowledged is on disk already.
var hardExit = func() { os.Exit(exitOther) }

func (a *app) signals(src conf.Sources, l *conf.Loaded, level *slog.LevelVar, log *slog.Logger, withStdin bool) *stopper {
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &stopper{ctx: ctx, cancel: cancel, quit: make(chan struct{})}
	end, hup := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(end, stopSignals...)
	if len(reloadSignals) > 0 {
		signal.Notify(hup, reloadSignals...)
	}
	if withStdin {
		go func() { // ends with the process: a read of standard input cannot be interrupted
			waitEOF(a.stdin)
			cancel(errors.New("standard input ended"))
		}()
	}
	go func() {
		defer signal.Stop(end)
		defer signal.Stop(hup)
		for {
			select {
			case sig := <-end:
				if ctx.Err() != nil {
					log.Warn("second signal: stopping at once", "signal", sig.String())
					hardExit()
					return
				}
				cancel(fmt.Errorf("signal %v", sig))
			case <-hup:
				reload(src, l, level, log)
			case <-s.quit:
				return
			}
		}
	}()
	return s
}

// reload takes over what can change while running.
func reload(src conf.Sources, running *conf.Loaded, level *slog.LevelVar, log *slog.Logger) {
	next, err := conf.Load(src)
	if err != nil {
		log.Error("the configuration is not in order; nothing changed", "error", err)
		return
	}
	level.Set(logLevel(next.Config.LogLevel))
	running.Config.LogLevel = next.Config.LogLevel
	waiting := conf.Changed(&running.Config, &next.Config)
	log.Info("configuration read again", "log-level", next.Config.LogLevel, "waiting_for_restart", waiting)
}
