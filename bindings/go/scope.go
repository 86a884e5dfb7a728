//go:build cgo

package revenium

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"sync"
)

// scope is one layer of metadata in a context. The library merges the layers when a call starts, by its own rules.
type scope struct {
	parent *scope
	fields []byte
	// flags are scopeMeter and scopeBeneath.
	flags uint32
	// kept is for a layer with an idempotency key, which numbers its calls.
	kept *keptScope
}

// keptScope is the library's scope of one layer, made by its first call and released with the last context that has it.
type keptScope struct {
	mu     sync.Mutex
	handle handle
}

type scopeKey struct{}

// WithUsageMetadata adds fields to the usage metadata of every call made with the context it returns.
//
// fields is a map, a struct with JSON tags, or anything else that marshals to a JSON object of Revenium's fields, in
// camelCase or snake_case. They lie over those that ctx has already: the inner value wins, a blank one never erases, a
// subscriber is replaced as a whole, and a call's own usage_metadata wins over all of them. A field that does not
// marshal is left out.
func WithUsageMetadata(ctx context.Context, fields any) context.Context {
	return context.WithValue(ctx, scopeKey{}, layer(scopeOf(ctx), marshalFields(fields)))
}

// WithMeter marks every call made with the context it returns, so that it is metered even when metering is selective.
func WithMeter(ctx context.Context) context.Context {
	return context.WithValue(ctx, scopeKey{}, &scope{parent: scopeOf(ctx), flags: scopeMeter})
}

func scopeOf(ctx context.Context) *scope {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	return s
}

// layer is fields over those of parent.
func layer(parent *scope, fields []byte) *scope {
	s := &scope{parent: parent, fields: fields}
	if bytes.Contains(fields, []byte(`"idempotency_key"`)) {
		s.kept = &keptScope{}
		runtime.SetFinalizer(s.kept, func(k *keptScope) { // AddCleanup wants Go 1.24
			if k.handle != 0 {
				nativeRelease(k.handle)
			}
		})
	}
	return s
}

// over is s with base beneath all of it.
func (s *scope) over(base *scope) *scope {
	if s == nil {
		return base
	}
	return &scope{parent: s, fields: base.fields, flags: scopeBeneath}
}

// at is s for calls that go where c says. The program chose it, so the library's own credential may go there, which it may
// not where a request's body says so.
func (s *scope) at(c choices) *scope {
	if c.BaseURL == "" {
		return s
	}
	where := choices{BaseURL: c.BaseURL}
	if c.host != "" {
		where.header("Host", &c.host)
	}
	return &scope{parent: s, fields: marshalFields(map[string]any{"revenium": where})}
}

// open makes the library's scope for s, to be released when its call has started.
func (s *scope) open() (handle, error) {
	if s == nil {
		return scopeNone, nil
	}
	if s.kept == nil {
		return s.make()
	}
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	if s.kept.handle == 0 {
		made, err := s.make()
		if err != nil {
			return 0, err
		}
		s.kept.handle = made
	}
	return nativeScopeNew(s.kept.handle, nil, 0)
}

func (s *scope) make() (handle, error) {
	parent, err := s.parent.open()
	if err != nil {
		return 0, err
	}
	if parent != scopeNone {
		defer nativeRelease(parent)
	}
	return nativeScopeNew(parent, s.fields, s.flags)
}

// marshalFields is a JSON object, or nil where there is none: metadata never fails a call.
func marshalFields(fields any) []byte {
	text, err := json.Marshal(fields)
	if err != nil {
		members, ok := fields.(map[string]any)
		if !ok {
			return nil
		}
		kept := make(map[string]json.RawMessage, len(members))
		for name, value := range members {
			if text, err := json.Marshal(value); err == nil {
				kept[name] = text
			}
		}
		text, _ = json.Marshal(kept)
	}
	if len(text) == 0 || text[0] != '{' {
		return nil
	}
	return text
}
