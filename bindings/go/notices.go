//go:build cgo

package revenium

import (
	"context"
	"log/slog"
	"sync"
)

// noticesBuffered is how many notices wait for a slow reader; what is more is dropped.
const noticesBuffered = 1024

// LogLine is one line of the library's log. It never holds a key, an e-mail address or a prompt.
type LogLine struct {
	Level slog.Level
	Text  string
}

// MeteringReport tells of usage records that could not be delivered at once.
type MeteringReport struct {
	Reason     string `json:"reason"`
	HTTPStatus int    `json:"http_status"`
	Records    int    `json:"records"`
	// Dropped: given up for good, rather than tried again.
	Dropped bool   `json:"dropped"`
	Message string `json:"message"`
}

// Logs are the lines that the library logs from now on, from this level up, until the context ends, which closes the
// channel. They still go to standard error too, as the setting log_level says. Lines beyond what a slow reader leaves
// room for are dropped.
func Logs(ctx context.Context, level slog.Level) (<-chan LogLine, error) {
	return logs.subscribe(ctx, func(line LogLine) bool { return line.Level >= level }, level)
}

// MeteringReports are the reports of failed and dropped deliveries from now on, until the context ends, which closes the
// channel.
func MeteringReports(ctx context.Context) (<-chan MeteringReport, error) {
	return reports.subscribe(ctx, func(MeteringReport) bool { return true }, slog.LevelError)
}

var (
	logs    hub[LogLine]
	reports hub[MeteringReport]

	subscribing sync.Mutex // one change of the queue's topics at a time
)

// hub hands notices to whoever wants them.
type hub[T any] struct {
	mu   sync.Mutex
	next int
	subs map[int]subscriber[T]
}

type subscriber[T any] struct {
	notices chan T
	wants   func(T) bool
	level   slog.Level
}

func (h *hub[T]) subscribe(ctx context.Context, wants func(T) bool, level slog.Level) (<-chan T, error) {
	d, err := started()
	if err != nil {
		return nil, err
	}
	s := subscriber[T]{make(chan T, noticesBuffered), wants, level}
	h.mu.Lock()
	if h.subs == nil {
		h.subs = map[int]subscriber[T]{}
	}
	id := h.next
	h.next++
	h.subs[id] = s
	h.mu.Unlock()

	leave := func() {
		h.mu.Lock()
		delete(h.subs, id)
		close(s.notices)
		h.mu.Unlock()
	}
	if err := retune(d); err != nil {
		leave()
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		leave()
		if d := library.running.Load(); d != nil {
			_ = retune(d) // at worst the queue gets what nobody wants
		}
	})
	return s.notices, nil
}

// publish never waits.
func (h *hub[T]) publish(notice T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subs {
		if s.wants(notice) {
			select {
			case s.notices <- notice:
			default:
			}
		}
	}
}

// lowest is the lowest level anybody wants; false: nobody wants anything.
func (h *hub[T]) lowest() (level slog.Level, wanted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subs {
		if !wanted || s.level < level {
			level, wanted = s.level, true
		}
	}
	return level, wanted
}

// retune tells the queue what is wanted now.
func retune(d *dispatcher) error {
	subscribing.Lock()
	defer subscribing.Unlock()
	topics := uint32(0)
	level, wanted := logs.lowest()
	if wanted {
		topics |= topicLog
	}
	if _, wanted := reports.lowest(); wanted {
		topics |= topicMetering
	}
	if code := nativeQueueSubscribe(d.queue, topics, levelNumber(level)); code < 0 {
		return &Error{Code: code}
	}
	return nil
}

// levelNumber is the library's for the level that brings this one and all above it.
func levelNumber(level slog.Level) int32 {
	for number := 1; number < len(logLevels); number++ {
		if level >= logLevels[number] {
			return int32(number)
		}
	}
	return int32(len(logLevels) - 1)
}

func logLine(number int32, text []byte) LogLine {
	level := slog.LevelDebug
	if number >= 1 && int(number) < len(logLevels) {
		level = logLevels[number]
	}
	return LogLine{level, string(text)}
}

func meteringReport(text []byte) MeteringReport {
	var report MeteringReport
	_ = lenient(text, &report)
	return report
}
