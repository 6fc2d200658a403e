package strong

import "testing"

// A condition speaks of what the key holds now; a tombstone is nothing.
func TestConditions(t *testing.T) {
	v := func(i uint64) Version { return Version{1, 2, i} }
	held, gone := &Value{Version: v(7)}, &Value{Version: v(7), Tombstone: true}
	for _, c := range []struct {
		name               string
		If                 Condition
		held, absent, gone bool
	}{
		{"none", Condition{}, true, true, true},
		{"the version", Condition{IfMatch: v(7)}, true, false, false},
		{"another version", Condition{IfMatch: v(6)}, false, false, false},
		{"one of several", Condition{IfMatch: v(5), Or: []Version{v(6), v(7)}}, true, false, false},
		{"none of several", Condition{IfMatch: v(5), Or: []Version{v(6), v(8)}}, false, false, false},
		{"present", Condition{IfPresent: true}, true, false, false},
		{"absent", Condition{IfNoneMatch: true}, false, true, true},
	} {
		for what, k := range map[string]struct {
			old  *Value
			want bool
		}{"held": {held, c.held}, "absent": {nil, c.absent}, "deleted": {gone, c.gone}} {
			if got := c.If.Holds(k.old); got != k.want {
				t.Errorf("%s, %s: %v", c.name, what, got)
			}
		}
	}
}

// Two requests under one id are told apart by everything that decides what they do.
func TestDigestCoversConditions(t *testing.T) {
	seen := map[uint64]Condition{}
	for _, c := range []Condition{{}, {IfNoneMatch: true}, {IfPresent: true}, {IfMatch: Version{1, 2, 3}}, {IfMatch: Version{1, 2, 4}},
		{IfMatch: Version{1, 2, 3}, Or: []Version{{1, 2, 4}}}, {IfMatch: Version{1, 2, 3}, Or: []Version{{1, 2, 5}}}} {
		op := Op{Kind: OpPut, If: c}
		if other, ok := seen[op.digest()]; ok {
			t.Errorf("%+v and %+v", c, other)
		}
		seen[op.digest()] = c
	}
}
