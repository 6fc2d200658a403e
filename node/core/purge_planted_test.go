//go:build planted

package core

import (
	"fmt"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// Random lives go wrong without the guard, and when keys are dropped that no round has
// settled, or that were written again.
func TestPlantedPurgeLives(t *testing.T) {
	for bug, most := range map[plant.Bug]uint64{plant.PurgeUnproven: 400, plant.PurgeStale: 400, plant.NoGuard: 1000} {
		plant.Set(bug)
		found := false
		for seed := uint64(1); seed <= most && !found; seed++ {
			if _, _, err := playPurge(seed, false); err != nil {
				t.Logf("%s: seed %d: %.200v", bug, seed, err)
				found = true
			}
		}
		if !found {
			t.Errorf("%s is not found in %d lives", bug, most)
		}
	}
	plant.Set(plant.None)
}

// The other lines of the rounds are held by a test each, which fails without its line
// and not with it.
func TestPlantedPurge(t *testing.T) {
	for bug, test := range map[plant.Bug]func(t testing.TB){
		plant.PurgeSkipsHints:   purgeWaitsForHints,
		plant.PurgeSkipsPasses:  func(t testing.TB) { purgeIsBlocked(t, "an exchange does not end") },
		plant.ReportBeforeSync:  reportsWaitForTheirSync,
		plant.ReportUnconfirmed: func(t testing.TB) { purgeIsBlocked(t, "a store is not confirmed") },
		plant.ExpiredByOwnClock: purgeLeavesWhatExpiredAfterT,
	} {
		for _, b := range []plant.Bug{plant.None, bug} {
			t.Run(fmt.Sprintf("%s/%v", bug, b != plant.None), func(t *testing.T) {
				plant.Set(b)
				defer plant.Set(plant.None)
				if wrong := failure(test); (wrong != "") != (b != plant.None) {
					t.Errorf("went wrong: %q", wrong)
				}
			})
		}
	}
}

// failure is what a test says when it fails, empty if it does not.
func failure(test func(t testing.TB)) (what string) {
	defer func() {
		if p := recover(); p != nil {
			what = fmt.Sprint(p)
		}
	}()
	test(storyT{})
	return ""
}
