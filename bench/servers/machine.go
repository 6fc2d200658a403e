package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Machine is where a measurement was made: what a reader needs to judge its numbers.
type Machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryMiB  int64   `json:"memory_mib"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	FileSystem string  `json:"file_system"`
	FsyncP50   float64 `json:"fsync_p50_us"` // of a 512-byte append, one writer
	Date       string  `json:"date"`
}

const fsyncProbes = 200

// File systems by the magic number of statfs(2).
var fileSystems = map[int64]string{0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x01021994: "tmpfs", 0x794c7630: "overlayfs", 0x2fc12fc1: "zfs"}

// ReadMachine describes this machine and the file system under dir.
func ReadMachine(dir string) (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Date: time.Now().UTC().Format(time.DateOnly)}
	m.CPU = procLine("/proc/cpuinfo", "model name")
	if _, err := fmt.Sscan(procLine("/proc/meminfo", "MemTotal"), &m.MemoryMiB); err == nil {
		m.MemoryMiB >>= 10
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return m, fmt.Errorf("statfs %s: %w", dir, err)
	}
	if m.FileSystem = fileSystems[int64(st.Type)]; m.FileSystem == "" {
		m.FileSystem = fmt.Sprintf("%#x", int64(st.Type))
	}
	p50, err := probeFsync(dir)
	m.FsyncP50 = float64(p50.Nanoseconds()) / 1e3
	return m, err
}

// InMemory says that an fsync on this file system costs nothing and proves nothing.
func (m Machine) InMemory() bool { return m.FileSystem == "tmpfs" }

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %d MiB, Linux %s, data on %s with an fsync of %.0f us (p50, one writer), %s",
		m.CPU, m.Cores, m.MemoryMiB, m.Kernel, m.FileSystem, m.FsyncP50, m.Go)
}

func procLine(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for l := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func probeFsync(dir string) (time.Duration, error) {
	name := filepath.Join(dir, "fsync-probe")
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer os.Remove(name)
	defer f.Close()
	took := make([]time.Duration, fsyncProbes)
	for i := range took {
		began := time.Now()
		if _, err := f.Write(make([]byte, 512)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
