package revenium

import (
	"encoding/json"
	"reflect"
	"testing"
)

var scanned = []string{
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"token "}}`,
	` { "type" : "content_block_delta" , "index":-12, "delta":{"type":"text_delta","text":"é 😀"}    } `,
	`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a \"quoted\"\nline\ud83d\ude00\u00e9 \\"}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\": 1"}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"thinking_delta","thinking":"hm"}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"signature_delta","signature":"c2ln"}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"Cited":["x",[],{},1,-2,true,false,null]}}}`,
	`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"n","input": {"City": "Rome", "n": [1]} }}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","input":null}}`,
	`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15,"cache_creation":{"ephemeral_5m_input_tokens":0},"service_tier":"standard"}}`,
	`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1}}`,
	`{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"one"}, {"type":"thinking","thinking":"x","signature":"y"},{"type":"text","text":"two","citations":null}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2,"cache_creation_input_tokens":3,"cache_read_input_tokens":4}}`,
	`{"type":"message","content":[{"type":"web_search_tool_result","tool_use_id":"t","content":[{"type":"text","text":"x"}]}]}`,
	`{"content":[null]}`, `{"content":null,"usage":null}`, `{"content":[]}`, `{"content":[[]]}`, `{"content":{}}`,
	// Rare, mistyped, malformed.
	`{"TYPE":"x","\u0074ype":"y"}`, `{"type":"a","type":"b"}`, `{"delta":{"text":"a"},"delta":{"type":"b"}}`, `{"content":[],"content":[{}]}`,
	`{"type":1,"index":"x","delta":[]}`, `{"index":1.5}`, `{"index":1e3}`, `{"index":01}`, `{"index":-}`, `{"index":-0}`, `{"index":1 2}`,
	`{"index":999999999999999999}`, `{"index":9223372036854775807}`, `{"index":9223372036854775808}`, `{"index":- 1}`,
	`{"type":nul}`, `{"type":nullx}`, `{"x":tru}`, `{"x":1.5e-3}`, `{"x":"\q"}`, `{"type":"\q"}`, `{"type":"\ud800"}`, "{\"type\":\"\xff\"}",
	"{\"x\":\"\xff\"}", "{\"\xff\":1}", "{\"type\":\"a\nb\"}", `{"type":"a`, `{"type":"a\`, `{"type":"a\"`, `{"type"}`, `{"type":}`,
	`{"type":"a",}`, `{,}`, `{"type":"a"`, `{"type":"a"}}`, `{"type":"a"}x`, `{} {}`, `{}`, ``, ` `, `null`, `[]`, `"x"`, `7`, `{"x":[1,]}`,
	`{"x":[,1]}`, `{"x":[1 2]}`, `{"delta":null,"message":null,"content_block":null,"usage":null}`, `{"type":"ſ","ſtop":1}`,
}

// scansAlike: what the scanner reads is what encoding/json reads.
func scansAlike(t *testing.T, text string) {
	t.Helper()
	var event MessageStreamEvent
	want := json.Unmarshal([]byte(text), &event)
	got, err := readEvent([]byte(text))
	if (err == nil) != (want == nil) || err == nil && !reflect.DeepEqual(got, event) {
		t.Errorf("event %q: %+v %v, not %+v %v", text, got, err, event, want)
	}
	var message Message
	want = json.Unmarshal([]byte(text), &message)
	other, err := readMessage([]byte(text))
	if (err == nil) != (want == nil) || err == nil && !reflect.DeepEqual(other, message) {
		t.Errorf("message %q: %+v %v, not %+v %v", text, other, err, message, want)
	}
}

func TestScanner(t *testing.T) {
	for _, text := range scanned {
		scansAlike(t, text)
	}
	// The usual forms are not left to encoding/json.
	for _, text := range scanned[:13] {
		s, e := scanner{text: []byte(text)}, MessageStreamEvent{}
		if text != scanned[12] && !(s.event(&e) && s.end()) {
			t.Errorf("gave up on %s", text)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, text := range scanned {
		f.Add(text)
	}
	f.Fuzz(scansAlike)
}
