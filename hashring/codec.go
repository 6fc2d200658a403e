package hashring

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A command or a state is one format byte, then JSON. The JSON must be exactly
// what Encode writes: a member unknown here, in another case, or twice could be
// read differently by two versions of quorate, and the nodes would part ways.
const (
	commandFormat = 1
	stateFormat   = 1
)

// Bounds of the decoders' input.
const (
	// MaxCommandBytes: the longest command has MaxPlaces places, 120 bytes each.
	MaxCommandBytes = 64 << 10
	// MaxStateBytes: a state at all its bounds takes less, and in base64 it fits a
	// control call between nodes (16 MiB).
	MaxStateBytes = 11 << 20
)

// EncodeCommand gives the form of a command in the Raft log and in peer RPC.
func EncodeCommand(c Command) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return encode(commandFormat, MaxCommandBytes, c)
}

// DecodeCommand reads what EncodeCommand wrote; anything else is ErrMalformed.
func DecodeCommand(b []byte) (c Command, err error) {
	if err := decode(commandFormat, MaxCommandBytes, b, &c); err != nil {
		return Command{}, fmt.Errorf("command: %w", err)
	}
	if err := c.check(); err != nil {
		return Command{}, fmt.Errorf("command: %w: %w", ErrMalformed, err)
	}
	return c, nil
}

// EncodeState gives the form of a state in snapshots, in the store and in peer RPC.
func EncodeState(s *State) ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return encode(stateFormat, MaxStateBytes, s)
}

// DecodeState reads what EncodeState wrote; anything else, and a state that breaks
// a rule of State.Check, is ErrMalformed.
func DecodeState(b []byte) (*State, error) {
	s := &State{}
	if err := decode(stateFormat, MaxStateBytes, b, s); err != nil {
		return nil, fmt.Errorf("ring state: %w", err)
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("ring state: %w: %w", ErrMalformed, err)
	}
	return s, nil
}

func encode(format byte, limit int, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(text) >= limit {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMalformed, len(text)+1, limit)
	}
	return append([]byte{format}, text...), nil
}

func decode(format byte, limit int, b []byte, v any) error {
	switch {
	case len(b) == 0:
		return fmt.Errorf("%w: no bytes", ErrMalformed)
	case len(b) > limit:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrMalformed, len(b), limit)
	case b[0] != format:
		return fmt.Errorf("%w: format %d, this version reads %d", ErrMalformed, b[0], format)
	}
	d := json.NewDecoder(bytes.NewReader(b[1:]))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again, b[1:]) {
		return fmt.Errorf("%w: not in the one form that is written", ErrMalformed)
	}
	return nil
}
