package demo

import "io"

// Terminal is where the demo talks, and where its keys come from.
type Terminal struct {
	Out  io.Writer
	In   io.Reader // nil: no keys
	Live bool      // Out is a terminal: the status line is rewritten in place
	// Raw makes single keys arrive without a line end, and returns what undoes it;
	// nil or failing: keys count at the line end.
	Raw func() (undo func(), err error)
}

const (
	keyHelp     = "keys: k2 kill node 2, p2 pause, c2 continue, s2 start it again, q quit"
	isolateHelp = "      i2 isolate node 2 from the others, h2 heal"
)

// command is what the user asked for.
type command struct {
	quit   bool
	help   bool
	action Action
	node   int // from 0
}

// keyReader turns keys into commands: a letter, then the number of a node. One digit
// is enough up to nine nodes; above that, a second one or a space ends the number.
type keyReader struct {
	nodes  int
	letter byte
	number int
}

var letters = map[byte]Action{'k': Kill, 'p': Pause, 'c': Resume, 's': Start, 'i': Isolate, 'h': Heal}

// feed takes one key; ok when a command is complete.
func (r *keyReader) feed(b byte) (c command, ok bool) {
	switch {
	case b == 'q' || b == 3: // 3 is Ctrl-C where the terminal does not make a signal of it
		return command{quit: true}, true
	case b == '?':
		return command{help: true}, true
	case letters[b] != "":
		r.letter, r.number = b, 0
		return c, false
	case b >= '0' && b <= '9' && r.letter != 0:
		r.number = r.number*10 + int(b-'0')
		if r.number*10 > r.nodes || r.number > r.nodes {
			return r.done()
		}
		return c, false
	case (b == ' ' || b == '\r' || b == '\n') && r.letter != 0 && r.number > 0:
		return r.done()
	}
	return c, false
}

func (r *keyReader) done() (command, bool) {
	c := command{action: letters[r.letter], node: r.number - 1}
	valid := r.number >= 1 && r.number <= r.nodes
	r.letter, r.number = 0, 0
	if !valid {
		return command{help: true}, true
	}
	return c, true
}

// readKeys sends commands until In ends. It may outlive the demo by one read: a read
// of a terminal cannot be interrupted.
func readKeys(t Terminal, nodes int, to chan<- command, quit <-chan struct{}) {
	r := keyReader{nodes: nodes}
	var b [1]byte
	for {
		n, err := t.In.Read(b[:])
		if n == 1 {
			if c, ok := r.feed(b[0]); ok {
				select {
				case to <- c:
				case <-quit:
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}
