package node

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

const (
	// wordsMax bounds the words that wait to be sent: of each partition one of each
	// kind, and some learners. What comes above it is said again by its shard.
	wordsMax = 6 * hashring.MaxPartitions
	// wordsCall bounds the words of one message: some 200 bytes each as JSON.
	wordsCall = 2048
	// wordKeep is how long a word that could not be delivered is tried again. Shards
	// repeat what still holds sooner than that.
	wordKeep = 2 * time.Second
)

// wordKey tells words apart: a later one of the same key says the same thing, newer.
type wordKey struct {
	partition uint32
	kind      strong.ProposalKind
	learner   hashring.SID // strong.LearnerReady: of whom
}

func keyOf(w *strong.Word) wordKey {
	k := wordKey{partition: w.Partition, kind: w.Kind}
	if w.Kind == strong.LearnerReady {
		k.learner = w.Prefer
	}
	return k
}

type heldWord struct {
	word strong.Word
	at   time.Time
}

// words gathers what the shards of this node have to say to the leader of the Raft
// group: the latest word of each partition and kind.
type words struct {
	mu     sync.Mutex
	held   map[wordKey]heldWord
	signal chan struct{} // holds one token while there may be something
}

func newWords() *words { return &words{held: map[wordKey]heldWord{}, signal: make(chan struct{}, 1)} }

// say takes words of a shard. It keeps nothing of the slice.
func (w *words) say(said []strong.Word) {
	now := time.Now()
	w.mu.Lock()
	for i := range said {
		k := keyOf(&said[i])
		if _, ok := w.held[k]; ok || len(w.held) < wordsMax {
			w.held[k] = heldWord{said[i], now}
		}
	}
	w.mu.Unlock()
	w.wake()
}

func (w *words) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// take empties the book, ordered by partition and kind. Words that r has made
// pointless, being of an epoch that has passed, are left out.
func (w *words) take(r *hashring.Ring) []heldWord {
	w.mu.Lock()
	held := w.held
	w.held = make(map[wordKey]heldWord, len(held))
	w.mu.Unlock()
	out := make([]heldWord, 0, len(held))
	for _, h := range held {
		if !outdated(r, &h.word) {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b heldWord) int {
		return cmp.Or(cmp.Compare(a.word.Partition, b.word.Partition), cmp.Compare(a.word.Kind, b.word.Kind), a.word.Prefer.Compare(b.word.Prefer))
	})
	return out
}

// putBack returns words that were not delivered, unless newer ones have come or they
// are too old.
func (w *words) putBack(undelivered []heldWord) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range undelivered {
		h := &undelivered[i]
		k := keyOf(&h.word)
		if _, newer := w.held[k]; !newer && now.Sub(h.at) < wordKeep && len(w.held) < wordsMax {
			w.held[k] = *h
		}
	}
}

// outdated tells whether the ring has moved on from what the word speaks of.
func outdated(r *hashring.Ring, w *strong.Word) bool {
	if r == nil || int(w.Partition) >= len(r.Partitions) {
		return false
	}
	c := r.Partitions[w.Partition].Strong
	return c != nil && (c.Epoch > w.Epoch || c.Epoch == w.Epoch && c.Activated && w.Kind == strong.Activate)
}
