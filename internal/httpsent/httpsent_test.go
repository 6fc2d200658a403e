package httpsent

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
)

// vanishing answers one request, and ends with the next one, whose connection is a kept
// one then.
func vanishing(t *testing.T) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-gone })
	go func() {
		defer close(gone)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for range 2 {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if req.Method == http.MethodGet {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
		_ = l.Close()
	}()
	return "http://" + l.Addr().String()
}

// What arrived is not called unsent because the transport tried it once more at a server
// that is gone by then.
func TestASecondTryHidesNothing(t *testing.T) {
	for _, body := range []string{"", "x"} {
		base := vanishing(t)
		c := &http.Client{Transport: Transport{&http.Transport{}}}
		res, err := c.Get(base)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		req, err := http.NewRequest(http.MethodDelete, base, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "1-a")
		res, err = c.Do(req)
		if err == nil || NotSent(err) {
			t.Errorf("body %q: %v, %v", body, res, err)
		}
		c.CloseIdleConnections()
		if _, err := c.Get(base); !NotSent(err) {
			t.Errorf("nobody listens: %v", err)
		}
	}
}
