package h1

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// within tells that a timeout came when it should: up to two ticks late.
func within(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+3*tickEvery {
		t.Errorf("%s: ended after %v, want %v", what, got, want)
	}
}

func TestTimeouts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		c := r.dial()
		within(t, "nothing comes", c.ended(), 10*time.Second)
		c = r.dial()
		c.send("GET /fast HT")
		within(t, "half a head", c.ended(), 10*time.Second)
		c = r.dial()
		c.send(fastGet)
		c.want(fastAnswer)
		within(t, "idle", c.ended(), 180*time.Second)
		c = r.dial()
		c.send(fastGet + "GET /fast HT")
		c.want(fastAnswer)
		within(t, "half of the second head", c.ended(), 10*time.Second)
		c = r.dial()
		c.send("GET /slow HTTP/1.1\r\nHost: n\r\n\r\n")
		c.want(`other /slow "" <nil>`)
		within(t, "idle after the other road", c.ended(), 180*time.Second)
	})
}

// A head that comes by the byte is given no more time for each.
func TestSlowHead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		c := r.dial()
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for i := range fastGet {
				if _, err := c.Write([]byte{fastGet[i]}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		within(t, "byte by byte", c.ended(), 10*time.Second)
	})
}

// A slow body ends with an answer, then the connection; its time does not start
// anew with each part.
func TestSlowBody(t *testing.T) {
	for _, framing := range []string{"Content-Length: 1000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3e8\r\n"} {
		bubble(t, func(t *testing.T) {
			r := newRig(t)
			defer r.close()
			c := r.dial()
			var sender sync.WaitGroup
			defer sender.Wait()
			sender.Go(func() {
				_, err := io.WriteString(c, "PUT /fast HTTP/1.1\r\nHost: n\r\n"+framing)
				for err == nil {
					_, err = c.Write([]byte{'x'})
					time.Sleep(time.Second)
				}
			})
			began := time.Now()
			res, _ := c.get()
			want := bodyBegin
			if strings.HasPrefix(framing, "Tr") {
				want = 60 * time.Second
			}
			within(t, "body", time.Since(began), want)
			if res.StatusCode != 400 || !res.Close {
				t.Errorf("%v", res)
			}
			_ = c.Close()
		})
	}
}

// A client that does not take its answer is left.
func TestSlowReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		c := r.dial()
		c.send(fastGet)
		time.Sleep(70 * time.Second)
		synctest.Wait()
		if n := r.s.Conns(); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

// A request may take its time; its client's leaving ends its context.
func TestLongRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		end, left := make(chan struct{}), make(chan time.Duration, 1)
		r.serve = func(x *Exchange) {
			began := time.Now()
			select {
			case <-end:
			case <-x.Context().Done():
				left <- time.Since(began)
			}
		}
		c := r.dial()
		c.send(fastGet)
		time.Sleep(10 * time.Minute) // no limit
		synctest.Wait()
		c.send(fastGet) // read ahead while the first one is served
		time.Sleep(time.Second)
		close(end)
		c.want(fastAnswer)
		c.want(fastAnswer)
		end = make(chan struct{})
		c.send("PUT /fast HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\n")
		time.Sleep(10 * time.Second)
		c.send("abc") // the body too
		time.Sleep(10 * time.Second)
		close(end)
		c.want(`PUT /fast? [] [] "abc"`)
		end = make(chan struct{})
		c.send(fastGet)
		synctest.Wait()
		_ = c.Close()
		within(t, "context", <-left, watchAfter)
	})
}

// So does the context on the other road, through a connection that is only lent.
func TestLeavingTheOtherRoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		left := make(chan struct{})
		r.other = func(_ http.ResponseWriter, req *http.Request) {
			<-req.Context().Done()
			close(left)
		}
		c := r.dial()
		c.send("GET /slow HTTP/1.1\r\nHost: n\r\n\r\n")
		synctest.Wait()
		_ = c.Close()
		<-left
	})
}

// Shutdown answers what has been asked, closes what is idle at once, and takes
// nothing new.
func TestShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		gate := make(chan struct{})
		r.serve = func(*Exchange) { <-gate }
		r.other = func(w http.ResponseWriter, _ *http.Request) {
			<-gate
			_, _ = io.WriteString(w, "other")
		}
		unused, fast, slow := r.dial(), r.dial(), r.dial()
		fast.send(fastGet)
		slow.send("GET /slow HTTP/1.1\r\nHost: n\r\n\r\n")
		synctest.Wait()
		shut := make(chan error, 1)
		go func() { shut <- r.s.Shutdown(context.Background()) }()
		if d := unused.ended(); d != 0 {
			t.Errorf("an unused connection stays for %v", d)
		}
		synctest.Wait()
		select {
		case err := <-shut:
			t.Fatalf("not waited for: %v", err)
		default:
		}
		close(gate)
		if res := fast.want(fastAnswer); !res.Close {
			t.Error("the fast answer does not say that the connection ends")
		}
		if res := slow.want("other"); !res.Close {
			t.Error("the other answer does not say that the connection ends")
		}
		fast.ended()
		slow.ended()
		if err := <-shut; err != nil {
			t.Error(err)
		}
		if err := <-r.done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func TestShutdownThatTakesTooLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.serve = func(x *Exchange) { <-x.Context().Done() }
		c := r.dial()
		c.send(fastGet)
		synctest.Wait()
		if err := r.s.Shutdown(ctxOf(t.Context(), time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		r.close() // ends the request's context
	})
}

// Over its bound of connections the server accepts none; idle ones make room early.
func TestConnectionBound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(cfg *Config) { cfg.MaxConns = 8 })
		defer r.close()
		var all []*client
		for range 8 {
			c := r.dial()
			c.send(fastGet)
			c.want(fastAnswer)
			all = append(all, c)
		}
		began := time.Now()
		late := r.dial() // waits for a place
		within(t, "the ninth", time.Since(began), crowdedIdle)
		late.send(fastGet)
		late.want(fastAnswer)
		for _, c := range all {
			c.ended()
		}
	})
}

// A panic costs its own connection only.
func TestPanic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log strings.Builder
		r := newRig(t, func(cfg *Config) { cfg.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		defer r.close()
		r.serve = func(x *Exchange) {
			if x.Query() == "panic" {
				panic("oh")
			}
		}
		c, d := r.dial(), r.dial()
		c.send("GET /fast?panic HTTP/1.1\r\nHost: n\r\n\r\n")
		c.ended()
		d.send(fastGet)
		d.want(fastAnswer)
		if !strings.Contains(log.String(), "oh") {
			t.Errorf("log %q", log.String())
		}
	})
}

func TestServeOnce(t *testing.T) {
	r := newRig(t)
	r.close()
	if err := r.s.Serve(newPipes()); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
