package main

import (
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

type replicaRow struct {
	Node   string `json:"node"`
	Role   string `json:"role"`
	State  string `json:"state"`
	ETag   string `json:"etag"`
	Size   int64  `json:"size"`
	InSync bool   `json:"in_sync"`
}

func newInspect(a *app) *cobra.Command {
	var f kvFlags
	c := &cobra.Command{Use: "inspect KEY", Short: "Show what every replica holds of a key", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path("/v1/inspect/", args[0])
			if err != nil {
				return err
			}
			r, err := a.ask(c.Context(), rest.Request{Method: http.MethodGet, Path: path})
			if err != nil {
				return err
			}
			var body struct {
				Replicas []json.RawMessage `json:"replicas"`
			}
			doc, err := decode(r.Body, &body)
			if err != nil {
				return err
			}
			g := grid{head: []string{"node", "role", "state", "in sync", "size", "etag"}, nums: []int{5}}
			for _, raw := range body.Replicas {
				var row replicaRow
				if _, err := decode(raw, &row); err != nil {
					return err
				}
				g.add(row.Node, row.Role, row.State, yes(row.InSync), row.Size, row.ETag)
			}
			return a.show(view{doc: doc, rows: items(body.Replicas), table: g.String, raw: g.raw})
		}}
	c.Flags().StringVarP(&f.bucket, "bucket", "b", "default", "bucket")
	c.Flags().BoolVar(&f.key64, "key64", false, "KEY is base64url, for keys of any bytes")
	a.clientFlags(c, asTable)
	return c
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
