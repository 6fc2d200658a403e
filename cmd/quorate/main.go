// Command quorate is the one binary: a node, its clients, its benchmark and its demo.
package main

import (
	"context"
	"os"

	"github.com/mattn/go-isatty"
)

func main() {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(),
		inTTY: terminal(os.Stdin), outTTY: terminal(os.Stdout), errTTY: terminal(os.Stderr)}
	os.Exit(a.run(context.Background(), os.Args[1:]))
}

func terminal(f *os.File) bool {
	return isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd())
}
