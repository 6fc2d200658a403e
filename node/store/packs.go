package store

import (
	"encoding/binary"
	"fmt"

	"github.com/quoratedb/quorate/node/core"
)

// A pack is one row with the log entries that one synced write carries, of whatever
// partitions. An entry lives for seconds; as a row of its own it would cost two, itself
// and its deletion, and so a pack costs two for all of them: it goes when none of its
// entries counts any more. They share their damage, too: whose entries an unreadable
// pack held nobody can tell, so it is that of all logs of the store (D4).

const (
	// packBytes closes a pack: about the size of a block that is read for one entry, and
	// that is copied to save one.
	packBytes = 64 << 10
	// packedMost is the largest entry (strong.Entry.Size) in a pack. A larger one spares
	// less than 1 % by sharing a row, and never has to be copied in one of its own.
	packedMost = 8 << 10
	// packSlack is how many more bytes that do not count packs may hold than bytes that do:
	// so few that a start reads them in no time, so many that where all partitions are
	// busy packs go by themselves before.
	packSlack = 8 << 20
	// movesMost bounds the packs that one write moves to save space: each copies and
	// frees at most packBytes and an entry.
	movesMost = 4
)

// A row of a pack is sealed: its number (8 bytes), then for each entry its frame, that is
// partition and size (4 bytes each), and the entry as node/wire stores it.
const (
	packHead  = 1 + 8
	frameSize = 4 + 4
)

// pack is what is known of a pack in memory.
type pack struct {
	number    uint64
	size      int    // bytes of its entries with their frames
	live      int    // entries that count
	liveBytes int    // of these, with their frames
	body      []byte // its row, until that is durable
	cut       bool   // an entry of it was cut off at the tail of its log: it is to be moved

	older, newer *pack
}

func beginPack(dst []byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(beginSeal(dst[:0]), number)
}

func appendFrame(dst []byte, p uint32, size int) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, p), uint32(size))
}

// openPack checks a pack's row and gives it without its checksum. Errors: core.ErrCorrupt.
func openPack(row []byte, number uint64) ([]byte, error) {
	body, err := unseal(row)
	if err != nil {
		return nil, err
	}
	if len(body) < packHead-1 || binary.BigEndian.Uint64(body) != number {
		return nil, fmt.Errorf("%w: another row in the place of pack %d", core.ErrCorrupt, number)
	}
	return row[:len(row)-4], nil
}

// eachFrame calls each with the entries of an open pack in order: partition, and where
// they stand. Errors: core.ErrCorrupt, or that of each, which ends it.
func eachFrame(row []byte, each func(p uint32, at, size int) error) error {
	for at := packHead; at < len(row); {
		if len(row)-at < frameSize {
			return fmt.Errorf("%w: a pack ends within a frame", core.ErrCorrupt)
		}
		p, size := binary.BigEndian.Uint32(row[at:]), binary.BigEndian.Uint32(row[at+4:])
		at += frameSize
		if uint64(size) > uint64(len(row)-at) {
			return fmt.Errorf("%w: an entry of %d bytes in a pack with %d left", core.ErrCorrupt, size, len(row)-at)
		}
		if err := each(p, at, int(size)); err != nil {
			return err
		}
		at += int(size)
	}
	return nil
}

// appendBegin: the number of the first pack whose entries of a partition count.
func appendBegin(dst []byte, number uint64) []byte {
	from := len(dst)
	return endSeal(binary.BigEndian.AppendUint64(beginSeal(dst), number), from)
}

func decodeBegin(b []byte) (uint64, error) {
	body, err := unseal(b)
	if err == nil && len(body) != 8 {
		err = fmt.Errorf("%w: the beginning of a log in %d bytes", core.ErrCorrupt, len(body))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(body), nil
}
