//go:build !race

package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
	"github.com/quoratedb/quorate/node/core"
)

// A writer that waits for a compaction which then fails closes the channel that the
// compaction still answers on: goleveldb catches the panic, but the race detector
// rightly complains. So what makes compactions fail under a writer is tested
// without it, and the power cuts run with it on a store that does not rotate.
const powerCutsDefault = 500

var crashOptions = tiny

// TestCompactionMeetsDamage: writing ends, with the file and the way out.
func TestCompactionMeetsDamage(t *testing.T) {
	o := Options{WriteBuffer: 64 << 10}
	s, err := OpenOn(memDisk{damagedTables(t, 150, o)}, o)
	for i := 0; err == nil && i < 10_000; i++ {
		err = s.Commit(0, []*core.Batch{{Records: []core.RecordWrite{record(1, 2, fmt.Sprint("key-", i), object(1, string(make([]byte, 1000))))}}})
	}
	var damaged *DamagedError
	if !errors.As(err, &damaged) || !strings.HasSuffix(damaged.File, ".ldb") || damaged.Offset == 0 || damaged.Dir != "mem" {
		t.Fatalf("%v", err)
	}
	if s != nil {
		if err := <-s.Fatal(); !errors.As(err, &damaged) {
			t.Fatal(err)
		}
		_ = s.Close()
	}
}

// TestEverySyncIsNeeded leaves one class of syncs out at a time: the power-cut
// property must then fail.
func TestEverySyncIsNeeded(t *testing.T) {
	const seedsMax = 400
	// A torn log is cut again if its renaming was lost, and the next creation syncs
	// the directory anyway: no order of events makes these two matter.
	harmless := map[crashfs.Sync]bool{crashfs.DirAfterTemp: true, crashfs.DirAfterRename: true}
	for class := crashfs.NoSync + 1; class < crashfs.SyncClasses; class++ {
		t.Run(strings.ReplaceAll(class.String(), " ", "-"), func(t *testing.T) {
			t.Parallel()
			seeds := uint64(seedsMax)
			if harmless[class] {
				seeds = 8
			}
			for seed := range seeds {
				if err := newWorld(1000+seed, class).run(10); err != nil {
					if harmless[class] {
						t.Fatalf("without it: %v; it is needed after all", err)
					}
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			if !harmless[class] {
				t.Fatalf("nothing was lost without it in %d runs of 10 cuts", seeds)
			}
		})
	}
}
