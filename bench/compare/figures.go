package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/bench/figures"
	"github.com/quoratedb/quorate/bench/layers"
	"github.com/quoratedb/quorate/bench/load"
)

const (
	figureBucket  = "bench"
	figureValue   = 80   // bytes, as in all the figures' phases
	overloadConns = 2048 // clients of the overload: so many that their own waiting does not throttle it
	fiveNodes     = 5
)

// profiledPhases are what the table of layers shows.
const profiledPhases = "put:64:80:zipf,get:64:80:zipf"

// measureFigures runs every scene and turns its rounds into the table. What was
// measured before an error is reported along with it.
func measureFigures(ctx context.Context, o options, dir string, rep *report) error {
	figs, err := chosen(o.only)
	if err != nil {
		return err
	}
	rounds := make([]figures.Runs, o.rounds)
	for i := range rounds {
		rounds[i] = figures.Runs{}
	}
	var failed error
	for _, scene := range []int{figures.SceneThree, figures.SceneFive} {
		steps := figures.Plan(figs, scene)
		if len(steps) == 0 || failed != nil {
			continue
		}
		sub := filepath.Join(dir, fmt.Sprintf("scene%d", scene))
		if failed = os.Mkdir(sub, 0o755); failed == nil {
			failed = playScene(ctx, o, sub, scene, steps, rounds, rep)
		}
	}
	for _, f := range figs {
		rep.Figures = append(rep.Figures, figures.Measure(f, rounds))
	}
	rep.summariseRuns()
	return failed
}

// chosen are the figures whose name the pattern matches; an empty one matches all.
func chosen(pattern string) ([]figures.Figure, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	var out []figures.Figure
	var names []string
	for _, f := range figures.All() {
		names = append(names, f.ID)
		if re.MatchString(f.ID) {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("-only %q matches none of %s", pattern, strings.Join(names, " "))
	}
	return out, nil
}

// playScene starts what the steps need, loads the keys, goes through all rounds and
// ends what it started.
func playScene(ctx context.Context, o options, dir string, scene int, steps []figures.Step, rounds []figures.Runs, rep *report) error {
	f, err := assembleScene(ctx, o, dir, scene, figures.Systems(steps))
	defer f.stop()
	for k, v := range f.versions {
		rep.Versions[k] = v
	}
	for k, v := range f.receipts {
		rep.Receipts[k] = v
	}
	if err != nil {
		return err
	}
	ks := load.NewKeyspace(o.keys)
	if err := loadKeys(ctx, f, ks, []int{figureValue}); err != nil {
		return err
	}
	for i := range rounds {
		for _, step := range steps {
			for _, c := range f.turn(step.Systems, i) {
				r, err := playStep(ctx, o, f, c, ks, step.Phase, i+1, rounds[i])
				if err != nil {
					return err
				}
				rounds[i][figures.Need{System: c.name, Phase: step.Phase}] = r
				rep.Runs = append(rep.Runs, r)
			}
		}
	}
	if scene != figures.SceneThree {
		return nil
	}
	phases, err := load.ParsePhases(profiledPhases)
	if err == nil {
		rep.Profiles, err = profilePass(ctx, o, f, ks, phases)
	}
	return err
}

// turn gives the named contenders that there are, backwards in every other round, so
// that none always follows the same neighbour.
func (f *field) turn(names []string, round int) []contender {
	var out []contender
	for _, name := range names {
		if i := slices.IndexFunc(f.contenders, func(c contender) bool { return c.name == name }); i >= 0 {
			out = append(out, f.contenders[i])
		}
	}
	if round%2 == 1 {
		slices.Reverse(out)
	}
	return out
}

func playStep(ctx context.Context, o options, f *field, c contender, ks *load.Keyspace, phase string, round int, done figures.Runs) (load.Result, error) {
	spec, ledger := phase, (*load.Ledger)(nil)
	if times := overloadTimes(phase); times > 0 {
		rate := math.Round(times * done[figures.Saturating].Good)
		if rate < 1 {
			return load.Result{}, fmt.Errorf("%s: no rate to begin with, the saturating run answered nothing", phase)
		}
		spec, ledger = fmt.Sprintf("put:%d:%d:zipf@%.0f", overloadConns, figureValue, rate), new(load.Ledger)
	}
	p, err := load.ParsePhase(spec)
	if err != nil {
		return load.Result{}, err
	}
	r, err := one(ctx, o, f, c, ks, p, round, ledger)
	r.Phase = phase
	return r, err
}

// overloadTimes is how many times the saturating rate a phase asks for, 0 when it is
// no overload.
func overloadTimes(phase string) float64 {
	switch phase {
	case figures.Overload1:
		return 1
	case figures.Overload2:
		return 2
	}
	return 0
}

// assembleScene starts the systems of a scene. The field is to be stopped even when
// an error comes with it.
func assembleScene(ctx context.Context, o options, dir string, scene int, systems []string) (*field, error) {
	size := nodes
	if scene == figures.SceneFive {
		size = fiveNodes
	}
	f := newField(size)
	f.frames = slices.Contains(systems, figures.Frames)
	for _, name := range systems {
		fmt.Fprintf(os.Stderr, "starting %s\n", name)
		var err error
		switch name {
		case figures.Etcd:
			err = f.addEtcd(ctx, o, dir)
		case figures.Redis:
			err = f.addRedis(ctx, o, dir)
		default:
			err = f.addFace(ctx, o, dir, name)
		}
		if err != nil {
			return f, fmt.Errorf("%s: %w", name, err)
		}
	}
	return f, nil
}

// addFace adds one way into the quorate cluster; all of them share one bucket, or the
// strong one.
func (f *field) addFace(ctx context.Context, o options, dir, name string) error {
	b, what, get, sget := evenBucket(figureBucket, "lww"), "quorate", "?r=2", "?r=1"
	if name == figures.Strong || name == figures.StrongPrimary {
		b, what, get, sget = strongBucket, "strong bucket", "", "?consistency=stale"
	}
	if !slices.ContainsFunc(f.contenders, func(c contender) bool { return c.bucket == b.Name }) {
		if err := f.ensureBucket(ctx, o, dir, fmt.Sprintf("%s, %d nodes", what, f.size), b); err != nil {
			return err
		}
	}
	driver, opts, addrs := "http", httpOpts(b, get, sget), f.quorate.Addrs()
	switch name {
	case figures.StrongPrimary:
		opts["route"], opts["bucket"] = "primary", b.Name
	case figures.BareSpread, figures.BareOwner:
		opts["route"], opts["bucket"] = strings.TrimPrefix(name, "bare-"), figureBucket
	case figures.Spread, figures.Owner:
		driver, opts = "client", load.Opts{"bucket": figureBucket, "route": name}
	case figures.Frames:
		driver, opts, addrs = "frames", load.Opts{"bucket": figureBucket}, f.quorate.FrameAddrs()
	}
	loaded := slices.ContainsFunc(f.contenders, func(c contender) bool { return c.bucket == b.Name })
	if err := f.addAt(addrs, name, driver, opts, f.quorate, layers.Quorate); err != nil {
		return err
	}
	last := &f.contenders[len(f.contenders)-1]
	last.bucket, last.shares = b.Name, loaded
	return nil
}

// markdownFigures is the figures' table and what it was made with.
func (rep *report) markdownFigures(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s.\n\n%s", figures.Counts(rep.Figures), figures.Table(rep.Figures))
}

// plot draws the figures as SVG.
func (rep *report) plot() string {
	return figures.Plot(rep.Figures, fmt.Sprintf("Figures, %s: median of rounds (%s), runs of %s", rep.Machine.Date, rep.Options["rounds"], rep.Options["dur"]))
}

// Between these two lines of a document -doc puts what was measured.
const (
	docBegin = "<!-- figures: written by compare -figures -doc -->"
	docEnd   = "<!-- end of the figures -->"
	docPlot  = "figures.svg" // beside the document
)

var errNoMarks = errors.New("no lines to put the figures between: " + docBegin + " and " + docEnd)

// replaceBetween puts text between the two marks of a document.
func replaceBetween(doc, text string) (string, error) {
	before, rest, ok := strings.Cut(doc, docBegin+"\n")
	_, after, ok2 := strings.Cut(rest, docEnd)
	if !ok || !ok2 {
		return "", errNoMarks
	}
	return before + docBegin + "\n" + strings.TrimRight(text, "\n") + "\n" + docEnd + after, nil
}

// writeDoc puts the report into a document and its plot beside it.
func (rep *report) writeDoc(file string) error {
	doc, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err := replaceBetween(string(doc), fmt.Sprintf("![Figures against their floors](%s)\n\n%s", docPlot, rep.markdown()))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	plot := os.WriteFile(filepath.Join(filepath.Dir(file), docPlot), []byte(rep.plot()), 0o644)
	return errors.Join(plot, os.WriteFile(file, []byte(text), 0o644))
}

// checkDoc finds out before half an hour of measuring that the document cannot take it.
func checkDoc(file string) error {
	doc, err := os.ReadFile(file)
	if err == nil {
		_, err = replaceBetween(string(doc), "")
	}
	return err
}
