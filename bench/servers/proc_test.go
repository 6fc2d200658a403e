package servers

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestProcEnds(t *testing.T) {
	p, err := start("sleeper", t.TempDir(), nil, "sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stopAll([]*Proc{p, nil})
	if time.Since(began) >= stopMax || p.err == nil {
		t.Errorf("stopped after %v with %v", time.Since(began), p.err)
	}
}

func TestUntilShowsLog(t *testing.T) {
	p, err := start("failing", t.TempDir(), []string{"WHY=no such luck"}, "sh", "-c", `echo "$WHY"; exit 3`)
	if err != nil {
		t.Fatal(err)
	}
	err = p.until(t.Context(), "ready", func(context.Context) error { return errors.New("not yet") })
	var exit *exec.ExitError
	if err == nil || !strings.Contains(err.Error(), "no such luck") || !errors.As(p.err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("%v", err)
	}
	if _, err := start("absent", t.TempDir(), nil, "/no/such/binary"); err == nil {
		t.Error("a missing binary started")
	}
}

func TestFind(t *testing.T) {
	if _, err := find("no-such-server", "no-such-package"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "apt-get install no-such-package") {
		t.Errorf("%v", err)
	}
}

func TestFreePorts(t *testing.T) {
	addrs, err := freePorts(30)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range addrs {
		seen[a] = true
	}
	if len(seen) != 30 {
		t.Errorf("%d distinct of 30", len(seen))
	}
}
