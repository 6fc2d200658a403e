package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/internal/buildinfo"
)

func newVersion(a *app) *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		v := struct {
			Version  string `json:"version"`
			Revision string `json:"revision"`
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{buildinfo.Version, buildinfo.Revision(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
		return a.show(view{doc: v,
			table: func() string {
				return fmt.Sprintf("quorate %s (%s, %s, %s)\n", v.Version, v.Revision, v.Go, v.Platform)
			},
			raw: func(w io.Writer) error { _, err := fmt.Fprintln(w, v.Version); return err }})
	}}
	a.outputFlag(c, asTable)
	return c
}
