// Package figures holds the figures the project wants to reach: what each of them is
// made from, its floor and its aim, and what a set of rounds makes of it. It starts
// nothing; compare does.
package figures

import (
	"fmt"

	"github.com/quoratedb/quorate/bench/load"
)

// Systems as the rounds know them.
const (
	HTTP   = "http"   // three quorate nodes, HTTP
	Frames = "frames" // the same nodes, frames
	Etcd   = "etcd"

	Strong        = "strong"         // a strong bucket of the same nodes, HTTP, each client at a node of its own
	StrongPrimary = "strong-primary" // the same, straight to the primary of each key

	Redis = "redis"

	Five   = "five"   // five quorate nodes, HTTP, each client at a node of its own
	Spread = "spread" // five nodes, quorate's Go client: every request to any node, as a load balancer sends it
	Owner  = "owner"  // five nodes, quorate's Go client: every request to an owner of its key

	// The same with the generator's own client, which costs less and neither retries nor
	// hedges: what the route alone does.
	BareSpread = "bare-spread"
	BareOwner  = "bare-owner"
)

// Scenes: what runs at the same time.
const (
	SceneThree = 3 // three nodes of quorate, three members of etcd, three servers of Redis
	SceneFive  = 5 // five nodes of quorate
)

// Scene tells where a system is measured.
func Scene(system string) int {
	switch system {
	case Five, Spread, Owner, BareSpread, BareOwner:
		return SceneFive
	}
	return SceneThree
}

// Phases. The open loops have enough clients that none waits for its own last request
// while the servers keep up.
const (
	put64     = "put:64:80:zipf"
	put256    = "put:256:80:zipf"
	get64     = "get:64:80:zipf"
	get256    = "get:256:80:zipf"
	sget64    = "sget:64:80:zipf"
	mix64     = "mix:64:80:zipf"
	cas64     = "cas:64:80:uniform"
	open5k    = "mix:256:80:zipf@5000"
	open10k   = "mix:256:80:zipf@10000"
	Overload1 = "overload@1x" // writes at the rate that 256 clients reach, with a ledger
	Overload2 = "overload@2x" // at twice that rate
)

// Saturating is the run whose rate the overload's rates are multiples of.
var Saturating = Need{HTTP, put256}

// Need is one run of each round.
type Need struct{ System, Phase string }

// Runs are one round's results.
type Runs map[Need]load.Result

// Direction says which values are good.
type Direction string

const (
	Higher    Direction = "higher"
	Lower     Direction = "lower"
	Published Direction = "published" // no demand: the value is to be known
)

// Figure is one row of the table.
type Figure struct {
	ID     string    `json:"id"`
	What   string    `json:"what"`
	Unit   string    `json:"unit"` // x: a ratio
	Better Direction `json:"better"`
	Floor  float64   `json:"floor"` // 0, where lower is better: none, short of none at all
	Aim    float64   `json:"aim"`   // equal to the floor when there is none of its own
	Needs  []Need    `json:"-"`
	// value is called only when all its needs have run.
	value func(r Runs) (float64, error)
}

// aimOnly tells a figure whose floor is to be published.
func (f Figure) aimOnly() bool { return f.Better == Lower && f.Floor == 0 && f.Aim > 0 }

// scale is what the plot measures a figure by, 0 for one without a demand that a bar
// could show.
func (f Figure) scale() float64 {
	switch {
	case f.Better == Published:
		return 0
	case f.aimOnly():
		return f.Aim
	}
	return f.Floor
}

// ratio of operations answered a second.
func ratio(id, what string, ours, peer Need, floor, aim float64) Figure {
	return Figure{ID: id, What: what, Unit: "x", Better: Higher, Floor: floor, Aim: aim, Needs: []Need{ours, peer},
		value: func(r Runs) (float64, error) { return divide(r[ours].Good, r[peer].Good) }}
}

// of is one value of one run, the lower the better.
func of(id, what, unit string, n Need, get func(load.Result) float64, floor, aim float64) Figure {
	return Figure{ID: id, What: what, Unit: unit, Better: Lower, Floor: floor, Aim: aim, Needs: []Need{n},
		value: func(r Runs) (float64, error) { return get(r[n]), nil }}
}

// part is one value as a part of the same value of another run, the lower the better.
func part(id, what string, ours, other Need, get func(load.Result) float64, floor, aim float64) Figure {
	return Figure{ID: id, What: what, Unit: "x", Better: Lower, Floor: floor, Aim: aim, Needs: []Need{ours, other},
		value: func(r Runs) (float64, error) { return divide(get(r[ours]), get(r[other])) }}
}

func known(f Figure) Figure { f.Better, f.Floor, f.Aim = Published, 0, 0; return f }

func mean(r load.Result) float64 { return r.Mean }
func p99(r load.Result) float64  { return r.P99 }
func p999(r load.Result) float64 { return r.P999 }
func cpu(r load.Result) float64  { return r.ServerCPU }

// All are the figures in the order of the table.
func All() []Figure {
	http := func(phase string) Need { return Need{HTTP, phase} }
	frames := func(phase string) Need { return Need{Frames, phase} }
	etcd := func(phase string) Need { return Need{Etcd, phase} }
	redis := func(phase string) Need { return Need{Redis, phase} }
	strong := func(phase string) Need { return Need{Strong, phase} }
	primary := func(phase string) Need { return Need{StrongPrimary, phase} }
	spread, owner := Need{Spread, open5k}, Need{Owner, open5k}
	bareSpread, bareOwner := Need{BareSpread, open5k}, Need{BareOwner, open5k}
	out := []Figure{
		ratio("put-etcd-64", "HTTP PUT against etcd, 64 clients", http(put64), etcd(put64), 1.8, 2.4),
		ratio("put-etcd-256", "HTTP PUT against etcd, 256 clients", http(put256), etcd(put256), 1.5, 2.0),
		ratio("get-etcd-64", "HTTP quorum GET against etcd's linearizable GET, 64 clients", http(get64), etcd(get64), 1.3, 1.7),
		ratio("get-etcd-256", "HTTP quorum GET against etcd's linearizable GET, 256 clients", http(get256), etcd(get256), 1.0, 1.4),
		ratio("mix-etcd-64", "HTTP half and half against etcd, 64 clients", http(mix64), etcd(mix64), 1.8, 2.4),
		ratio("strong-put-etcd-64", "strong PUT against etcd, HTTP, 64 clients", strong(put64), etcd(put64), 1.5, 2.0),
		ratio("strong-get-etcd-64", "strong leader GET against etcd's linearizable GET, HTTP, 64 clients", strong(get64), etcd(get64), 1.5, 2.0),
		ratio("strong-cas-etcd-64", "compare-and-set on 1,000 keys against etcd's transaction, HTTP, 64 clients", strong(cas64), etcd(cas64), 1.5, 2.0),
		known(ratio("strong-put-primary", "the same PUT sent straight to the primary", primary(put64), etcd(put64), 0, 0)),
		known(ratio("strong-get-primary", "the same GET sent straight to the primary", primary(get64), etcd(get64), 0, 0)),
		known(ratio("strong-cas-primary", "the same compare-and-set sent straight to the primary", primary(cas64), etcd(cas64), 0, 0)),
		known(of("strong-put-p99", "p99 of the strong PUT, 64 clients", "ms", strong(put64), p99, 0, 0)),
		known(of("strong-get-p99", "p99 of the strong leader GET, 64 clients", "ms", strong(get64), p99, 0, 0)),
		known(of("strong-cpu-put", "server CPU of a strong PUT, 64 clients", "us", strong(put64), cpu, 0, 0)),
		known(of("strong-cpu-get", "server CPU of a strong leader GET, 64 clients", "us", strong(get64), cpu, 0, 0)),
		ratio("put-redis-64", "frames PUT against Redis with appendfsync always and WAIT 1, 64 clients", frames(put64), redis(put64), 1.1, 1.4),
		ratio("put-redis-256", "frames PUT against Redis with appendfsync always and WAIT 1, 256 clients", frames(put256), redis(put256), 1.4, 2.0),
		ratio("get-redis-64", "frames quorum GET against a Redis primary's GET, 64 clients", frames(get64), redis(get64), 0.5, 0.7),
		ratio("get-redis-256", "frames quorum GET against a Redis primary's GET, 256 clients", frames(get256), redis(get256), 0.7, 1.0),
		of("cpu-put", "server CPU of an HTTP PUT, 64 clients", "us", http(put64), cpu, 80, 65),
		of("cpu-get", "server CPU of an HTTP quorum GET, 64 clients", "us", http(get64), cpu, 60, 50),
		of("cpu-get-r1", "server CPU of an HTTP GET with r=1, 64 clients", "us", http(sget64), cpu, 32, 26),
		of("open-5k", "p99, HTTP open loop half and half, 5,000/s", "ms", http(open5k), p99, 8, 5),
		of("open-10k", "p99, HTTP open loop half and half, 10,000/s", "ms", http(open10k), p99, 15, 9),
		part("open-5k-etcd", "the p99 at 5,000/s as a part of etcd's", http(open5k), etcd(open5k), p99, 1.0/3, 1.0/3),
		of("five-10k", "p99, five nodes, HTTP open loop half and half, 10,000/s", "ms", Need{Five, open10k}, p99, 20, 12),
		known(of("spread-mean", "five nodes, Go client to any node, 5,000/s: mean", "ms", spread, mean, 0, 0)),
		known(of("owner-mean", "five nodes, Go client straight to an owner, 5,000/s: mean", "ms", owner, mean, 0, 0)),
		known(of("spread-p99", "five nodes, Go client to any node, 5,000/s: p99", "ms", spread, p99, 0, 0)),
		known(of("owner-p99", "five nodes, Go client straight to an owner, 5,000/s: p99", "ms", owner, p99, 0, 0)),
		part("owner-part", "straight to an owner as a part of any node: p99", owner, spread, p99, 0, 2.0/3),
		known(part("bare-owner-part", "the same with the generator's own client", bareOwner, bareSpread, p99, 0, 0)),
		of("p999-put-256", "p99.9 under saturating HTTP PUT, 256 clients", "ms", http(put256), p999, 150, 60),
		{ID: "overload", What: "goodput of writes at twice the saturating load, as a part of its peak", Unit: "x", Better: Higher, Floor: 0.9, Aim: 0.9,
			Needs: []Need{Saturating, http(Overload1), http(Overload2)}, value: overload},
		of("overload-lost", "acknowledged writes lost in the overload", "keys", http(Overload2), func(r load.Result) float64 { return float64(r.Lost + r.Unread) }, 0, 0),
		known(of("overload-answered", "requests answered in the overload, 503s included, as a part of those due", "x", http(Overload2), func(r load.Result) float64 { return r.Rate / max(r.Target, 1) }, 0, 0)),
		known(of("overload-shed", "requests shed with 503 in the overload", "a second", http(Overload2), func(r load.Result) float64 { return float64(r.Shed) / r.Seconds }, 0, 0)),
		known(of("overload-p99", "p99 of what was not shed in the overload", "ms", http(Overload2), p99, 0, 0)),
	}
	return out
}

// overload compares with the best goodput of the round's saturating runs.
func overload(r Runs) (float64, error) {
	once, twice := r[Need{HTTP, Overload1}], r[Need{HTTP, Overload2}]
	if twice.Acked == 0 {
		return 0, fmt.Errorf("no write was acknowledged in the overload")
	}
	return divide(twice.Good, max(r[Saturating].Good, once.Good, twice.Good))
}

func divide(a, b float64) (float64, error) {
	if b == 0 {
		return 0, fmt.Errorf("%v by nothing", a)
	}
	return a / b, nil
}
