package revenium

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The tests run beside a sandbox; where there is none yet, in a fresh one.
func TestMain(m *testing.M) {
	if os.Getenv("SANDBOX_URL") != "" {
		os.Exit(m.Run())
	}
	again := exec.Command("../../tests/with_sandbox.sh", os.Args...)
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	var exit *exec.ExitError
	if err := again.Run(); errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "the tests need the sandbox; build it with `make build`:", err)
		os.Exit(1)
	}
}

const childVariable = "REVENIUM_TEST_CHILD"

// inChild runs the test in a process of its own, because it starts or ends the library, or measures the process.
func inChild(t *testing.T, test func()) {
	t.Helper()
	if os.Getenv(childVariable) == t.Name() {
		test()
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=300s")
	child.Env = append(os.Environ(), childVariable+"="+t.Name(), "REVENIUM_SPOOL_DIR="+t.TempDir())
	out, err := child.CombinedOutput()
	for _, line := range strings.Split(string(out), "\n") {
		if text, found := strings.CutPrefix(line, "REPORT "); found {
			t.Log(text)
		}
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// report is a line that the parent of a child process logs. The race detector's own memory is of no interest.
func report(format string, values ...any) {
	if !raced {
		fmt.Printf("\nREPORT "+format+"\n", values...)
	}
}

func sandbox(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, _ := http.NewRequest(method, os.Getenv("SANDBOX_URL")+"/sandbox/"+path, bytes.NewReader(text))
	request.Close = true // a kept connection is two goroutines, and they are counted
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, path, response.Status, answer, err)
	}
	return answer
}

// planned makes the sandbox answer so, in this order and the last one for ever, and gives the option that leads there.
func planned(t *testing.T, answers ...any) Option {
	t.Helper()
	base := "/" + strings.ReplaceAll(t.Name(), "/", "_") + fmt.Sprint(len(answers))
	sandbox(t, "POST", "plan", map[string]any{"path": base + "/v1/messages", "answers": answers})
	return WithBaseURL(os.Getenv("SANDBOX_URL") + base)
}

type object = map[string]any

// fresh forgets what arrived before the test.
func fresh(t *testing.T) {
	t.Helper()
	if err := Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	sandbox(t, "DELETE", "records", nil)
	sandbox(t, "DELETE", "requests", nil)
}

// records are the bodies of those that arrived since fresh.
func records(t *testing.T) []object {
	t.Helper()
	if err := Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	var records []struct{ Body object }
	if err := json.Unmarshal(sandbox(t, "GET", "records", nil), &records); err != nil {
		t.Fatal(err)
	}
	bodies := make([]object, len(records))
	for i, record := range records {
		bodies[i] = record.Body
	}
	return bodies
}

// onlyRecord is the one that must have arrived.
func onlyRecord(t *testing.T) object {
	t.Helper()
	all := records(t)
	if len(all) != 1 {
		t.Fatalf("%d records, want 1: %v", len(all), all)
	}
	return all[0]
}

type sentRequest struct {
	Path, Query, Raw string
	Headers          map[string]string
	Body             object
}

func requests(t *testing.T) []sentRequest {
	t.Helper()
	var requests []sentRequest
	if err := json.Unmarshal(sandbox(t, "GET", "requests", nil), &requests); err != nil {
		t.Fatal(err)
	}
	return requests
}

func ask(text string) MessageNewParams {
	return MessageNewParams{
		Model: "claude-sonnet-5-5", MaxTokens: 100, Messages: []MessageParam{NewUserMessage(NewTextBlock(text))},
	}
}

// sse is an answer that streams these events.
func sse(events ...string) object {
	chunks := make([]string, len(events))
	for i, event := range events {
		var typed struct{ Type string }
		_ = json.Unmarshal([]byte(event), &typed)
		chunks[i] = "event: " + typed.Type + "\ndata: " + event + "\n\n"
	}
	return object{"headers": object{"content-type": "text/event-stream"}, "chunks": chunks}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
