package h1

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// Write passes on what the other server answers, unless it refuses a request that its
// handler never saw: Config.Refusal says that in the words of the handler's answers.
func (l *lent) Write(p []byte) (int, error) {
	if l.handled || l.c.s.cfg.Refusal == nil {
		return l.Conn.Write(p)
	}
	if l.refused {
		return len(p), nil // the rest of what was said in other words
	}
	status, reason, ok := refusalIn(p)
	if !ok {
		return l.Conn.Write(p)
	}
	l.refused = true
	if _, err := l.Conn.Write(l.c.s.cfg.Refusal(status, reason)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// refusalIn reads the status line of a refusal.
func refusalIn(p []byte) (status int, reason string, ok bool) {
	line, _, _ := bytes.Cut(p, []byte("\r\n"))
	rest, ok := strings.CutPrefix(string(line), "HTTP/1.1 ")
	if !ok {
		return 0, "", false
	}
	code, reason, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	return status, reason, err == nil && status >= http.StatusBadRequest
}

// refuse answers a request whose end is uncertain.
func (c *conn) refuse() bool {
	const text = "400 Bad Request"
	if c.s.cfg.Refusal != nil {
		c.out = append(c.out, c.s.cfg.Refusal(http.StatusBadRequest, "Bad Request: Content-Length and Transfer-Encoding together")...)
	} else {
		c.out = append(c.out, "HTTP/1.1 "+text+"\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"+text...)
	}
	if c.flush() {
		c.linger()
	}
	return false
}
