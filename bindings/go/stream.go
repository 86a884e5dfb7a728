//go:build cgo

package revenium

import (
	"context"
	"encoding/json"
	"iter"
	"sync/atomic"
)

// Stream is a reply that arrives event by event. One goroutine at a time may read it; Close may come from any.
//
//	stream := client.Messages.NewStreaming(ctx, params)
//	defer stream.Close()
//	for stream.Next() {
//		event := stream.Current()
//		fmt.Print(event.Text())
//	}
//	if err := stream.Err(); err != nil {
//		return err
//	}
type Stream[E any] struct {
	ctx     context.Context
	call    *call
	closed  atomic.Bool
	pending []event
	current E
	end     *result
	err     error
}

func stream[E any](ctx context.Context, params any, options ...[]Option) *Stream[E] {
	c, err := begin(ctx, params, true, options...)
	return &Stream[E]{ctx: ctx, call: c, err: err}
}

// Next waits for the next event. It returns false at the end of the stream, after an error, and after Close.
func (s *Stream[E]) Next() bool {
	if s.err != nil || s.end != nil || s.closed.Load() {
		return false
	}
	if len(s.pending) == 0 {
		s.pending, s.end, s.err = s.call.nextEvents(s.ctx)
		switch {
		case s.closed.Load():
			s.pending, s.err = nil, nil
			return false
		case s.end != nil && s.end.code != codeOK:
			s.err = newError(s.end)
		}
		if len(s.pending) == 0 {
			return false
		}
	}
	raw := s.pending[0].json
	s.pending = s.pending[1:]
	if err := s.read(raw); err != nil {
		s.err = unreadable(err)
		s.call.cancel()
		s.call.abandon()
		return false
	}
	return true
}

// read makes raw the current event.
func (s *Stream[E]) read(raw []byte) (err error) {
	switch usual := any(s).(type) {
	case *Stream[MessageStreamEvent]:
		usual.current = MessageStreamEvent{}
		err = usual.current.own(raw)
	case *Stream[json.RawMessage]:
		usual.current = raw // the library lets nothing but JSON through
	default:
		var next E
		if err = json.Unmarshal(raw, &next); err == nil {
			s.current = next
		}
	}
	return err
}

// Current is the event that Next found.
func (s *Stream[E]) Current() E { return s.current }

// Err is why the stream ended, nil if it came to its end or was closed.
func (s *Stream[E]) Err() error { return s.err }

// Close ends the stream, and cancels the call if it still runs. What was used until then is metered.
func (s *Stream[E]) Close() error {
	if s.call != nil && !s.closed.Swap(true) {
		s.call.cancel()
		s.call.abandon()
	}
	return nil
}

// All are the events that are left; an error comes last. Leaving the loop closes the stream.
func (s *Stream[E]) All() iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		defer s.Close()
		for s.Next() {
			if !yield(s.current, nil) {
				return
			}
		}
		if s.err != nil {
			var none E
			yield(none, s.err)
		}
	}
}

// Message is the whole message, put together from the events. It reads what is left of the stream first.
func (s *Stream[E]) Message() (*Message, error) {
	for s.Next() {
	}
	switch {
	case s.err != nil:
		return nil, s.err
	case s.end == nil || s.end.code != codeOK:
		return nil, &Error{Code: ErrCancelled, Message: "The stream was closed before its end."}
	}
	return messageOf(s.end)
}
