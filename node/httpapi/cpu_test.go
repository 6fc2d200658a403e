package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// benchServerEnv makes the test binary a server: the benchmark below counts the
// processor time of a process that does nothing else.
const benchServerEnv = "QUORATE_HTTP_BENCH_SERVER"

// benchT lets a helper of tests run outside of one.
type benchT struct{ testing.TB }

func (benchT) Helper()           {}
func (benchT) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// benchServer serves on the road until its standard input ends.
func benchServer(on string) {
	b := newBenchBackend(benchT{})
	h := New(b, Options{Registerer: b.reg})
	var s listening = NewServer(h)
	if on == roadNet {
		s = netServer(h)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	_ = s.Serve(ln)
}

// BenchmarkServerCPU gives the processor time of a request in a server of its own,
// with a backend that answers at once:
//
//	go test -bench ServerCPU -benchtime 200000x ./node/httpapi
func BenchmarkServerCPU(b *testing.B) {
	for _, on := range []string{roadNet, roadLoop} {
		for _, method := range []string{"PUT", "GET"} {
			b.Run(on+"/"+method, func(b *testing.B) { benchmarkCPU(b, on, method) })
		}
	}
}

const benchConns = 64

func benchmarkCPU(b *testing.B, on, method string) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), benchServerEnv+"="+on, "GOMAXPROCS=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	load(b, strings.TrimSpace(addr), method, b.N)
	_ = stdin.Close()
	_ = cmd.Wait()
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	b.ReportMetric(float64(cpu.Nanoseconds())/1000/float64(b.N), "server-us/op")
}

// benchText is a request as Go's client sends it.
func benchText(method string) string {
	headers := []string{"User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip"}
	if method == "GET" {
		return requestText(method, "/v1/kv/default/some-key-of-usual-length", "", headers)
	}
	return requestText(method, "/v1/kv/default/some-key-of-usual-length", strings.Repeat("v", 80), append(headers, "Content-Type: application/octet-stream"))
}

// load sends n requests over some connections, each waiting for its answer.
func load(b *testing.B, addr, method string, n int) {
	text := benchText(method)
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range benchConns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
		all.Go(func() {
			defer c.Close()
			in := bufio.NewReader(c)
			for left.Add(-1) >= 0 {
				if _, err := io.WriteString(c, text); err != nil {
					b.Error(err)
					return
				}
				if err := skipAnswer(in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// skipAnswer reads a whole answer and looks only at its status and length.
func skipAnswer(in *bufio.Reader) error {
	length, first := 0, true
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && string(line[9:12]) != "200" && string(line[9:12]) != "204" {
			return fmt.Errorf("answer %q", line)
		}
		first = false
		if len(line) == 2 {
			_, err = in.Discard(length)
			return err
		}
		if text, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
				return err
			}
		}
	}
}

// Allocations of a whole request through the loop, the client's none included: the
// core's request, the key, the value, the copy of the head, and what the answer is
// made of. A rise wants a reason.
func TestLoopAllocations(t *testing.T) {
	if road != roadLoop {
		return
	}
	s := NewServer(New(newBenchBackend(t), Options{}))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	defer func() {
		_ = s.Close()
		<-done
	}()
	for _, c := range []struct {
		method string
		most   float64
	}{{"GET", 6}, {"PUT", 7}} {
		conn, _ := dial(t, ln.Addr().String())
		text := []byte(benchText(c.method))
		room := make([]byte, 4<<10)
		once := func() {
			if _, err := conn.Write(text); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Read(room); err != nil || !strings.HasPrefix(string(room[:n]), "HTTP/1.1 20") {
				t.Fatalf("%q %v", room[:n], err)
			}
		}
		once()
		got := testing.AllocsPerRun(500, once)
		t.Logf("%s: %.1f allocations", c.method, got)
		if got > c.most {
			t.Errorf("%s: %.1f allocations, at most %.0f", c.method, got, c.most)
		}
	}
}
