package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/pprof/profile"
	"golang.org/x/sync/errgroup"

	"github.com/quoratedb/quorate/bench/layers"
	"github.com/quoratedb/quorate/bench/load"
)

// profiled is where the processor time of one run went.
type profiled struct {
	System string         `json:"system"`
	Phase  string         `json:"phase"`
	Micros float64        `json:"server_cpu_us_per_op"`
	Layers []layers.Share `json:"layers"`
}

const profileMax = 64 << 20 // bytes of one profile

// profilePass runs each phase once more on every contender that can be profiled. It
// comes after the measured rounds, because profiles cost some speed.
func profilePass(ctx context.Context, o options, f *field, ks *load.Keyspace, phases []load.Phase) ([]profiled, error) {
	if o.profiles == "" {
		return nil, nil
	}
	if err := os.MkdirAll(o.profiles, 0o755); err != nil {
		return nil, err
	}
	var out []profiled
	for _, p := range phases {
		for _, c := range f.contenders {
			if c.layers == nil {
				continue
			}
			one, err := profileOne(ctx, o, f, c, ks, p)
			if err != nil {
				return out, fmt.Errorf("profile of %s %s: %w", c.name, p, err)
			}
			out = append(out, one)
		}
	}
	return out, nil
}

func profileOne(ctx context.Context, o options, f *field, c contender, ks *load.Keyspace, p load.Phase) (profiled, error) {
	out := profiled{System: c.name, Phase: p.String()}
	if err := settle(ctx, f.pids(), o.settle); err != nil {
		return out, err
	}
	// The run lasts as long as the profiles, which come in whole seconds.
	secs := max(1, int(o.dur.Round(time.Second).Seconds()))
	addrs := c.cluster.Addrs()
	profiles := make([]*profile.Profile, len(addrs))
	group, inner := errgroup.WithContext(ctx)
	for i, addr := range addrs {
		group.Go(func() (err error) {
			select {
			case <-time.After(o.warm):
			case <-inner.Done():
				return inner.Err()
			}
			name := strings.NewReplacer(":", "-", "@", "-").Replace(fmt.Sprintf("%s-%s-n%d.pprof", c.name, p, i+1))
			profiles[i], err = fetchProfile(inner, addr, secs, filepath.Join(o.profiles, name))
			return err
		})
	}
	r, err := load.Run(ctx, c.driver, ks, p, load.Options{System: c.name, Warm: o.warm, Dur: time.Duration(secs) * time.Second, Pids: c.cluster.Pids()})
	if fetched := group.Wait(); err == nil {
		err = fetched
	}
	if err != nil {
		return out, err
	}
	fmt.Fprintln(os.Stderr, "profiled", r)
	out.Micros = r.ServerCPU
	out.Layers, err = layers.Of(profiles, c.layers, r.ServerCPU)
	return out, err
}

// fetchProfile takes a CPU profile of a server and keeps it in a file.
func fetchProfile(ctx context.Context, addr string, secs int, file string) (*profile.Profile, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/debug/pprof/profile?seconds="+strconv.Itoa(secs), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s", res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, profileMax))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return nil, err
	}
	return profile.Parse(bytes.NewReader(b))
}

// markdownProfiles writes where the microseconds go: a row for each layer, a column
// for each run.
func markdownProfiles(b *strings.Builder, all []profiled) {
	systems := map[string][]profiled{} // those with the same layers share a table
	var order []string
	for _, p := range all {
		key := fmt.Sprint(layerNames(p))
		if systems[key] == nil {
			order = append(order, key)
		}
		systems[key] = append(systems[key], p)
	}
	if len(order) > 0 {
		b.WriteString("\nServer CPU by layer in us per operation, over all servers (in brackets: of it in system calls, allocating memory).\n")
	}
	for _, key := range order {
		runs := systems[key]
		slices.SortStableFunc(runs, func(a, b profiled) int { return strings.Compare(a.System, b.System) })
		b.WriteString("\n| Layer |")
		for _, p := range runs {
			fmt.Fprintf(b, " %s %s |", p.System, p.Phase)
		}
		b.WriteString("\n|---|" + strings.Repeat("--:|", len(runs)) + "\n")
		for i, name := range layerNames(runs[0]) {
			fmt.Fprintf(b, "| %s |", name)
			for _, p := range runs {
				s := p.Layers[i]
				fmt.Fprintf(b, " %.1f (%.1f, %.1f) |", s.Micros, s.Kernel*p.Micros, s.Memory*p.Micros)
			}
			b.WriteByte('\n')
		}
		b.WriteString("| all |")
		for _, p := range runs {
			fmt.Fprintf(b, " %.1f |", p.Micros)
		}
		b.WriteByte('\n')
	}
}

func layerNames(p profiled) []string {
	var out []string
	for _, s := range p.Layers {
		out = append(out, s.Layer)
	}
	return out
}
