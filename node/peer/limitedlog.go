package peer

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// logEvery is how often one and the same trouble is logged.
	logEvery = 30 * time.Second
	// logTopics bounds the table; when it is full, it starts anew.
	logTopics = 512
)

// limitedLog logs each topic once in a while, with the number it left out.
type limitedLog struct {
	to     *slog.Logger
	mu     sync.Mutex
	topics map[string]*topic
}

type topic struct {
	next time.Time
	left int
}

func newLimitedLog(to *slog.Logger) *limitedLog {
	return &limitedLog{to: to, topics: map[string]*topic{}}
}

func (l *limitedLog) warn(topic, msg string, args ...any) {
	if more, ok := l.due(topic); ok {
		l.to.Warn(msg, append(args, more...)...)
	}
}

func (l *limitedLog) info(topic, msg string, args ...any) {
	if more, ok := l.due(topic); ok {
		l.to.Info(msg, append(args, more...)...)
	}
}

func (l *limitedLog) due(name string) (more []any, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	x := l.topics[name]
	if x == nil {
		if len(l.topics) >= logTopics {
			clear(l.topics)
		}
		x = &topic{}
		l.topics[name] = x
	}
	if now.Before(x.next) {
		x.left++
		return nil, false
	}
	if x.left > 0 {
		more = []any{"not_logged", x.left}
	}
	x.next, x.left = now.Add(logEvery), 0
	return more, true
}
