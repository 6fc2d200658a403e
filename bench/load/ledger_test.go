package load

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// shop is a store in memory that can be made to shed, to fail and to forget.
type shop struct {
	mu     sync.Mutex
	kv     map[string][]byte
	n      int
	shed   int  // every so many-th write is shed
	fail   int  // every so many-th write fails, and yet takes effect
	forget bool // acknowledged writes are not kept
	loose  bool // reads fail
}

func (s *shop) Worker(context.Context, int) (Worker, error) { return s, nil }
func (s *shop) Close()                                      {}

func (s *shop) Put(key, val []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if s.shed > 0 && s.n%s.shed == 0 {
		return ErrShed
	}
	if !s.forget || s.kv[string(key)] == nil {
		s.kv[string(key)] = append([]byte(nil), val...)
	}
	if s.fail > 0 && s.n%s.fail == 0 {
		return errors.New("no answer")
	}
	return nil
}

func (s *shop) Get(key []byte, _ bool) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loose {
		return nil, errors.New("no answer")
	}
	return s.kv[string(key)], nil
}

func withLedger(t *testing.T, s *shop, phase string) (Result, error) {
	t.Helper()
	p, err := ParsePhase(phase)
	if err != nil {
		t.Fatal(err)
	}
	s.kv = map[string][]byte{}
	return Run(t.Context(), s, NewKeyspace(40), p, Options{Warm: time.Millisecond, Dur: 30 * time.Millisecond, Ledger: new(Ledger)})
}

func TestLedger(t *testing.T) {
	r, err := withLedger(t, &shop{shed: 3, fail: 5}, "put:7:80:zipf")
	if err != nil || r.Acked == 0 || r.Acked > 40 || r.Lost+r.Unread != 0 {
		t.Errorf("an honest store: %+v, %v", r, err)
	}
	if r.Shed == 0 || r.Errs == 0 || r.Good >= r.Rate || !strings.Contains(r.String(), "shed") {
		t.Errorf("shed %d, failed %d, good %.0f of %.0f", r.Shed, r.Errs, r.Good, r.Rate)
	}
	if r, err = withLedger(t, &shop{forget: true}, "put:7:80:zipf"); err != nil || r.Lost == 0 {
		t.Errorf("a store that keeps only first writes: %+v, %v", r, err)
	}
	for _, phase := range []string{"mix:2:80:zipf", "put:41:80:zipf", "put:2:30:zipf", "load:2:80:zipf"} {
		if _, err := withLedger(t, &shop{}, phase); err == nil {
			t.Errorf("%s taken with a ledger", phase)
		}
	}
}

func TestLedgerPage(t *testing.T) {
	l := new(Ledger)
	p, err := ParsePhase("put:7:80:zipf")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.open(p, 40); err != nil {
		t.Fatal(err)
	}
	writer := map[int]int{}
	for id := range 7 {
		for n := range 40 {
			own := l.page(id).own(n)
			if w, ok := writer[own]; own < 0 || own >= 40 || ok && w != id {
				t.Fatalf("key %d of worker %d becomes %d, which is worker %d's", n, id, own, w)
			}
			writer[own] = id
		}
	}
	if len(writer) != 40 {
		t.Errorf("%d of 40 keys have a writer", len(writer))
	}
	page, val := l.page(3), make([]byte, 80)
	write := func(err error) []byte {
		page.stamp(val)
		page.settle(3, err)
		return append([]byte(nil), val...)
	}
	first, second, unknown, third, shed := write(nil), write(nil), write(errors.New("late")), write(nil), write(ErrShed)
	for i, c := range []struct {
		val  []byte
		lost bool
	}{{first, true}, {second, true}, {unknown, false}, {third, false}, {shed, false}, {nil, true}, {make([]byte, 80), true}} {
		if page.lost(3, c.val) != c.lost {
			t.Errorf("value %d: want lost %v", i, c.lost)
		}
	}
}

func TestUnread(t *testing.T) {
	s := &shop{kv: map[string][]byte{}, loose: true}
	l := &Ledger{pages: []*page{{acked: map[int]uint64{1: 1}}}}
	var r Result
	if err := l.verify(t.Context(), s, NewKeyspace(40), 80, &r); err != nil || r.Unread != 1 || r.Lost != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
