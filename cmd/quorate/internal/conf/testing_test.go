package conf

import (
	"strings"
	"testing"
	"time"
)

func TestTestingSectionNeedsItsVariable(t *testing.T) {
	file := write(t, "name: a\ntesting:\n  clock-offset: 90s\n  peer-via: [\"127.0.0.1:1=127.0.0.1:2\"]\n")
	for _, c := range []struct {
		s    Sources
		want string
	}{
		{Sources{File: file}, file + ":3: testing.clock-offset: is for tests"},
		{Sources{File: file, Env: []string{"QUORATE_TESTING=yes"}}, file + ":4: testing.peer-via: is for tests"},
		{Sources{Env: []string{"QUORATE_TESTING_DISK_FULL=true"}}, "QUORATE_TESTING_DISK_FULL: testing.disk-full: is for tests"},
		{Sources{Flags: flags(t, "--testing.raft-paused")}, "--testing.raft-paused: "},
	} {
		if _, err := Load(c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	l, err := Load(Sources{File: file, Env: []string{"QUORATE_TESTING=1", "QUORATE_TESTING_DISK_FULL=true"}, Flags: flags(t, "--testing.raft-paused")})
	if err != nil {
		t.Fatal(err)
	}
	g := l.Config
	if g.TestingClockOffset != 90*time.Second || len(g.TestingPeerVia) != 1 || !g.TestingDiskFull || !g.TestingRaftPaused || g.Name != "a" || len(l.Strangers) != 0 {
		t.Fatalf("got %+v, strangers %v", g, l.Strangers)
	}
}

func TestSectionsNameFileAndLine(t *testing.T) {
	for text, want := range map[string]string{
		"testing:\n  nope: 1\n":                        ":2: testing.nope: unknown key",
		"testing:\n  disk-full: 3\n":                   ":2: testing.disk-full: want true or false",
		"testing:\n  disk-full: true\n  disk-full: no": "disk-full",
		"testing.disk-full: true\n":                    ":1: testing.disk-full: stands in the file as a key of its section",
		"testing: 3\n":                                 ":1: testing: unknown key",
		"name:\n  a: 1\n":                              ":1: name: want a string",
	} {
		file := write(t, text)
		if _, err := Load(Sources{File: file, Env: []string{"QUORATE_TESTING=1"}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
