package live

import (
	"slices"
	"sync"

	"github.com/quoratedb/quorate/sim/check"
)

// A workload works on few keys at a time, so that clients meet, and gives each up
// after a while, so that no history of one key grows without bound.
const (
	slotsPerWorkload = 6
	usesMin          = 80
	usesSpread       = 120
	// blindEvery: on one key of so many, writes without context are allowed later
	// than at the start. A loss can hide behind such a write, so most keys have none.
	blindEvery = 4
)

// token is a causal token and what it is known to cover.
type token struct {
	text   string
	covers []string // live values
	gone   []string // deleted or overwritten ones
	mine   bool     // in strong buckets: the client wrote it itself
}

// key is one key under load.
type key struct {
	ref    check.KeyRef
	owners []string // node names
	blind  bool     // writes without context are allowed
	lists  bool     // its values are lists

	mu     sync.Mutex
	uses   int           // left
	tokens map[int]token // by client: the last one, which may be stale by now
	powers int           // of two, that were added
}

func (k *key) token(client int) (token, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.tokens[client]
	return t, ok
}

func (k *key) keep(client int, t token) {
	if t.text == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tokens[client] = t
}

func (k *key) forget(client int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.tokens, client)
}

// powersMax keeps the sum of all powers of two within a counter's 63 bits.
const powersMax = 62

// power is the next power of two to add; when there is none left, the key is given up.
func (k *key) power() (int64, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.powers == powersMax {
		k.uses = 0
		return 0, false
	}
	k.powers++
	return 1 << (k.powers - 1), true
}

// usesCreate: a key that exists is of no more interest to those who race to create it.
const usesCreate = 20

// strongKey is a key of a strong bucket; nothing is written before the workload begins.
func (c *client) strongKey(w *active, name string) *key {
	k := &key{ref: check.KeyRef{Bucket: w.bucket, Key: name}, uses: usesMin + c.rng.IntN(usesSpread), lists: w.name == appending, tokens: map[int]token{}}
	if w.name == creating {
		k.uses = 1 + c.rng.IntN(usesCreate)
	}
	return k
}

// retire gives the key up: a write without context has an unknown outcome, which
// could excuse anything from now on.
func (k *key) retire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.uses = 0
}

func (k *key) use() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.uses--
	return k.uses >= 0
}

// pool is the keys of one workload.
type pool struct {
	mu    sync.Mutex
	slots [slotsPerWorkload]*key
	busy  [slotsPerWorkload]bool // somebody makes a new key there
	made  int
}

// take gives a key to work on, or the turn to make a new one in a slot, or neither.
func (p *pool) take(slot int) (k *key, make bool, number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.slots[slot]; k != nil && k.use() {
		return k, false, 0
	}
	if p.busy[slot] {
		return nil, false, 0
	}
	p.slots[slot], p.busy[slot] = nil, true
	p.made++
	return nil, true, p.made
}

// put ends the turn that take gave; k may be nil.
func (p *pool) put(slot int, k *key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots[slot], p.busy[slot] = k, false
}

// book is the history of all clients.
type book struct {
	mu  sync.Mutex
	ops []check.Op
	bad []string // values that nobody wrote
	by  map[string]int
	how map[string]int // answered reads of strong buckets, as they say they were done

	differ []string // copies of one write that were told different things
}

// historyMax bounds the memory of a long run; the load ends there.
const historyMax = 3_000_000

func newBook() *book { return &book{by: map[string]int{}, how: map[string]int{}} }

// addRead adds a read. Who asks a strong bucket for a lease may get a leader read: how,
// empty for eventual buckets, says which it was.
func (b *book) addRead(op check.Op, how string) {
	b.add(op)
	if op.Outcome == check.OK && how != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.how[how]++
	}
}

func (b *book) add(op check.Op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops = append(b.ops, op)
	kind := "writes "
	if op.Kind == check.Read || op.Kind == check.Total {
		kind = "reads "
	}
	b.by[kind+op.Outcome.String()]++
}

func (b *book) damage(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.bad) < check.MaxViolations {
		b.bad = append(b.bad, text)
	}
}

func (b *book) contradict(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.differ) < check.MaxViolations {
		b.differ = append(b.differ, text)
	}
}

func (b *book) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ops) >= historyMax
}

// counts is how operations ended so far.
func (b *book) counts() (total int, by map[string]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	by = make(map[string]int, len(b.by))
	for k, v := range b.by {
		by[k] = v
	}
	return len(b.ops), by
}

// keys are all keys of the history, sorted.
func (b *book) keys() []check.KeyRef {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[check.KeyRef]bool{}
	var out []check.KeyRef
	for i := range b.ops {
		if k := b.ops[i].Ref(); !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	slices.SortFunc(out, compareRef)
	return out
}
