//go:build planted

package main

import (
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// From a planted bug to its page, as a user gets it: found by a random seed, replayed,
// shrunk, drawn; and porcupine's picture, since the bug is about a register.
func TestSimShowsAPlantedBug(t *testing.T) {
	plant.Set(plant.LWWByDot)
	defer plant.Set(plant.None)
	dir := t.TempDir()
	r := invoke(t, "", nil, "sim", "--seed", "1", "--seeds", "20", "--duration", "1m", "--workload", "register", "--shrink", "40", "--report", dir)
	if r.code != exitOther || !strings.Contains(r.out, "play it again:") || !strings.Contains(r.out, "smaller (") {
		t.Fatalf("exit %d: %s %s", r.code, r.out, r.err)
	}
	pages, _ := filepath.Glob(filepath.Join(dir, "quorate-sim-*[0-9].html"))
	pictures, _ := filepath.Glob(filepath.Join(dir, "quorate-sim-*-porcupine.html"))
	if len(pages) == 0 || len(pages) > maxReports || len(pictures) == 0 {
		t.Fatalf("pages %v and pictures %v", pages, pictures)
	}
	for path, want := range map[string]string{pages[0]: "--max-ops", pictures[0]: "Porcupine"} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: no %q in %d bytes, %v", path, want, len(text), err)
		}
	}
}

// Its one command plays a failure again, and a smaller one that fails too.
func TestSimShowsAndShrinksAFailure(t *testing.T) {
	plant.Set(plant.AckBeforeSync)
	defer plant.Set(plant.None)
	dir := t.TempDir()
	r := invoke(t, "", nil, "sim", "--seed", "5", "--duration", "20s", "--faults", "kill_all,pause,loss", "-o", "json", "--shrink", "12", "--report", dir)
	docs := simLines(t, r.out)
	if r.code != exitOther || len(docs) != 1 || len(docs[0].Violations) == 0 {
		t.Fatalf("exit %d: %s %s", r.code, r.out, r.err)
	}
	for _, command := range []string{docs[0].Replay, docs[0].Smaller} {
		args := append(strings.Fields(command)[1:], "-o", "json", "--shrink", "0", "--report", "")
		again := simLines(t, invoke(t, "", nil, args...).out)
		if len(again) != 1 || len(again[0].Violations) == 0 {
			t.Errorf("%s does not fail", command)
		} else if command == docs[0].Replay && again[0].TraceHash != docs[0].TraceHash {
			t.Errorf("%s is another run", command)
		} else if command == docs[0].Smaller && (again[0].Faults > docs[0].Faults || again[0].Operations > docs[0].Operations) {
			t.Errorf("%s is no smaller: %d faults and %d operations were %d and %d", command, again[0].Faults, again[0].Operations, docs[0].Faults, docs[0].Operations)
		}
	}
}

// The page of a failing run is the smaller one: its faults, its findings, its replay.
func TestSimShowsAFailureOnAPage(t *testing.T) {
	plant.Set(plant.AckBeforeSync)
	defer plant.Set(plant.None)
	dir := t.TempDir()
	args := []string{"sim", "--seed", "5", "--duration", "20s", "--faults", "kill_all,pause,loss", "-o", "json", "--shrink", "12", "--report", dir}
	r := invoke(t, "", nil, args...)
	path := filepath.Join(dir, "quorate-sim-5.html")
	page, err := os.ReadFile(path)
	if r.code != exitOther || err != nil || !strings.Contains(r.err, path) {
		t.Fatalf("exit %d, %v: %s", r.code, err, r.err)
	}
	text := html.UnescapeString(string(page))
	for _, want := range []string{"ACKED_TOO_EARLY", simLines(t, r.out)[0].Smaller, "network"} {
		if want == "" || !strings.Contains(text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("files %v: nothing here is about a key", left)
	}
	args[len(args)-1] = filepath.Join(dir, "missing")
	if r := invoke(t, "", nil, args...); r.code != exitOther || !strings.Contains(r.err, "no page") || len(simLines(t, r.out)) != 1 {
		t.Errorf("without the directory: exit %d, %s", r.code, r.err)
	}
}
