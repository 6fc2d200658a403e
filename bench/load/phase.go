package load

import (
	"fmt"
	"strconv"
	"strings"
)

// A Phase is one shape of load, written MODE:WORKERS:VALUEBYTES:DIST[@RATE].
//
//	load  write every key once        put  writes
//	get   strong reads                sget stale (the weakest offered) reads
//	mix   half writes, half get       smix half writes, half sget
//	rN    N percent get, the rest writes (YCSB A is r50, B is r95, C is get)
//	cas   compares and sets, on the first casKeys keys
//
// DIST is uniform or zipf (theta 0.99, scrambled). With a rate the loop is open:
// RATE operations a second fall due at fixed times and their latency counts from
// then, so a stalled server is not spared the requests a closed loop would hold back.
type Phase struct {
	Mode    string
	Workers int
	Value   int // bytes
	Dist    string
	Rate    float64 // operations a second over all workers; 0: closed loop
	reads   int     // percent
}

// casKeys is how many keys cas works on: few enough that clients meet now and then.
const casKeys = 1000

// Bounds of a phase: beyond them the generator measures itself.
const (
	workersMax = 4096
	valueMax   = 1 << 20 // the fill text that values are cut from
)

// ParsePhase reads one phase.
func ParsePhase(s string) (Phase, error) {
	bad := func(why string) (Phase, error) {
		return Phase{}, fmt.Errorf("phase %q: %s (want MODE:WORKERS:VALUEBYTES:DIST[@RATE])", s, why)
	}
	shape, rate, open := strings.Cut(s, "@")
	f := strings.Split(shape, ":")
	if len(f) != 4 {
		return bad("not four fields")
	}
	p := Phase{Mode: f[0], Dist: f[3]}
	var err error
	if p.reads, err = readPercent(p.Mode); err != nil {
		return bad(err.Error())
	}
	if p.Workers, err = strconv.Atoi(f[1]); err != nil || p.Workers < 1 || p.Workers > workersMax {
		return bad(fmt.Sprintf("workers must be 1 to %d", workersMax))
	}
	if p.Value, err = strconv.Atoi(f[2]); err != nil || p.Value < keyLen || p.Value > valueMax {
		return bad(fmt.Sprintf("value must be %d to %d bytes", keyLen, valueMax))
	}
	if p.Dist != "uniform" && p.Dist != "zipf" {
		return bad("distribution must be uniform or zipf")
	}
	if open {
		if p.Rate, err = strconv.ParseFloat(rate, 64); err != nil || p.Rate <= 0 || p.Rate > 1e7 {
			return bad("rate must be above 0")
		}
		if p.Mode == "load" {
			return bad("a load has no rate")
		}
	}
	return p, nil
}

// ParsePhases reads a comma separated list.
func ParsePhases(s string) ([]Phase, error) {
	var out []Phase
	for f := range strings.SplitSeq(s, ",") {
		p, err := ParsePhase(strings.TrimSpace(f))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func readPercent(mode string) (int, error) {
	switch mode {
	case "load", "put", "cas":
		return 0, nil
	case "get", "sget":
		return 100, nil
	case "mix", "smix":
		return 50, nil
	}
	if n, ok := strings.CutPrefix(mode, "r"); ok {
		if v, err := strconv.Atoi(n); err == nil && v >= 0 && v <= 100 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("unknown mode %q", mode)
}

func (p Phase) stale() bool { return p.Mode == "sget" || p.Mode == "smix" }

func (p Phase) swaps() bool { return p.Mode == "cas" }

func (p Phase) String() string {
	s := fmt.Sprintf("%s:%d:%d:%s", p.Mode, p.Workers, p.Value, p.Dist)
	if p.Rate > 0 {
		s += "@" + strconv.FormatFloat(p.Rate, 'f', -1, 64)
	}
	return s
}
