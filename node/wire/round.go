package wire

import (
	"encoding/binary"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/node/core"
)

// Flags of a purge round's question or answer.
const (
	roundConfirmation byte = 1 << iota // it is about a confirmation, else a report
	roundSurvey                        // with Seen; confirmations only
	roundKnown        = roundConfirmation | roundSurvey
)

func appendRound(dst []byte, w *core.RoundWords, answer bool) []byte {
	if c := w.Confirmation; c != nil {
		dst = binary.AppendUvarint(append(dst, roundConfirmation|bitIf(w.Survey, roundSurvey)), c.Ask)
		if answer {
			dst = appendStanding(dst, c.Boot, c.Epoch, c.Generation)
			dst = appendVector(dst, c.Seen)
		}
		return dst
	}
	r := w.Report
	dst = binary.AppendUvarint(append(dst, 0), r.Ask)
	if answer {
		dst = appendStanding(dst, r.Boot, r.Epoch, r.Generation)
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, r.Hints), r.Marks)
		dst = binary.AppendVarint(appendVector(dst, r.Cut), r.WallMS)
	}
	return dst
}

func appendStanding(dst []byte, boot, epoch, generation uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(dst, boot), epoch), generation)
}

func (d *decoder) round(answer bool) *core.RoundWords {
	f := d.flags(roundKnown)
	if f&roundConfirmation != 0 {
		c := &antientropy.Confirmation{Ask: d.uvarint()}
		if answer {
			c.Boot, c.Epoch, c.Generation = d.uvarint(), d.uvarint(), d.uvarint()
			c.Seen = d.vector(MaxActors)
		}
		return &core.RoundWords{Confirmation: c, Survey: f&roundSurvey != 0}
	}
	if f != 0 { // a report has no survey
		d.fail()
	}
	r := &antientropy.Report{Ask: d.uvarint()}
	if answer {
		r.Boot, r.Epoch, r.Generation = d.uvarint(), d.uvarint(), d.uvarint()
		r.Hints, r.Marks = d.uvarint(), d.uvarint()
		r.Cut = d.vector(MaxActors)
		r.WallMS = d.varint()
	}
	return &core.RoundWords{Report: r}
}
