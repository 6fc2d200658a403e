//go:build planted

package httpapi

import (
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// Partitions that have a majority are not recovered (T5).
func TestPlantedRecoverAnyway(t *testing.T) {
	defer plant.Set(plant.None)
	r := newRig(t)
	r.b.ring = lossRing(t, nil)
	r.b.logs = []NodeLogs{logsOf(3, 2, StrongLog{Epoch: 5, Index: 9, Full: true})}
	for bug, want := range map[plant.Bug]int{plant.None: 0, plant.RecoverAnyway: 1} {
		plant.Set(bug)
		if d := decodeInto[recoverJSON](t, r.want(200, "", "POST", "/v1/cluster/recover", "")); len(d.Partitions) != want {
			t.Errorf("%q: %+v", bug, d)
		}
	}
}
