package freeport

import (
	"net"
	"strconv"
	"testing"
)

func TestBlockSkipsWhatIsTaken(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		port, err := Block(3)
		if err != nil {
			t.Fatal(err)
		}
		for p := port; p < port+3; p++ {
			if seen[p] || p < first || p >= last {
				t.Fatalf("port %d is given twice, or out of range", p)
			}
			seen[p] = true
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(first+int(next.Load())%(last-first-1)+1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port, err := Block(2)
	if taken := l.Addr().(*net.TCPAddr).Port; err != nil || port <= taken && taken < port+2 {
		t.Fatalf("%d and the next are given while %d is taken: %v", port, taken, err)
	}
}
