// Package process is what it takes to run nodes as child processes that can be paused
// and that end when their parent does, however it ends.
package process

import "runtime"

// Spawner runs a function on one operating system thread that lives until the end
// given by NewSpawner. On Linux a child's death signal is tied to the thread that made
// it, and the runtime may end other threads at any time.
type Spawner func(func() error) error

// NewSpawner starts the thread; end must come after the last child ended.
func NewSpawner() (spawn Spawner, end func()) {
	type job struct {
		f    func() error
		done chan error
	}
	jobs, gone := make(chan job), make(chan struct{})
	go func() {
		defer close(gone)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for j := range jobs {
			j.done <- j.f()
		}
	}()
	run := func(f func() error) error {
		j := job{f, make(chan error, 1)}
		jobs <- j
		return <-j.done
	}
	return run, func() { close(jobs); <-gone }
}
