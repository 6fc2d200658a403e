// Package layers says where a server's processor time went: it reads CPU profiles and
// gives every sample to one layer of the server.
//
// A sample belongs to the innermost function on its stack that a layer claims; what no
// layer claims (the scheduler, the collector's own goroutines) is the runtime's. So
// memory that a shard allocates is the shard's, a socket written by a peer link is the
// peers', and a journal's fsync is the disk's, not the store's.
package layers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// A Layer claims functions by parts of their full names.
type Layer struct {
	Name  string
	Parts []string
}

// runtimeLayer has what no layer claims.
const runtimeLayer = "runtime"

// disk claims what writes and syncs files. Files and sockets share internal/poll, so
// only what is about files alone is named; reads stay with the store.
var disk = Layer{"sync", []string{"os.(*File).Sync", "os.(*File).Write", "syscall.Fsync", "syscall.Fdatasync", "unix.Fdatasync", "fileutil.Fsync", "fileutil.Fdatasync", "bbolt.fdatasync", "bolt.fdatasync", "syscall.Fallocate", "unix.SyncFileRange"}}

// Quorate's layers. The first that claims a function has it. None claims node/wire: an
// encoding belongs to whoever asked for it.
var Quorate = []Layer{
	disk,
	{"store", []string{"syndtr/goleveldb", "quorate/node/store", "quorate/internal/leveldisk", "golang/snappy"}},
	{"peers", []string{"quorate/node/peer"}},
	{"front", []string{"quorate/node/httpapi", "quorate/node/frames", "quorate/node/api", "net/http", "gorilla/mux", "prometheus"}},
	{"shard", []string{"quorate/node/core", "quorate/quorum", "quorate/hashring.", "quorate/node."}},
	{"cluster", []string{"quorate/gossip", "hashicorp/memberlist", "hashicorp/raft", "quorate/hashring/"}},
}

// Etcd's layers, by the nearest likeness: its shard is the Raft node and the applier.
var Etcd = []Layer{
	disk,
	{"store", []string{"/mvcc", "bbolt", "coreos/bbolt", "etcd/lease", "etcd/server/v3/lease"}},
	{"peers", []string{"/rafthttp", "etcdserver/api/snap"}},
	{"front", []string{"google.golang.org/grpc", "golang.org/x/net/http2", "net/http", "v3rpc", "grpc-gateway", "grpc-ecosystem", "soheilhy/cmux", "prometheus"}},
	{"shard", []string{"etcd/raft", "etcd/wal", "/storage/wal", "etcdserver", "go.etcd.io/raft"}},
}

// Share is one layer's part of a profile.
type Share struct {
	Layer   string  `json:"layer"`
	Share   float64 `json:"share"`   // of the processor time, 0 to 1
	Kernel  float64 `json:"kernel"`  // of the processor time: in system calls
	Memory  float64 `json:"memory"`  // of the processor time: allocating and assisting the collector
	Micros  float64 `json:"us_op"`   // per operation: the share of what an operation costs
	Leading string  `json:"leading"` // the function that has most of it by itself
}

// Of attributes the samples of all profiles together, and spreads cpuMicros, the
// servers' processor time for an operation, over the layers: in the order of the
// layers, the runtime last.
func Of(profiles []*profile.Profile, layers []Layer, cpuMicros float64) ([]Share, error) {
	c := counter{layers: layers, byName: map[string]int{}, parts: make([]part, len(layers)+1)}
	for _, p := range profiles {
		if err := c.add(p); err != nil {
			return nil, err
		}
	}
	return c.shares(cpuMicros), nil
}

type part struct {
	total, kernel, memory int64
	own                   map[string]int64 // by innermost function
}

type counter struct {
	layers []Layer
	byName map[string]int // a function's layer, -1: none
	parts  []part
	total  int64
}

// add counts a profile's samples by its CPU time.
func (c *counter) add(p *profile.Profile) error {
	value := slices.IndexFunc(p.SampleType, func(v *profile.ValueType) bool { return v.Type == "cpu" })
	if value < 0 {
		return fmt.Errorf("not a CPU profile")
	}
	for _, s := range p.Sample {
		c.sample(s, s.Value[value])
	}
	return nil
}

func (c *counter) sample(s *profile.Sample, v int64) {
	layer, leaf := -1, ""
	var kernel, memory bool
	for _, loc := range s.Location { // innermost first, and so are inlined lines
		for _, line := range loc.Line {
			if line.Function == nil {
				continue
			}
			name := line.Function.Name
			if leaf == "" {
				leaf = name
				kernel = inKernel(name)
			}
			memory = memory || layer < 0 && allocates(name)
			if layer < 0 {
				layer = c.layerOf(name)
			}
		}
	}
	if layer < 0 {
		layer = len(c.layers)
	}
	p := &c.parts[layer]
	if p.own == nil {
		p.own = map[string]int64{}
	}
	p.own[leaf] += v
	p.total += v
	c.total += v
	if kernel {
		p.kernel += v
	}
	if memory {
		p.memory += v
	}
}

func (c *counter) layerOf(function string) int {
	if i, ok := c.byName[function]; ok {
		return i
	}
	i := slices.IndexFunc(c.layers, func(l Layer) bool {
		return slices.ContainsFunc(l.Parts, func(part string) bool { return strings.Contains(function, part) })
	})
	c.byName[function] = i
	return i
}

// inKernel tells a function that is nothing but a call into the kernel.
func inKernel(function string) bool {
	return strings.Contains(function, "internal/runtime/syscall") || strings.Contains(function, "runtime/internal/syscall") || strings.HasPrefix(function, "syscall.") ||
		slices.Contains([]string{"runtime.futex", "runtime.epollwait", "runtime.usleep", "runtime.madvise"}, function)
}

// allocates tells the entries to the allocator and the work it does for the collector.
func allocates(function string) bool {
	return strings.HasPrefix(function, "runtime.mallocgc") || function == "runtime.growslice" || strings.HasPrefix(function, "runtime.gcAssist")
}

func (c *counter) shares(cpuMicros float64) []Share {
	if c.total == 0 {
		return nil
	}
	var out []Share
	for i, p := range c.parts {
		s := Share{Layer: runtimeLayer, Share: c.of(p.total), Kernel: c.of(p.kernel), Memory: c.of(p.memory)}
		if i < len(c.layers) {
			s.Layer = c.layers[i].Name
		}
		s.Micros = s.Share * cpuMicros
		var most int64
		for name, v := range p.own {
			if v > most || v == most && name < s.Leading {
				most, s.Leading = v, name
			}
		}
		out = append(out, s)
	}
	return out
}

func (c *counter) of(v int64) float64 { return float64(v) / float64(c.total) }
