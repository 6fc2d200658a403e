package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
	"github.com/quoratedb/quorate/internal/buildinfo"
)

// app is the process as the commands see it. Data goes to stdout, talk to stderr.
type app struct {
	stdin                 io.Reader
	stdout, stderr        io.Writer
	environ               []string
	inTTY, outTTY, errTTY bool

	addrs   []string
	output  string
	timeout time.Duration
	running bool // a command's arguments were in order and it began
}

// run is one invocation; it returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !a.running {
		err = &usageError{err}
	}
	var quiet *reported
	if !errors.As(err, &quiet) {
		fmt.Fprintf(a.stderr, "quorate: %v\n", err)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(a.stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "quorate",
		Short: "A distributed key-value store that says what it did",
		Long: `quorate is a distributed key-value store: equal nodes, one binary, plain HTTP.

  quorate demo     five nodes on this machine, and something to look at
  quorate serve    one node

` + exitHelp,
		Version:           buildinfo.Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { a.running = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.AddCommand(newServe(a), newDemo(a), newGet(a), newPut(a), newDelete(a), newList(a), newInspect(a),
		newCounter(a), newBucket(a), newCluster(a), newRing(a), newRepair(a), newBench(a), newCheck(a), newSim(a), newConfig(a), newVersion(a))
	return root
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("unknown command %q for %q", args[0], c.CommandPath())
		}
		return usagef("%q needs one of its commands", c.CommandPath())
	}}
	c.AddCommand(subs...)
	return c
}

// interruptible ends ctx on the first INT or TERM.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

const defaultAddr = "127.0.0.1:7400"

// clientFlags gives c the flags of everything that talks to nodes.
func (a *app) clientFlags(c *cobra.Command, formats string) {
	c.Flags().StringSliceVar(&a.addrs, "addrs", a.defaultAddrs(), "API addresses of nodes, asked in this order (env QUORATE_ADDRS)")
	c.Flags().DurationVar(&a.timeout, "timeout", 5*time.Second, "deadline of the request")
	c.PreRunE = func(c *cobra.Command, _ []string) error { return refuseEmpty(c) }
	a.outputFlag(c, formats)
}

// refuseEmpty refuses flags that are given and say nothing, as the API refuses such headers:
// a variable that a script has not set must not turn a compare-and-set into a plain write.
func refuseEmpty(c *cobra.Command) error {
	for _, name := range []string{"if-match", "if-none-match", "idempotency-key", "context", "read-after", "consistency", "sloppy"} {
		if f := c.Flags().Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			return usagef("--%s is given and empty", name)
		}
	}
	return nil
}

func (a *app) defaultAddrs() []string {
	for _, kv := range a.environ {
		if v, ok := strings.CutPrefix(kv, "QUORATE_ADDRS="); ok && v != "" {
			return strings.Split(v, ",")
		}
	}
	return []string{defaultAddr}
}

// timeoutMax is the longest deadline a node accepts.
const timeoutMax = time.Minute

func (a *app) client() (*rest.Client, error) {
	addrs, err := rest.ParseAddrs(a.addrs)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--addrs: %w", err)}
	}
	if a.timeout <= 0 || a.timeout > timeoutMax {
		return nil, usagef("--timeout: %v is outside 1ms to %v", a.timeout, timeoutMax)
	}
	return &rest.Client{Addrs: addrs, HTTP: rest.NewHTTP(1), Timeout: a.timeout}, nil
}

// ask sends one request and returns the reply.
func (a *app) ask(ctx context.Context, r rest.Request) (*rest.Reply, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := interruptible(ctx)
	defer cancel()
	return c.Do(ctx, r)
}
