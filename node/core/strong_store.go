package core

import (
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/strong"
)

// A strongPart is its replica's storage: the step's batch, and the overlay of what is
// staged before the engine.

var _ strong.Storage = (*strongPart)(nil)

// strongRowSize is about what a staged row takes beside its bytes.
const strongRowSize = 64

// into puts an effect into the step's batch.
func (sp *strongPart) into(w strong.Write) *Batch {
	b := sp.c.open()
	if b.Strong == nil {
		b.Strong = make([]StrongWrite, 0, min(sp.c.strong.records, maxSpare)+1)
	}
	b.Strong = append(b.Strong, StrongWrite{sp.id, w})
	return b
}

// Stage puts an effect into the step's batch, or, if it is lazy, into a later one.
func (sp *strongPart) Stage(w strong.Write) {
	if w.Lazy {
		sp.hold(&w)
		return
	}
	if carriedBefore(&w) {
		sp.carry()
	}
	b, o := sp.into(w), &sp.c.overlay
	switch w.Kind {
	case strong.PutEntry:
		// The machine keeps what is not durable of its log itself; here it only counts.
		o.count(b.Seq, w.Entry.Size())
	case strong.PutValue:
		o.nameValue(sp.id, w.Generation, w.Row.Bucket, w.Row.Key)
		o.putStrong(w.Row.Value, nil, b.Seq, len(w.Row.Key)+len(w.Row.Value.Data))
	case strong.DropValue:
		o.nameValue(sp.id, w.Generation, w.Row.Bucket, w.Row.Key)
		o.putStrong(nil, nil, b.Seq, len(w.Row.Key))
	case strong.PutCompletion:
		o.nameCompletion(sp.id, w.Generation, w.Row.Done.ID)
		o.putStrong(nil, w.Row.Done, b.Seq, 0)
	}
}

// Entry reads an entry that is applied and durable: the machine has the others.
func (sp *strongPart) Entry(index uint64) (*strong.Entry, error) {
	return sp.c.strong.eng.StrongEntry(sp.id, index)
}

// Value reads what a key holds in a generation.
func (sp *strongPart) Value(generation uint64, b hashring.BucketID, key []byte) (*strong.Value, error) {
	if o := &sp.c.overlay; len(o.rows) > 0 && !plant.Is(plant.StrongOverlayGone) {
		o.nameValue(sp.id, generation, b, key)
		if s := o.rows[string(o.name)]; s != nil {
			return s.value, nil
		}
	}
	return sp.c.strong.eng.StrongValue(sp.id, generation, b, key)
}

// Completion reads the completion record of a request.
func (sp *strongPart) Completion(generation uint64, id strong.RequestID) (*strong.Completion, error) {
	if o := &sp.c.overlay; len(o.rows) > 0 {
		o.nameCompletion(sp.id, generation, id)
		if s := o.rows[string(o.name)]; s != nil {
			return s.done, nil
		}
	}
	return sp.c.strong.eng.StrongCompletion(sp.id, generation, id)
}
