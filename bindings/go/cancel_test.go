package revenium

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// stalled is an answer that never comes, or a stream that stays silent after its deltas.
var stalled = object{"end": "stall"}

// waitFor lets the sandbox wait until a counter is at least so high.
func waitFor(t *testing.T, counter string, n int) {
	t.Helper()
	sandbox(t, "GET", fmt.Sprintf("wait?%s=%d&timeout_ms=60000", counter, n), nil)
}

func TestCancel(t *testing.T) {
	for name, call := range map[string]func(context.Context, Option) error{
		"new": func(ctx context.Context, answer Option) error {
			_, err := client.Messages.New(ctx, ask("x"), answer)
			return err
		},
		"stream": func(ctx context.Context, answer Option) error {
			return client.Messages.NewStreaming(ctx, ask("x"), answer).lastError()
		},
	} {
		t.Run(name, func(t *testing.T) {
			fresh(t)
			ctx, cancel := context.WithCancel(context.Background())
			answer := planned(t, stalled)
			failed := make(chan error)
			go func() { failed <- call(ctx, answer) }()
			waitFor(t, "requests", 1)
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			untilIdle(t)
			if record := onlyRecord(t); record["stopReason"] != "CANCELLED" {
				t.Errorf("%v", record)
			}

			fresh(t)
			ctx, cancel = context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			if err := call(ctx, answer); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			untilIdle(t)
			// The engine knew the deadline, and ended the call by it.
			if record := onlyRecord(t); record["stopReason"] != "ERROR" || record["errorReason"] != "APITimeoutError" {
				t.Errorf("%v", record)
			}

			// The timeout of one call is told apart from the context's.
			err := call(context.Background(), func(c *choices) { answer(c); WithRequestTimeout(20 * time.Millisecond)(c) })
			if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}

			// A context that has ended starts nothing.
			fresh(t)
			if err := call(ctx, answer); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if n := len(requests(t)); n != 0 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// untilIdle waits until every call has ended.
func untilIdle(t *testing.T) {
	t.Helper()
	for {
		if must(Status()).CallsInFlight == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestLeavingAStream(t *testing.T) {
	slow := object{"deltas": 50, "gap_ms": 5}
	for name, leave := range map[string]func(*Stream[MessageStreamEvent]){
		"break": func(s *Stream[MessageStreamEvent]) {
			for event, err := range s.All() {
				if err != nil || event.Text() != "" {
					break
				}
			}
		},
		"close": func(s *Stream[MessageStreamEvent]) {
			s.Next()
			s.Close()
		},
		"close from elsewhere": func(s *Stream[MessageStreamEvent]) {
			var closed sync.WaitGroup
			closed.Add(1)
			first := make(chan bool)
			go func() {
				defer closed.Done()
				<-first
				s.Close()
			}()
			s.Next()
			close(first)
			for s.Next() {
			}
			closed.Wait()
		},
		"close at once": func(s *Stream[MessageStreamEvent]) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			fresh(t)
			stream := client.Messages.NewStreaming(context.Background(), ask("x"), planned(t, slow))
			leave(stream)
			if stream.Next() || stream.Err() != nil || stream.Close() != nil {
				t.Errorf("%v", stream.Err())
			}
			if _, err := stream.Message(); !errors.Is(err, ErrCancelled) {
				t.Error(err)
			}
			untilIdle(t)
			all := records(t)
			if name == "close at once" && len(all) == 0 {
				return // cancelled before anything was sent
			}
			if len(all) != 1 || all[0]["stopReason"] != "CANCELLED" {
				t.Errorf("%v", all)
			}
		})
	}
}

// A reader that does not read holds up nobody else.
func TestSlowReader(t *testing.T) {
	big := planned(t, object{"deltas": 3000, "delta_bytes": 1000, "burst": true})
	slow := client.Messages.NewStreaming(context.Background(), ask("x"), big)
	defer slow.Close()
	for range 20 {
		if _, err := client.Messages.New(context.Background(), ask("quick")); err != nil {
			t.Fatal(err)
		}
	}
	message, err := slow.Message()
	if err != nil || len(message.Text()) != 3000*1000 {
		t.Error(err)
	}
	// One event larger than the dispatcher's buffer, and a reply.
	huge := planned(t, object{"delta_bytes": 1 << 20, "deltas": 1}, object{})
	message, err = client.Messages.NewStreaming(context.Background(), ask("x"), huge).Message()
	if err != nil || len(message.Text()) != 1<<20 {
		t.Error(err)
	}
}

func TestDispatcherWithoutWakeDescriptor(t *testing.T) {
	inChild(t, func() {
		d := must(started())
		blind := must(newDispatcher())
		blind.wake.Close() // its reads fail from now on, and it reads the queue itself
		if blind.queue == d.queue {
			t.Fatal("one queue for both")
		}
		for range 3 {
			request := must(requestOf(context.Background(), ask("blind"), false))
			c := must(blind.begin(context.Background(), request, nil, false))
			if r := must(c.wait(context.Background())); r.code != codeOK {
				t.Error(newError(r))
			}
		}
	})
}

func TestNobodyListens(t *testing.T) {
	if os.Getenv("SANDBOX_URL") == "" {
		t.Fatal("no sandbox")
	}
	// Streams that are dropped without Close end by themselves and leave nothing behind.
	d := must(started())
	for range 50 {
		client.Messages.NewStreaming(context.Background(), ask("dropped"))
	}
	untilForgotten(d)
}

// untilForgotten waits until every call has ended, for the dispatcher too.
func untilForgotten(d *dispatcher) {
	for {
		d.mu.Lock()
		left := len(d.calls)
		d.mu.Unlock()
		if left == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// A call that has the library to itself takes another way than those beside it.
func TestAloneAndBeside(t *testing.T) {
	fresh(t)
	d := must(started())
	untilForgotten(d)
	inTurn := func() {
		for range turns {
			if _, err := client.Messages.New(context.Background(), ask("in turn")); err != nil {
				t.Error(err)
			}
		}
		fresh(t)
	}
	inTurn()
	ctx, cancel := context.WithCancel(context.Background())
	answer := planned(t, stalled)
	failed := make(chan error)
	go func() {
		_, err := client.Messages.New(ctx, ask("x"), answer)
		failed <- err
	}()
	waitFor(t, "requests", 1)
	if d.alone.taken.TryLock() {
		t.Error("the first call did not take it")
	}
	for range 3 {
		if _, err := client.Messages.New(context.Background(), ask("beside")); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-failed; err != context.Canceled {
		t.Error(err)
	}
	d.alone.taken.Lock() // it was given back
	if _, err := client.Messages.New(context.Background(), ask("taken")); err != nil {
		t.Error(err)
	}
	d.alone.taken.Unlock()
	inTurn()
	// A call that cannot begin keeps nothing.
	if _, err := client.Messages.New(context.Background(), "no object"); !errors.Is(err, ErrJSON) {
		t.Error(err)
	}
	if !d.alone.taken.TryLock() {
		t.Fatal("it was not given back")
	}
	d.alone.taken.Unlock()
	inTurn()
	// A reply that its buffer does not take.
	large := planned(t, object{"reply": strings.Repeat("x", 2*aloneBuffer)})
	message, err := client.Messages.New(context.Background(), ask("large"), large)
	if err != nil || len(message.Text()) != 2*aloneBuffer {
		t.Error(err)
	}
}
