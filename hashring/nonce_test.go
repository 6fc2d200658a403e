package hashring

import (
	"bytes"
	"errors"
	"testing"
)

// started is a registration of the next start of store a.
func started(boot, nonce, expects, expectsNonce uint64) Command {
	st := modernStore("a", "")
	st.Boot, st.Nonce = boot, nonce
	return Command{Kind: KindRegister, Register: &Register{Store: st, Expects: expects, ExpectsNonce: expectsNonce}}
}

// A start is let in only if its store knows the nonce that is registered (D6).
func TestRegisterComparesNonces(t *testing.T) {
	plain := modernRing(t, 4, 3, 0, "a", "b", "c") // a: boot 1, no nonce
	marked := must(t, plain, started(2, 22, 1, 0))
	old := ringOf(t, 4, 3, 0, []Store{storeOf("a", ""), storeOf("b", "")})
	replaced := func(nonce uint64) Command {
		return replaceCommand("b", "b2", func(c *ReplaceStore) { c.Store.Nonce = nonce })
	}
	built := must(t, plain, replaced(5))
	for name, c := range map[string]struct {
		state *State
		do    Command
		want  error // nil: taken
	}{
		"the first nonce":                  {plain, started(2, 22, 1, 0), nil},
		"no nonce after none":              {plain, started(2, 0, 1, 0), nil},
		"a nonce expected where none is":   {plain, started(2, 22, 1, 9), ErrStaleEpoch},
		"the registered nonce":             {marked, started(3, 33, 2, 22), nil},
		"after starts that did not get in": {marked, started(70, 33, 2, 22), nil},
		"a copy that read the boot count":  {marked, started(70, 99, 2, 0), ErrStaleEpoch},
		"a copy that expects nothing":      {marked, started(70, 99, 0, 0), ErrStaleEpoch},
		"a copy with a nonce of its own":   {marked, started(70, 99, 2, 98), ErrStaleEpoch},
		"the nonce, at an older boot":      {marked, started(2, 33, 2, 22), ErrBootNotNewer},
		"another boot expected":            {marked, started(3, 33, 1, 22), ErrStaleEpoch},
		"no nonce any more":                {marked, started(3, 0, 2, 22), ErrInvalid},
		"a newcomer that expects a nonce":  {plain, Command{Kind: KindRegister, Register: &Register{Store: modernStore("d", ""), ExpectsNonce: 1}}, ErrStaleEpoch},
		"a nonce below the level":          {old, started(2, 22, 1, 0), ErrNotSupported},
		"expected below the level":         {old, started(2, 0, 1, 22), ErrNotSupported},
		"a replacement under a nonce":      {plain, replaced(5), nil},
	} {
		next, err := c.state.Apply(c.state.Version+1, c.do)
		if !errors.Is(err, c.want) || (next != nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		var refusal *Refusal
		if errors.As(err, &refusal) && c.state == marked && (refusal.Other == nil || refusal.Other.Nonce != 22) {
			t.Errorf("%s: the refusal does not say what is registered: %+v", name, refusal)
		}
	}
	if st, _ := NewRing(built).Store(sidOf("b2")); st.Nonce != 5 {
		t.Errorf("the replacement is registered under nonce %d", st.Nonce)
	}
}

// What carries no nonce is encoded as it was before there were any.
func TestNoncesAreLeftOutWhileThereAreNone(t *testing.T) {
	s := modernRing(t, 4, 3, 0, "a")
	b := append(encoded(t, s), commandBytes(t, started(2, 0, 1, 0))...)
	if bytes.Contains(b, []byte("nonce")) {
		t.Errorf("%s", b)
	}
	s = must(t, s, started(2, 1<<64-1, 1, 0))
	back, err := DecodeState(encoded(t, s))
	if err != nil || back.Stores[0].Nonce != 1<<64-1 {
		t.Errorf("%v: %+v", err, back)
	}
	c, err := DecodeCommand(commandBytes(t, started(3, 7, 2, 1<<64-1)))
	if err != nil || c.Register.ExpectsNonce != 1<<64-1 || c.Register.Store.Nonce != 7 {
		t.Errorf("%v: %+v", err, c.Register)
	}
}

func commandBytes(t *testing.T, c Command) []byte {
	t.Helper()
	b, err := EncodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
