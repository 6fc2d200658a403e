package node

import (
	"reflect"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// Every figure of a shard reaches the sum over all shards, and followers are added up
// by store.
func TestStrongStatsAddUp(t *testing.T) {
	a, b := hashring.SID{1}, hashring.SID{2}
	one := core.StrongStats{Lags: map[hashring.SID]core.StrongLag{a: {Partitions: 1, Entries: 10, Snapshots: 1}}}
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.CanInt():
			f.SetInt(int64(i + 1))
		case f.CanUint():
			f.SetUint(uint64(i + 1))
		}
	}
	sum := core.StrongStats{Lags: map[hashring.SID]core.StrongLag{}}
	addStrong(&sum, &one)
	one.Lags = map[hashring.SID]core.StrongLag{a: {Entries: 5}, b: {Partitions: 2}}
	addStrong(&sum, &one)
	got := reflect.ValueOf(sum)
	for i := range v.NumField() {
		name := got.Type().Field(i).Name
		switch f := got.Field(i); {
		case f.CanInt() && f.Int() != 2*int64(i+1), f.CanUint() && f.Uint() != 2*uint64(i+1):
			t.Errorf("%s: %v", name, f)
		}
	}
	if len(sum.Lags) != 2 || sum.Lags[a] != (core.StrongLag{Partitions: 1, Entries: 15, Snapshots: 1}) || sum.Lags[b].Partitions != 2 {
		t.Errorf("lags: %v", sum.Lags)
	}
}
