package store

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/node/core"
)

const (
	millionRole = "QUORATE_STORE_MILLION" // write or open, in the environment of a child
	millionDir  = "QUORATE_STORE_MILLION_DIR"
	million     = 1_000_000
)

func TestMain(m *testing.M) {
	if role := os.Getenv(millionRole); role != "" {
		if err := millionChild(role, os.Getenv(millionDir)); err != nil {
			fmt.Println("error", err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// millionChild fills or opens a store, says how that went, and waits to be killed.
func millionChild(role, dir string) error {
	start := time.Now()
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	opened := time.Since(start)
	if role == "write" {
		const writers = 64
		var wg sync.WaitGroup
		errs := make(chan error, writers)
		for w := range writers {
			wg.Go(func() {
				for i := w; i < million; i += writers {
					if err := s.Commit(w, []*core.Batch{load100(i, value100)}); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			return err
		}
	}
	for i := 0; i < million; i += 1001 {
		b := load100(i, "")
		if o, err := s.Record(b.Records[0].Partition, 1, b.Records[0].Key); err != nil || o == nil {
			return fmt.Errorf("record %d: %v, %w", i, o, err)
		}
	}
	fmt.Printf("ready %d %d %d\n", opened.Milliseconds(), time.Since(start).Milliseconds(), resident())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// resident is the resident memory of this process in KiB.
func resident() (kib int) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, _ = fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

// BenchmarkMillion fills a store with a million records of 100 bytes in a process
// of its own, kills it with -9, opens the store in another one, and reports the
// resident memory of both and the time until the second could serve.
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		_, wrote, resident := millionRun(b, "write", dir)
		b.ReportMetric(float64(million)/wrote.Seconds(), "commits/s")
		b.ReportMetric(resident, "MiB-after-writing")
		opened, _, resident := millionRun(b, "open", dir)
		b.ReportMetric(float64(opened.Milliseconds()), "ms-to-reopen")
		b.ReportMetric(resident, "MiB-after-reopening")
	}
}

func millionRun(b *testing.B, role, dir string) (opened, total time.Duration, mib float64) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), millionRole+"="+role, millionDir+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if killed := cmd.Process.Kill(); err != nil || killed != nil {
		b.Fatal(line, err, killed)
	}
	_ = cmd.Wait() // it was killed
	var open, all, kib int64
	if _, err := fmt.Sscanf(line, "ready %d %d %d", &open, &all, &kib); err != nil {
		b.Fatalf("%s: %q", role, line)
	}
	return time.Duration(open) * time.Millisecond, time.Duration(all) * time.Millisecond, float64(kib) / 1024
}
