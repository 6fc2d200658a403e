package bench

import (
	"bytes"
	"fmt"
	"strconv"
)

// A value says which run wrote it to which key as which number, and the rest follows
// from the number, so that a read can tell a damaged, foreign or phantom value:
//
//	<run> <key> <number> abcdef...

func makeValue(run, key string, seq uint64, size int) []byte {
	b := make([]byte, 0, max(size, len(run)+len(key)+24))
	b = append(b, run...)
	b = append(b, ' ')
	b = append(b, key...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, ' ')
	for i := len(b); i < size; i++ {
		b = append(b, 'a'+byte((uint64(i)+seq)%26))
	}
	return b
}

// readValue returns the number of a value of (run, key), or an error that says what
// stands there instead.
func readValue(run, key string, size int, value []byte) (uint64, error) {
	rest, ok := bytes.CutPrefix(value, []byte(run+" "+key+" "))
	if !ok {
		return 0, fmt.Errorf("not written by this run to this key: %q", clip(value))
	}
	digits, _, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return 0, fmt.Errorf("cut short: %q", clip(value))
	}
	seq, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil || !bytes.Equal(value, makeValue(run, key, seq, size)) {
		return 0, fmt.Errorf("damaged: %q", clip(value))
	}
	return seq, nil
}

func clip(b []byte) []byte {
	const shown = 60
	return b[:min(len(b), shown)]
}
