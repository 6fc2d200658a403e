package core

// fifo is a queue whose array is used again: what is appended to a slice that is cut
// at its front moves through memory for ever.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int  { return len(q.items) - q.head }
func (q *fifo[T]) first() *T { return &q.items[q.head] }
func (q *fifo[T]) last() *T  { return &q.items[len(q.items)-1] }

func (q *fifo[T]) push(x T) {
	if q.head > 0 && len(q.items) == cap(q.items) && 2*q.head >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

func (q *fifo[T]) pop() (x T) {
	x, q.items[q.head] = q.items[q.head], x // what has been taken must not be kept alive
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > maxFifoKept {
			q.items = nil
		}
	}
	return x
}

// maxFifoKept bounds the array that an empty queue keeps.
const maxFifoKept = 16 << 10
