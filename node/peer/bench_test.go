package peer

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// BenchmarkCall is a round trip of a replica write and its ack between two
// transports of this process over loopback TCP, n callers at once: time and
// allocations are those of both sides together, CPU beside them.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchCall(b, callers) })
	}
}

func benchCall(b *testing.B, callers int) {
	waiting := make([]chan struct{}, callers)
	for i := range waiting {
		waiting[i] = make(chan struct{}, 1)
	}
	client := start(b, 1, func(c *Config) {
		c.Deliver = func(m *core.Message) { waiting[m.ID] <- struct{}{} }
	})
	var srv atomic.Pointer[station]
	server := start(b, 2, func(c *Config) {
		c.Deliver = func(m *core.Message) {
			srv.Load().Send(&core.Message{Kind: core.MsgWriteAck, To: m.From, ID: m.ID, RingVersion: 7, Epoch: 1})
		}
	})
	srv.Store(server)
	client.know(server)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	cpu := processCPU()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			m := write(server.sid, uint64(i), 80)
			for left.Add(-1) >= 0 {
				client.Send(m)
				<-waiting[i]
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	used := processCPU() - cpu
	writes := client.Stats().Writes + server.Stats().Writes
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/call")
	b.ReportMetric(float64(writes)/float64(b.N), "writes/call")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkSend is what a message costs the goroutine that sends it.
func BenchmarkSend(b *testing.B) {
	server := start(b, 2, func(c *Config) { c.Deliver = func(*core.Message) {} })
	client := start(b, 1)
	client.SetPeers(map[hashring.SID]string{server.sid: server.Addr().String()})
	client.waitUp(server.sid)
	m := write(server.sid, 1, 80)
	b.ReportAllocs()
	for b.Loop() {
		client.Send(m)
	}
}
