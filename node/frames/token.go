package frames

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
)

const (
	macSize = sha256.Size
	// MinToken in bytes: below it a recorded handshake could be guessed through.
	MinToken = 16
	// MaxToken in bytes; a longer file is not a token.
	MaxToken = 4096
)

// ErrNeedsToken is a server that others could reach and nobody would have to prove
// anything to.
var ErrNeedsToken = errors.New("frames without a token are for loopback only: set frames-token-file, or listen on 127.0.0.1")

// Token is the secret that clients and nodes share.
type Token []byte

// LoadToken reads the secret from a file; white space at its end is left out.
func LoadToken(path string) (Token, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("frames token: %w", err)
	}
	b = bytes.TrimRight(b, " \t\r\n")
	if len(b) < MinToken || len(b) > MaxToken {
		return nil, fmt.Errorf("frames token: %s holds %d bytes, want %d to %d", path, len(b), MinToken, MaxToken)
	}
	return b, nil
}

// prove is the proof that who makes it knows the token: a MAC over its role and all
// that has been said, so that it serves once, in one direction, for what was said.
func (t Token) prove(role string, said ...[]byte) (mac [macSize]byte) {
	h := hmac.New(sha256.New, t)
	h.Write([]byte("quorate frames " + role + "\x00"))
	for _, b := range said {
		h.Write(b)
	}
	h.Sum(mac[:0])
	return mac
}

// holds compares in constant time.
func (t Token) holds(mac [macSize]byte, role string, said ...[]byte) bool {
	want := t.prove(role, said...)
	return hmac.Equal(mac[:], want[:])
}

// CheckListen refuses an address that more than this machine can reach where there
// is no token.
func CheckListen(addr net.Addr, t Token) error {
	if len(t) > 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%w (%s)", ErrNeedsToken, addr)
	}
	return nil
}
