package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/conf"
	"github.com/quoratedb/quorate/cmd/quorate/internal/demo"
)

const demoHelp = `Start real nodes as child processes on loopback, write some keys, keep a light load
running, and print lines to try. Node i listens on --api-port+10(i-1), its gossip one
port above, its peer port two above. Data is in a fresh temporary directory that is
removed at the end, unless --dir is given.

On a terminal, keys kill, pause, continue, start and isolate nodes. --script does the same
at given times, for automation:

  quorate demo --duration 20s --script "5s kill n2; 8s start n2; 10s pause n3; 12s resume n3"
  quorate demo --duration 20s --script "5s isolate n2; 12s heal n2"

To isolate nodes, the traffic between them passes through this process, and they run with
QUORATE_TESTING=1, which /v1/cluster shows; --isolation=false leaves that out.

However this process ends, its nodes end too.`

func newDemo(a *app) *cobra.Command {
	o := demo.Options{}
	var script string
	c := &cobra.Command{Use: "demo", Short: "Run five real nodes on this machine", Long: demoHelp, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Script, err = demo.ParseScript(script); err != nil {
				return usagef("--script: %w", err)
			}
			if err := o.Check(); err != nil {
				return &usageError{err}
			}
			return a.demo(c.Context(), o)
		}}
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", 5, "number of nodes")
	f.StringVar(&o.Dir, "dir", "", "directory of data and logs, kept; default: a temporary one")
	f.IntVar(&o.APIPort, "api-port", 7400, "API port of the first node")
	f.DurationVar(&o.Duration, "duration", 0, "end after this time; 0: when told to")
	f.BoolVar(&o.Isolation, "isolation", true, "on a terminal, route the traffic between nodes so that keys can isolate them")
	f.StringVar(&script, "script", "", `steps such as "5s kill n2; 8s start n2; 10s pause n3; 12s resume n3"`)
	return c
}

func (a *app) demo(ctx context.Context, o demo.Options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Command, o.Env = []string{self}, withoutConfig(a.environ)
	o.Term = demo.Terminal{Out: a.stdout, Live: a.errTTY}
	if in, ok := a.stdin.(*os.File); ok && a.inTTY {
		o.Term.In = in
		o.Term.Raw = func() (func(), error) { return demo.SingleKeys(in) }
	}
	// The end of the terminal is an end as well.
	ctx, cancel := signal.NotifyContext(ctx, append([]os.Signal{os.Interrupt, syscall.SIGTERM}, reloadSignals...)...)
	defer cancel()
	err = demo.Run(ctx, o, a.stderr)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // ended by the user while starting
	}
	return err
}

// withoutConfig keeps the user's QUORATE_ variables from the nodes of the demo: they
// would beat nothing that it sets, and surprise in what it does not.
func withoutConfig(environ []string) []string {
	var out []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, conf.EnvPrefix) {
			out = append(out, kv)
		}
	}
	return out
}
