//go:build unix

package main

import (
	"syscall"
	"testing"
	"time"
)

// A primary that stands still and goes on, the leader of the Raft group among them, has
// been replaced meanwhile. Read through it from the first moment on it shows nothing old.
func TestE2EStrongPausedPrimary(t *testing.T) {
	t.Parallel()
	nodes := startStrong(t, 3)
	load := startLoad(t, nodes, 16)
	settle(load, time.Second)
	for i, victim := range nodes {
		asked := nodes[(i+1)%len(nodes)]
		load.avoid(victim, true)
		settle(load, 300*time.Millisecond) // what was sent to it directly would wait for it
		paused := time.Since(load.began)
		if err := victim.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		back := awaitServed(t, asked, load, paused)
		load.avoid(victim, false)
		if err := victim.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s paused: every key was written again after %v", victim.name, back.Round(time.Millisecond))
		if back > strained(failoverWithin) {
			t.Errorf("keys were not written for %v while %s was paused, the bound is %v", back, victim.name, strained(failoverWithin))
		}
		awaitPrimaries(t, nodes, 20*time.Second)
		settle(load, time.Second)
	}
	_, n, failed := window(load.end(), 0, time.Hour, anyKey)
	t.Logf("%d operations, %d failed: %v", n, len(failed), failed)
}
