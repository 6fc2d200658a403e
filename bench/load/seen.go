package load

import "sync"

// seen is what a driver's workers know of the versions of keys, together: each key's
// newest one as far as some worker was told.
type seen[V any] struct {
	mu sync.Mutex
	of map[string]V
}

// get is the zero version for a key that nobody was told of.
func (s *seen[V]) get(key string) V {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[key]
}

func (s *seen[V]) set(key string, v V) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]V{}
	}
	s.of[key] = v
}
