package strong

import "testing"

// BenchmarkJudgeIdle is a look at 4,000 partitions that want nothing: the leader's judge
// takes one every few hundred milliseconds, and one with every word.
func BenchmarkJudgeIdle(b *testing.B) {
	at := newBench(b, 4000, 3, "abcde")
	at.changes()
	b.ReportAllocs()
	for b.Loop() {
		if at.changes() != "" {
			b.Fatal("something is wanted")
		}
	}
}
