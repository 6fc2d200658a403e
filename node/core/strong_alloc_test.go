//go:build !race

package core

import "testing"

// Allocations of all three cores together, for each request when 64 come in one step.
// Raise a figure only with the reason for it.
const (
	allocsStrongPut = 17
	allocsStrongGet = 5
)

func TestStrongAllocations(t *testing.T) {
	s, value := newStrongTrio(t), make([]byte, 80)
	s.put(t, 128, value)
	if got := testing.AllocsPerRun(50, func() { s.put(t, 64, value) }) / 64; got > allocsStrongPut {
		t.Errorf("a put takes %.1f allocations, were %d", got, allocsStrongPut)
	}
	if got := testing.AllocsPerRun(50, func() { s.get(t, 64, LevelLeader) }) / 64; got > allocsStrongGet {
		t.Errorf("a get takes %.1f allocations, were %d", got, allocsStrongGet)
	}
}
