package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/quoratedb/quorate/cmd/quorate/internal/conf"
	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// Exit codes are part of the contract.
const (
	exitOK          = 0
	exitOther       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnavailable = 5 // and nothing was applied
	exitUnknown     = 6 // a write may or may not have happened
	exitAuth        = 7
)

const exitHelp = `Exit codes: 0 ok, 1 other, 2 usage or a request that can never work, 3 not found,
4 precondition or conflict, 5 unavailable (not applied), 6 outcome unknown, 7 authentication.`

// usageError is a command line that cannot be right.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// reported is an error that was printed already, in a better form.
type reported struct{ err error }

func (e *reported) Error() string { return e.err.Error() }
func (e *reported) Unwrap() error { return e.err }

// coded gives an error its exit code.
type coded struct {
	code int
	err  error
}

func (e *coded) Error() string { return e.err.Error() }
func (e *coded) Unwrap() error { return e.err }

// exitCode maps every error; the fate of a write beats the status.
func exitCode(err error) int {
	var usage *usageError
	var config *conf.Error
	var own *coded
	var problem *rest.Problem
	var away *rest.Unreachable
	var lost *rest.Lost
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &usage), errors.As(err, &config):
		return exitUsage
	case errors.As(err, &problem):
		return exitOfProblem(problem)
	case errors.As(err, &away):
		return exitUnavailable
	case errors.As(err, &lost) && lost.Write:
		return exitUnknown
	case errors.As(err, &lost):
		return exitUnavailable
	}
	return exitOther
}

func exitOfProblem(p *rest.Problem) int {
	switch {
	case p.Outcome == rest.Unknown:
		return exitUnknown
	case p.Status == http.StatusUnauthorized, p.Status == http.StatusForbidden:
		return exitAuth
	case p.Status == http.StatusNotFound:
		return exitNotFound
	case p.Status == http.StatusConflict, p.Status == http.StatusPreconditionFailed:
		return exitConflict
	case p.Status == http.StatusTooManyRequests, p.Status == http.StatusServiceUnavailable,
		p.Status == http.StatusGatewayTimeout, p.Status == http.StatusInsufficientStorage:
		return exitUnavailable
	case p.Status >= 400 && p.Status < 500:
		return exitUsage
	}
	return exitOther
}
