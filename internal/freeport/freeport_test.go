package freeport

import (
	"net"
	"strconv"
	"testing"

	"github.com/gofrs/flock"
)

func TestBlockSkipsWhatIsTaken(t *testing.T) {
	seen := map[int]bool{}
	for range 3 * region / 4 { // more than a region has
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
	if _, err := Block(1); err != nil { // a region is held now, with room for more
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(at+1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port, err := Block(2)
	if taken := l.Addr().(*net.TCPAddr).Port; err != nil || port <= taken && taken < port+2 {
		t.Fatalf("%d and the next are given while %d is taken: %v", port, taken, err)
	}
}

// Another process sees the locks of this one: a second handle is refused likewise.
func TestRegionsAreHeld(t *testing.T) {
	if _, err := Block(1); err != nil {
		t.Fatal(err)
	}
	for _, l := range held {
		if ok, err := flock.New(l.Path()).TryLock(); ok || err != nil {
			t.Fatalf("%s is free for others: %v", l.Path(), err)
		}
	}
	if _, err := Block(region + 1); err == nil {
		t.Fatal("a block larger than a region")
	}
}
