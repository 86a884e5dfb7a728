//go:build cgo

package revenium

import (
	"context"
	"encoding/json"
)

// Client calls Claude. The zero value works, and takes everything from the settings; so does NewClient().
type Client struct {
	Messages MessageService
}

// NewClient makes a client whose calls share these options.
func NewClient(options ...Option) Client { return Client{Messages: MessageService{options: options}} }

// MessageService is the Messages API.
type MessageService struct {
	options []Option
}

// New sends a message and waits for the reply.
//
// params is a [MessageNewParams], or anything else that marshals to the body of a request: a map, a struct of another
// package, or JSON text. Cancelling the context cancels the call, and its deadline bounds it.
func (s MessageService) New(ctx context.Context, params any, options ...Option) (*Message, error) {
	r, err := create(ctx, params, s.options, options)
	if err != nil {
		return nil, err
	}
	return messageOf(r)
}

// NewStreaming sends a message and streams the reply. Errors show in the stream.
func (s MessageService) NewStreaming(ctx context.Context, params any, options ...Option) *Stream[MessageStreamEvent] {
	return stream[MessageStreamEvent](ctx, params, s.options, options)
}

// Create is [MessageService.New] for replies of another type, such as those of Anthropic's own SDK, which marshal
// themselves: revenium.Create[anthropic.Message](ctx, params).
func Create[T any](ctx context.Context, params any, options ...Option) (*T, error) {
	r, err := create(ctx, params, options)
	if err != nil {
		return nil, err
	}
	reply := new(T)
	if err := json.Unmarshal(r.json, reply); err != nil {
		return nil, unreadable(err)
	}
	return reply, nil
}

// CreateStreaming is [MessageService.NewStreaming] for events of another type.
func CreateStreaming[E any](ctx context.Context, params any, options ...Option) *Stream[E] {
	return stream[E](ctx, params, options)
}

func create(ctx context.Context, params any, options ...[]Option) (*result, error) {
	c, err := begin(ctx, params, false, options...)
	if err != nil {
		return nil, err
	}
	r, err := c.wait(ctx)
	if err != nil {
		return nil, err
	}
	if r.code != codeOK {
		return nil, newError(r)
	}
	return r, nil
}

func begin(ctx context.Context, params any, stream bool, options ...[]Option) (*call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	request, err := requestOf(ctx, params, stream, options...)
	if err != nil {
		return nil, err
	}
	d, err := started()
	if err != nil {
		return nil, err
	}
	return d.begin(ctx, request, scopeAt(ctx).at(chosen(options...)), stream)
}

func messageOf(r *result) (*Message, error) {
	message := &Message{info: r.info}
	if err := message.own(r.json); err != nil {
		return nil, unreadable(err)
	}
	return message, nil
}

func unreadable(err error) error {
	return &Error{Code: ErrStream, Message: "The reply is not what was expected: " + err.Error() + "."}
}
