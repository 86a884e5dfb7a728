package revenium

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestShutdown(t *testing.T) {
	inChild(t, func() {
		background := context.Background()
		if err := Shutdown(background); err != nil {
			t.Fatal("nothing to shut down:", err)
		}
		fresh(t)
		if _, err := client.Messages.New(background, ask("starts the library")); err != nil {
			t.Fatal(err)
		}
		stream := client.Messages.NewStreaming(background, ask("x"), planned(t, stalled))
		stream.Next()
		// What the first call started belongs to Init from then on, so that one Shutdown ends it.
		if err := Init(); err != nil {
			t.Fatal(err)
		}
		if err := Init(Config{"max_retries": 1}); !errors.Is(err, ErrAlready) {
			t.Error(err)
		}
		waiting := make(chan error)
		go func() {
			_, err := client.Messages.New(background, ask("x"), planned(t, stalled, stalled))
			waiting <- err
		}()
		waitFor(t, "requests", 3)
		if err := Shutdown(background); err != nil {
			t.Fatal(err)
		}
		if err := stream.lastError(); !errors.Is(err, ErrCancelled) {
			t.Error(err)
		}
		if err := <-waiting; !errors.Is(err, ErrCancelled) {
			t.Error(err)
		}
		waitFor(t, "records", 3)

		for range 2 {
			_, err := client.Messages.New(WithUsageMetadata(background, object{"agent": "a"}), ask("x"))
			if !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "Init") {
				t.Error(err)
			}
		}
		if err := client.Messages.NewStreaming(background, ask("x")).lastError(); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := Status(); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := StatusJSON(); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := Logs(background, slog.LevelInfo); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := Flush(background); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := Shutdown(background); err != nil || IsInitialized() {
			t.Error(err)
		}

		// Each Init wants a Shutdown.
		if err := errors.Join(Init(Config{"max_retries": 1}), Initialize(Config{"max_retries": 1})); err != nil {
			t.Fatal(err)
		}
		if err := Shutdown(background); err != nil {
			t.Fatal(err)
		}
		if message, err := client.Messages.New(background, ask("again")); err != nil || message.Text() != "You said: again" {
			t.Error(err)
		}
		if err := Shutdown(background); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Messages.New(background, ask("x")); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// One run of the library after the other: none is deaf, and none leaves anything behind.
func TestManyRuns(t *testing.T) {
	inChild(t, func() {
		background := context.Background()
		before := runtime.NumGoroutine()
		for i := range 50 {
			if err := Init(Config{"max_retries": i % 3}); err != nil {
				t.Fatal(err)
			}
			lines, cancel := context.WithCancel(background)
			if _, err := Logs(lines, slog.LevelDebug); err != nil {
				t.Fatal(err)
			}
			left := client.Messages.NewStreaming(background, ask("x"), planned(t, stalled))
			left.Next()
			if _, err := client.Messages.New(background, ask("x")); err != nil {
				t.Fatal(err)
			}
			if err := Shutdown(background); err != nil {
				t.Fatal(err)
			}
			if err := left.lastError(); !errors.Is(err, ErrCancelled) {
				t.Fatal(err)
			}
			cancel()
		}
		untilGoroutines(t, before)
	})
}

func TestInit(t *testing.T) {
	inChild(t, func() {
		if err := Init(Config{"no_such_setting": 1}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "no_such_setting") {
			t.Error(err)
		}
		if err := Init(Config{"metadata": func() {}}); !errors.Is(err, ErrConfig) {
			t.Error(err)
		}
		if err := Init(Config{"max_retries": 5}, Config{"max_retries": 0, "metadata": object{"agent": "all"}}); err != nil {
			t.Fatal(err)
		}
		var status struct {
			Settings map[string]any
			Calls    map[string]int
		}
		if err := json.Unmarshal(must(StatusJSON()), &status); err != nil {
			t.Fatal(err)
		}
		if status.Settings["middleware_source"] != middlewareSource || status.Settings["max_retries"] != 0.0 {
			t.Errorf("%v", status.Settings)
		}
		fresh(t)
		if _, err := client.Messages.New(context.Background(), ask("x")); err != nil {
			t.Fatal(err)
		}
		if record := onlyRecord(t); record["agent"] != "all" || record["middlewareSource"] != middlewareSource {
			t.Errorf("%v", record)
		}
		state := must(Status())
		if !state.Initialized || state.CallsStarted != 1 || state.EventsDelivered != 1 || state.EventsDropped != 0 ||
			state.Provider.String() != "anthropic" || state.Metering.String() != "on" {
			t.Errorf("%+v", state)
		}
	})
}

func TestMiddlewareSourceOfTheEnvironment(t *testing.T) {
	inChild(t, func() {
		os.Setenv("REVENIUM_MIDDLEWARE_SOURCE", "own-gateway")
		fresh(t)
		if _, err := client.Messages.New(context.Background(), ask("x")); err != nil {
			t.Fatal(err)
		}
		if record := onlyRecord(t); record["middlewareSource"] != "own-gateway" {
			t.Errorf("%v", record)
		}
	})
}

// A collector that is down costs nothing but the wait of Flush, and Shutdown says what is left.
func TestCollectorDown(t *testing.T) {
	inChild(t, func() {
		sandbox(t, "POST", "plan", object{"path": "/meter/v2/ai/completions", "answers": []any{object{"status": 503}}})
		defer sandbox(t, "DELETE", "plan", nil)
		failures, stop := context.WithCancel(context.Background())
		reports, err := MeteringReports(failures)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Messages.New(context.Background(), ask("x")); err != nil {
			t.Fatal(err)
		}
		if report := <-reports; report.HTTPStatus != 503 || report.Records != 1 || report.Dropped || report.Message == "" {
			t.Errorf("%+v", report)
		}
		short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := Flush(short); !errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		if err := Flush(cancelled); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		stop()
		for range reports { // ends when the subscription has
		}
		if err := Shutdown(short); !errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
	})
}

func TestLogs(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	all, err := Logs(ctx, slog.LevelDebug)
	if err != nil {
		t.Fatal(err)
	}
	errorsOnly, err := Logs(ctx, slog.LevelError)
	if err != nil {
		t.Fatal(err)
	}
	answer := planned(t, object{"status": 529, "headers": object{"retry-after-ms": "1"}}, object{})
	if _, err := client.Messages.New(context.Background(), ask("x"), answer); err != nil {
		t.Fatal(err)
	}
	line := <-all
	for !strings.Contains(line.Text, "529") {
		line = <-all
	}
	if line.Level != slog.LevelDebug {
		t.Errorf("%+v", line)
	}
	cancel()
	for range all {
	}
	for line := range errorsOnly {
		if line.Level < slog.LevelError {
			t.Errorf("%+v", line)
		}
	}
}

func TestLevels(t *testing.T) {
	for level, number := range map[slog.Level]int32{
		slog.LevelError + 4: 1, slog.LevelError: 1, slog.LevelWarn: 2, slog.LevelInfo: 3, slog.LevelInfo + 1: 3, slog.LevelDebug: 4, -100: 4,
	} {
		if got := levelNumber(level); got != number {
			t.Errorf("%v: %d", level, got)
		}
	}
	if line := logLine(9, []byte("x")); line.Level != slog.LevelDebug || line.Text != "x" {
		t.Errorf("%+v", line)
	}
	// A reader that does not read loses lines, and holds up nobody.
	var full hub[int]
	full.subs = map[int]subscriber[int]{0: {make(chan int, 1), func(int) bool { return true }, 0}}
	full.publish(1)
	full.publish(2)
	if got := <-full.subs[0].notices; got != 1 {
		t.Error(got)
	}
}

// The call that reads its result itself is ended like any other.
func TestShutdownOfTheOnlyCall(t *testing.T) {
	inChild(t, func() {
		background, goroutines := context.Background(), 0
		for run := range 3 {
			if run == 1 {
				goroutines = runtime.NumGoroutine()
			}
			if err := Init(); err != nil {
				t.Fatal(err)
			}
			for range turns {
				if _, err := client.Messages.New(background, ask("in turn")); err != nil {
					t.Fatal(err)
				}
			}
			fresh(t)
			answer := planned(t, stalled)
			waiting := make(chan error)
			go func() {
				_, err := client.Messages.New(background, ask("x"), answer)
				waiting <- err
			}()
			waitFor(t, "requests", 1)
			if err := Shutdown(background); err != nil {
				t.Fatal(err)
			}
			if err := <-waiting; !errors.Is(err, ErrCancelled) {
				t.Error(err)
			}
		}
		untilGoroutines(t, goroutines)
	})
}

func TestFailuresLeaveNoHandle(t *testing.T) {
	inChild(t, func() {
		if _, err := started(); err != nil {
			t.Fatal(err)
		}
		first := must(nativeQueueNew())
		nativeRelease(first)
		_, scopeErr := nativeScopeNew(first, nil, 0)
		_, submitErr := nativeSubmit([]byte("{}"), scopeNone, first, 1)
		last := must(nativeQueueNew())
		nativeRelease(last)
		if err := Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		_, queueErr := nativeQueueNew()
		for _, err := range []error{scopeErr, submitErr, queueErr} {
			var failure *Error
			if !errors.As(err, &failure) || failure.Message == "" || strings.HasPrefix(failure.Message, "HANDLE") {
				t.Errorf("no sentence: %v", err)
			}
		}
		if last-first != 3 {
			t.Fatalf("%d handles were given out", last-first)
		}
		for h := first; h < last+2; h++ {
			if nativeResult(h, ErrHandle).info != nil {
				t.Errorf("handle %d is still there", h-first)
			}
		}
	})
}
