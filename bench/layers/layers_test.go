package layers

import (
	"math"
	"testing"

	"github.com/google/pprof/profile"
)

// stacks makes a CPU profile; each stack is innermost first and weighs 10 ms.
func stacks(all ...[]string) *profile.Profile {
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}}
	for _, names := range all {
		s := &profile.Sample{Value: []int64{1, 1e7}}
		for _, name := range names {
			s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
		}
		p.Sample = append(p.Sample, s)
	}
	return p
}

const q = "github.com/quoratedb/quorate/"

func TestInnermostLayerWins(t *testing.T) {
	for _, c := range []struct {
		want  string
		stack []string
	}{
		{"sync", []string{"internal/runtime/syscall/linux.Syscall6", "syscall.fdatasync", "os.(*File).Sync", "github.com/syndtr/goleveldb/leveldb/journal.(*Writer).Flush", q + "node/store.(*Store).Commit"}},
		{"store", []string{"runtime.memmove", "github.com/syndtr/goleveldb/leveldb/memdb.(*DB).Put", q + "node/store.(*Store).Commit"}},
		{"peers", []string{"internal/runtime/syscall/linux.Syscall6", "syscall.write", "internal/poll.(*FD).Write", "net.(*conn).Write", q + "node/peer.(*conn).flush"}},
		{"front", []string{"internal/runtime/syscall/linux.Syscall6", "syscall.write", "net.(*conn).Write", "net/http.checkConnErrorWriter.Write", "bufio.(*Writer).Flush"}},
		{"shard", []string{"runtime.mallocgc", q + "quorum.Merge", q + "node/core.(*Core).put", q + "node.(*shard).run"}},
		{"shard", []string{q + "node/wire.AppendPut", q + "node.(*link).send", q + "node/peer.f"}},
		{"cluster", []string{"github.com/hashicorp/memberlist.(*Memberlist).probe"}},
		{"runtime", []string{"runtime.futex", "runtime.notesleep", "runtime.findRunnable", "runtime.schedule"}},
	} {
		shares, err := Of([]*profile.Profile{stacks(c.stack)}, Quorate, 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shares {
			if got := s.Share == 1 && s.Micros == 50 && s.Leading == c.stack[0]; got != (s.Layer == c.want) {
				t.Errorf("%s: %+v", c.want, s)
			}
		}
	}
}

func TestEtcd(t *testing.T) {
	for want, stack := range map[string][]string{
		"sync":  {"syscall.Syscall", "syscall.Fdatasync", "go.etcd.io/etcd/pkg/fileutil.Fdatasync", "go.etcd.io/etcd/wal.(*WAL).sync"},
		"store": {"go.etcd.io/bbolt.(*Cursor).search", "go.etcd.io/etcd/mvcc/backend.(*batchTx).commit"},
		"front": {"google.golang.org/grpc/internal/transport.(*loopyWriter).run"},
		"shard": {"go.etcd.io/etcd/raft.(*raft).Step", "go.etcd.io/etcd/etcdserver.(*EtcdServer).run"},
		"peers": {"net.(*conn).Write", "go.etcd.io/etcd/etcdserver/api/rafthttp.(*streamWriter).run"},
	} {
		shares, err := Of([]*profile.Profile{stacks(stack)}, Etcd, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shares {
			if (s.Share == 1) != (s.Layer == want) {
				t.Errorf("%s: %+v", want, s)
			}
		}
	}
}

func TestInKernel(t *testing.T) {
	for name, want := range map[string]bool{
		"internal/runtime/syscall/linux.Syscall6": true, "internal/runtime/syscall.Syscall6": true, // of Go 1.26 and before
		"runtime/internal/syscall.Syscall6": true, "syscall.Syscall": true, "runtime.futex": true, // of the Go that built etcd
		"runtime.mallocgc": false, "go.etcd.io/etcd/pkg/fileutil.Fsync": false, "golang.org/x/net/http2.writeData": false,
	} {
		if inKernel(name) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}

func TestShares(t *testing.T) {
	a := stacks([]string{"runtime.mallocgc", q + "node/core.f"}, []string{q + "node/core.f"})
	b := stacks([]string{"internal/runtime/syscall/linux.Syscall6", q + "node/peer.g"}, []string{"runtime.schedule"})
	shares, err := Of([]*profile.Profile{a, b}, Quorate, 80)
	if err != nil {
		t.Fatal(err)
	}
	var sum, micros float64
	for _, s := range shares {
		sum += s.Share
		micros += s.Micros
		switch s.Layer {
		case "shard":
			if s.Share != 0.5 || s.Memory != 0.25 || s.Kernel != 0 || s.Micros != 40 {
				t.Errorf("%+v", s)
			}
		case "peers":
			if s.Share != 0.25 || s.Kernel != 0.25 {
				t.Errorf("%+v", s)
			}
		}
	}
	if math.Abs(sum-1) > 1e-9 || math.Abs(micros-80) > 1e-9 {
		t.Errorf("shares sum to %v, microseconds to %v", sum, micros)
	}
	if _, err := Of([]*profile.Profile{{SampleType: []*profile.ValueType{{Type: "alloc_space"}}}}, Quorate, 1); err == nil {
		t.Error("a heap profile was taken")
	}
	if shares, err := Of(nil, Quorate, 1); err != nil || shares != nil {
		t.Errorf("of nothing: %v, %v", shares, err)
	}
}
