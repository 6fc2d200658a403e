package core

import "time"

// wakes are the strong partitions that want a step at some time, the soonest first. A
// heap that knows where each stands: a primary moves its own with every step, and in a
// heap of plain timers all those it has outlived would pile up.
type wakes struct{ heap []*strongPart }

func (p *strongPart) sooner(o *strongPart) bool {
	return p.wake < o.wake || p.wake == o.wake && p.id < o.id
}

// next is when the soonest is due; 0: never.
func (w *wakes) next() time.Duration {
	if len(w.heap) == 0 {
		return 0
	}
	return w.heap[0].wake
}

// set moves p to its new time; 0: never.
func (w *wakes) set(p *strongPart, at time.Duration) {
	switch {
	case at == p.wake:
	case at == 0:
		w.remove(p)
	case p.wake == 0:
		p.wake, p.at = at, len(w.heap)
		w.heap = append(w.heap, p)
		w.up(p.at)
	default:
		p.wake = at
		w.up(p.at)
		w.down(p.at)
	}
}

func (w *wakes) remove(p *strongPart) {
	last := len(w.heap) - 1
	at := p.at
	w.swap(at, last)
	w.heap[last] = nil
	w.heap = w.heap[:last]
	p.wake = 0
	if at < last {
		w.up(at)
		w.down(at)
	}
}

func (w *wakes) swap(i, j int) {
	h := w.heap
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (w *wakes) up(i int) {
	for i > 0 && w.heap[i].sooner(w.heap[(i-1)/2]) {
		w.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (w *wakes) down(i int) {
	for {
		least := i
		for down := 2*i + 1; down <= 2*i+2 && down < len(w.heap); down++ {
			if w.heap[down].sooner(w.heap[least]) {
				least = down
			}
		}
		if least == i {
			return
		}
		w.swap(i, least)
		i = least
	}
}
