package thirdparty

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write THIRD_PARTY.md anew")

const (
	root = "../.."
	file = root + "/THIRD_PARTY.md"
)

// TestThirdPartyFile compares the table with what the binary links.
func TestThirdPartyFile(t *testing.T) {
	touchSources(t)
	modules := linked(t)
	want := Markdown(modules)
	if *rewrite {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(string(b), "\r\n", "\n")
	if got == want {
		return
	}
	for _, m := range modules {
		if !strings.Contains(got, fmt.Sprintf("| %s | %s |", m.Path, m.Version)) {
			t.Errorf("linked but not listed: %s %s", m.Path, m.Version)
		}
	}
	t.Error("THIRD_PARTY.md is out of date; run: go test ./internal/thirdparty -rewrite")
}

// touchSources looks at every source file, for the sake of the test cache: it knows
// what a test looked at itself, not what go list did, and would go on answering "ok"
// after an import was added.
func touchSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bench"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".go" || d.Name() == "go.mod":
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listed is what go list -json tells of a module.
type listed struct {
	Path, Version, Dir string
	Main               bool
	Replace            *listed
}

// linked returns the modules of the binary on every system it is built for, sorted
// by path.
func linked(t *testing.T) []Module {
	t.Helper()
	all := map[string]Module{}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, l := range list(t, goos) {
			if _, ok := all[l.Path]; ok {
				continue
			}
			if l.Replace != nil {
				t.Fatalf("%s is replaced: what is linked is not what the table would name", l.Path)
			}
			licences, err := licencesIn(l.Dir)
			if err != nil {
				t.Fatalf("%s %s: %v", l.Path, l.Version, err)
			}
			all[l.Path] = Module{Path: l.Path, Version: l.Version, Licences: licences}
		}
	}
	var out []Module
	for _, path := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[path])
	}
	return out
}

func list(t *testing.T, goos string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Module", "./cmd/quorate")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list for %s: %v\n%s", goos, err, complaints.String())
	}
	var modules []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct{ Module *listed }
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			return modules
		} else if err != nil {
			t.Fatal(err)
		}
		if pkg.Module != nil && !pkg.Module.Main {
			modules = append(modules, *pkg.Module)
		}
	}
}

// licencesIn reads every licence file at the top of a module's source.
func licencesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		for _, id := range Classify(string(b)) {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("no licence recognised in %s: read it, then teach Classify its words or drop the module", dir)
	}
	return ids, nil
}

func TestClassify(t *testing.T) {
	const bsd = "Redistribution and use in source\n and binary forms, with or without"
	for text, want := range map[string][]string{
		"Mozilla Public License, version 2.0\n1. Definitions": {"MPL-2.0"},
		"Mozilla Public License Version 2.0":                  {"MPL-2.0"},
		"Apache License\n   Version 2.0, January 2004":        {"Apache-2.0"},
		bsd + " ... Neither the name of":                      {"BSD-3-Clause"},
		bsd:                                                   {"BSD-2-Clause"},
		"Permission is hereby granted, free of charge, to any person obtaining a copy\tof": {"MIT"},
		"Mozilla Public License, version 2.0 ... Mozilla Public License Version 2.0":       {"MPL-2.0"},
		"All rights reserved": nil,
	} {
		if got := Classify(text); !slices.Equal(got, want) {
			t.Errorf("%.40q is %v, want %v", text, got, want)
		}
	}
}
