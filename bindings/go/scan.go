package revenium

import (
	"encoding/json"
	"unicode/utf8"
)

// Replies and events are read here in one pass, in the form in which the provider writes them. encoding/json reads each
// of them four times over for our types' UnmarshalJSON, which is most of what a call costs in Go.

// readEvent is an event that owns raw.
func readEvent(raw []byte) (e MessageStreamEvent, err error) {
	s := scanner{text: raw}
	if start := s.next(); s.event(&e) {
		e.Raw = raw[start:s.at:s.at]
		if s.end() {
			return e, nil
		}
	}
	e = MessageStreamEvent{}
	return e, json.Unmarshal(raw, &e)
}

// readMessage is a reply.
func readMessage(raw []byte) (m Message, err error) {
	if s := (scanner{text: raw}); s.message(&m) && s.end() {
		return m, nil
	}
	m = Message{}
	return m, json.Unmarshal(raw, &m)
}

// scanner reads JSON as encoding/json does, or gives up: whatever is rare, mistyped or malformed is left to that.
// Its readers tell whether they could go on. What null stands for stays as it is.
type scanner struct {
	text  []byte
	at    int
	depth int
}

const maxDepth = 100

func (s *scanner) event(e *MessageStreamEvent) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "type":
			return s.string(&e.Type)
		case "index":
			return s.integer(&e.Index)
		case "delta":
			return reference(s, &e.Delta, s.delta)
		case "message":
			return reference(s, &e.Message, s.message)
		case "content_block":
			return reference(s, &e.ContentBlock, s.block)
		case "usage":
			return reference(s, &e.Usage, s.usage)
		}
		return s.other(name)
	})
}

func (s *scanner) delta(d *Delta) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "type":
			return s.string(&d.Type)
		case "text":
			return s.string(&d.Text)
		case "partial_json":
			return s.string(&d.PartialJSON)
		case "thinking":
			return s.string(&d.Thinking)
		case "signature":
			return s.string(&d.Signature)
		case "stop_reason":
			return s.string(&d.StopReason)
		case "stop_sequence":
			return s.string(&d.StopSequence)
		}
		return s.other(name)
	})
}

func (s *scanner) message(m *Message) bool {
	start := s.next()
	ok := s.object(func(name []byte) bool {
		switch string(name) {
		case "id":
			return s.string(&m.ID)
		case "type":
			return s.string(&m.Type)
		case "role":
			return s.string(&m.Role)
		case "model":
			return s.string(&m.Model)
		case "content":
			return m.Content == nil && s.blocks(&m.Content)
		case "stop_reason":
			return s.string(&m.StopReason)
		case "stop_sequence":
			return s.string(&m.StopSequence)
		case "usage":
			return s.usage(&m.Usage)
		}
		return s.other(name)
	})
	if ok {
		m.Raw = clone(s.text[start:s.at])
	}
	return ok
}

func (s *scanner) blocks(blocks *[]ContentBlock) bool {
	*blocks = []ContentBlock{}
	return s.array(func() bool {
		*blocks = append(*blocks, ContentBlock{})
		return s.block(&(*blocks)[len(*blocks)-1])
	})
}

func (s *scanner) block(b *ContentBlock) bool {
	start := s.next()
	ok := s.object(func(name []byte) bool {
		switch string(name) {
		case "type":
			return s.string(&b.Type)
		case "text":
			return s.string(&b.Text)
		case "thinking":
			return s.string(&b.Thinking)
		case "signature":
			return s.string(&b.Signature)
		case "id":
			return s.string(&b.ID)
		case "name":
			return s.string(&b.Name)
		case "input":
			start := s.next()
			ok := s.value()
			b.Input = clone(s.text[start:s.at])
			return ok
		case "tool_use_id", "content", "is_error", "source", "cache_control":
			return false
		}
		return s.other(name)
	})
	if ok {
		b.Raw = clone(s.text[start:s.at])
	}
	return ok
}

func (s *scanner) usage(u *Usage) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "input_tokens":
			return s.integer(&u.InputTokens)
		case "output_tokens":
			return s.integer(&u.OutputTokens)
		case "cache_creation_input_tokens":
			return s.integer(&u.CacheCreationInputTokens)
		case "cache_read_input_tokens":
			return s.integer(&u.CacheReadInputTokens)
		}
		return s.other(name)
	})
}

// reference reads an object that is named once, or null.
func reference[T any](s *scanner, into **T, read func(*T) bool) bool {
	if *into != nil {
		return false
	}
	if s.literal("null") {
		return true
	}
	*into = new(T)
	return read(*into)
}

// other passes over a member that has no field. A name that is not plain might be another spelling of one that has.
func (s *scanner) other(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s.value()
}

func (s *scanner) object(member func(name []byte) bool) bool {
	return s.list('{', '}', func() bool {
		name, _, ok := s.quoted()
		return ok && s.take(':') && member(name)
	})
}

func (s *scanner) array(element func() bool) bool { return s.list('[', ']', element) }

func (s *scanner) list(open, close byte, element func() bool) bool {
	s.depth++
	if s.depth > maxDepth || !s.take(open) {
		return false
	}
	for first := true; !s.take(close); first = false {
		if !first && !s.take(',') || !element() {
			return false
		}
	}
	s.depth--
	return true
}

// value passes over any value.
func (s *scanner) value() bool {
	switch s.peek() {
	case '"':
		quoted, escaped, ok := s.quoted()
		return ok && (!escaped || json.Valid(quoted))
	case '{':
		return s.object(func([]byte) bool { return s.value() })
	case '[':
		return s.array(s.value)
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	var n int64
	return s.integer(&n)
}

func (s *scanner) string(into *string) bool {
	if s.literal("null") {
		return true
	}
	text, escaped, ok := s.quoted()
	switch {
	case !ok:
		return false
	case escaped:
		return json.Unmarshal(text, into) == nil
	}
	*into = string(text)
	return true
}

// quoted is what stands between the quotes; where something in it is escaped, they are part of it.
func (s *scanner) quoted() (text []byte, escaped, ok bool) {
	if !s.take('"') {
		return nil, false, false
	}
	start, plain := s.at, true
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			text = s.text[start:s.at]
			s.at++
			if escaped {
				text = s.text[start-1 : s.at]
			}
			return text, escaped, plain || utf8.Valid(text)
		case c == '\\':
			escaped = true
			s.at++
		case c < ' ':
			return nil, false, false
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	return nil, false, false
}

// integer takes what an int64 surely holds.
func (s *scanner) integer(into *int64) bool {
	if s.literal("null") {
		return true
	}
	negative := s.take('-')
	start, n := s.at, int64(0)
	for ; s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9'; s.at++ {
		n = n*10 + int64(s.text[s.at]-'0')
	}
	digits := s.at - start
	if digits == 0 || digits > 18 || digits > 1 && s.text[start] == '0' {
		return false
	}
	if negative {
		n = -n
	}
	*into = n
	return true // what follows is no fraction, or the next reader gives up
}

func (s *scanner) literal(word string) bool {
	at := s.next()
	if len(s.text)-at < len(word) || string(s.text[at:at+len(word)]) != word {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// peek is the first byte after any space, 0 at the end.
func (s *scanner) peek() byte {
	if at := s.next(); at < len(s.text) {
		return s.text[at]
	}
	return 0
}

// next is where the first byte after any space stands.
func (s *scanner) next() int {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return s.at
		}
	}
	return s.at
}

func (s *scanner) end() bool { return s.next() == len(s.text) }
