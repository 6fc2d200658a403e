package load

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

const clockTicks = 100 // USER_HZ, the unit of CPU time in /proc on every Linux port

// Procs is what a set of processes used since each of them started.
type Procs struct {
	CPU, Sys   float64 // seconds; Sys is the part in the kernel
	RSS        []int64 // bytes resident, in the order of the pids; 0 when the process is gone
	WriteBytes int64   // sent towards storage
}

// SampleProcs reads /proc for the given processes; one that is gone counts nothing.
func SampleProcs(pids []int) (p Procs) {
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		var rss int64
		if b, err := os.ReadFile(dir + "/stat"); err == nil {
			var user, sys float64
			user, sys, rss = parseStat(string(b))
			p.CPU += user + sys
			p.Sys += sys
		}
		p.RSS = append(p.RSS, rss)
		if b, err := os.ReadFile(dir + "/io"); err == nil {
			p.WriteBytes += field(string(b), "write_bytes:")
		}
	}
	return p
}

// PeakRSS returns the most bytes the process ever had resident, 0 when it is gone.
func PeakRSS(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	return field(string(b), "VmHWM:") * 1024
}

// parseStat takes user seconds, system seconds and resident bytes from
// /proc/PID/stat. The name may hold spaces and parentheses, so fields count from
// the last parenthesis (proc(5): utime is 14, stime 15, rss 24).
func parseStat(s string) (user, sys float64, rss int64) {
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 22 {
		return 0, 0, 0
	}
	u, _ := strconv.ParseFloat(f[11], 64)
	k, _ := strconv.ParseFloat(f[12], 64)
	pages, _ := strconv.ParseInt(f[21], 10, 64)
	return u / clockTicks, k / clockTicks, pages * int64(os.Getpagesize())
}

// field returns the number after name at the start of a line, 0 when absent.
func field(text, name string) int64 {
	for l := range strings.SplitSeq(text, "\n") {
		if v, ok := strings.CutPrefix(l, name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n
		}
	}
	return 0
}

func selfCPU() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	t := func(v syscall.Timeval) float64 { return float64(v.Sec) + float64(v.Usec)/1e6 }
	return t(u.Utime) + t(u.Stime)
}

// machineCPU returns the busy and idle CPU seconds of the whole machine.
func machineCPU() (busy, idle float64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	l, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(l) {
		v, _ := strconv.ParseFloat(f, 64)
		switch {
		case i == 4 || i == 5: // idle, iowait
			idle += v / clockTicks
		case i >= 1 && i <= 8:
			busy += v / clockTicks
		}
	}
	return busy, idle
}

// meter is one reading of every clock that a run takes the difference of.
type meter struct {
	servers    Procs
	client     float64
	busy, idle float64
}

func readMeter(pids []int) meter {
	m := meter{servers: SampleProcs(pids), client: selfCPU()}
	m.busy, m.idle = machineCPU()
	return m
}
