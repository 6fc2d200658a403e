package bench

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
	"github.com/quoratedb/quorate/internal/httpsent"
)

// verdict is what to do after one attempt.
type verdict uint8

const (
	final verdict = iota // an answer: success, siblings, or a key that is not there
	again                // send the same bytes, context and Idempotency-Key to another node
	dead                 // an answer that no retry changes
)

// judgeReply names the reason of everything but final.
func judgeReply(status int, header http.Header, body []byte, addr string, write bool) (verdict, *rest.Problem) {
	if status < 300 || status == http.StatusMultipleChoices {
		return final, nil
	}
	p := rest.DecodeProblem(status, header, body, addr)
	switch {
	case status == http.StatusNotFound && !write && p.Code == "key_not_found":
		return final, nil
	case p.Retryable, status >= http.StatusInternalServerError,
		status == http.StatusTooManyRequests, p.Code == "idempotency_in_flight":
		return again, p
	}
	return dead, p
}

// reasonOf sorts a failed attempt by what the wire showed; a closed set, for the report.
func reasonOf(err error) string {
	var timeout net.Error
	switch {
	case httpsent.NotSent(err):
		return "connect"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case strings.Contains(err.Error(), "reset"), strings.Contains(err.Error(), "broken pipe"):
		return "reset"
	case strings.Contains(err.Error(), "EOF"), strings.Contains(err.Error(), "closed"):
		return "closed"
	}
	return "other"
}
