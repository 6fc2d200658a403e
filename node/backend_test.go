package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/httpapi"
)

// An election in the middle of a change of a bucket is not the client's problem, but a
// deletion is sent once.
func TestProposeAgain(t *testing.T) {
	for _, x := range []struct {
		kind    hashring.CommandKind
		unknown int // times, then the outcome is known
		calls   int
		err     error
	}{
		{hashring.KindCreateBucket, 0, 1, nil},
		{hashring.KindCreateBucket, 3, 4, nil},
		{hashring.KindUpdateBucket, 2, 3, nil},
		{hashring.KindCreateBucket, 1000, 10, httpapi.ErrMaybeProposed},
		{hashring.KindDeleteBucket, 1, 1, httpapi.ErrMaybeProposed},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*proposeAgainAfter-time.Millisecond)
			defer cancel()
			calls := 0
			_, err := proposeAgain(ctx, hashring.Command{Kind: x.kind}, func(context.Context, hashring.Command) (*hashring.State, error) {
				if calls++; calls <= x.unknown {
					return nil, ringraft.ErrUnknown
				}
				return nil, nil
			})
			if calls != x.calls || !errors.Is(err, x.err) {
				t.Errorf("%s, unknown %d times: %d calls, %v", x.kind, x.unknown, calls, err)
			}
		})
	}
}
