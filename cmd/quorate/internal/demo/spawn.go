package demo

import "runtime"

// spawner runs a function on one operating system thread that lives as long as the
// demo. On Linux a child's death signal is tied to the thread that made it, and the
// runtime may end other threads at any time.
type spawner func(func() error) error

func newSpawner() (spawner, func()) {
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
