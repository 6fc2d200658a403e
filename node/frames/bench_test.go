package frames

import (
	"context"
	"sync"
	"testing"

	"github.com/quoratedb/quorate/node/wire"
)

// What a request costs both ends together, beyond the node: CPU with processCPU, for
// the wall is shared.
func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range []struct {
		name    string
		callers int
	}{{"1", 1}, {"64", 64}, {"256", 256}} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, nil)
			conn := r.dial(DialConfig{})
			do(b, conn, put("user:0000012345", make([]byte, 80)))
			b.ReportAllocs()
			before := processCPU()
			b.ResetTimer()
			var all sync.WaitGroup
			for i := range c.callers {
				n := b.N / c.callers
				if i == 0 {
					n += b.N % c.callers
				}
				all.Go(func() {
					q := get("user:0000012345")
					var rep wire.ClientReply
					for range n {
						if err := conn.Do(context.Background(), &q, &rep); err != nil || rep.Status != 200 {
							b.Error(err, rep.Status)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64((processCPU()-before).Microseconds())/float64(b.N), "cpu-µs/op")
			s := r.s.Stats()
			b.ReportMetric(float64(s.Writes)/float64(s.Requests), "writes/op")
		})
	}
}
