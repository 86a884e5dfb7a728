package revenium

import (
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const maxThreads = 256

// threads are the OS threads of this process.
func threads(t *testing.T) int { return len(must(os.ReadDir("/proc/self/task"))) }

// resident is the process's memory in KiB.
func resident(t *testing.T) int {
	_, rest, _ := strings.Cut(read(t, "/proc/self/status"), "VmRSS:")
	return must(strconv.Atoi(strings.Fields(rest)[0]))
}

// goMemory is what Go's heap and stacks take, in KiB.
func goMemory() int {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapInuse+stats.StackInuse) / 1024
}

func TestManyCallsInFlight(t *testing.T) {
	inChild(t, func() {
		count := 10_000
		if raced {
			count = 4_000
		}
		if err := Init(Config{"max_in_flight": count}); err != nil {
			t.Fatal(err)
		}
		background := context.Background()
		if _, err := client.Messages.New(background, ask("first")); err != nil {
			t.Fatal(err)
		}
		before, ours, goroutines := resident(t), goMemory(), runtime.NumGoroutine()

		// Streams that have begun and then stay silent: all of them are in flight until they are closed.
		var opened, ended sync.WaitGroup
		release := make(chan struct{})
		answer := planned(t, object{"end": "stall", "reply": "hello"})
		for range count {
			opened.Add(1)
			ended.Add(1)
			go func() {
				defer ended.Done()
				stream := client.Messages.NewStreaming(background, ask("x"), answer)
				for stream.Next() && stream.Current().Delta.Type == "" {
				}
				if stream.Err() != nil {
					t.Error(stream.Err())
				}
				opened.Done()
				<-release
				stream.Close()
			}()
		}
		opened.Wait()
		if state := must(Status()); state.CallsInFlight != int64(count) {
			t.Errorf("%d calls in flight", state.CallsInFlight)
		}
		if _, err := client.Messages.New(background, ask("one too many")); !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		most := threads(t)
		each := func(kib int) float64 { return float64(kib) / float64(count) }
		report("%d streams in flight: %d threads, %d MiB more resident memory (%.1f KiB each, of which %.1f KiB are Go's)",
			count, most, (resident(t)-before)/1024, each(resident(t)-before), each(goMemory()-ours))
		close(release)
		ended.Wait()
		untilIdle(t)

		// The same number of calls that all end with a reply, each awaited by a goroutine.
		var done sync.WaitGroup
		late := planned(t, object{"delay_ms": 1000}, object{"delay_ms": 1000})
		for range count {
			done.Add(1)
			go func() {
				defer done.Done()
				message, err := client.Messages.New(background, ask("x"), late)
				if err != nil || message.Text() != "You said: x" {
					t.Error(message, err)
				}
			}()
		}
		most = max(most, threads(t))
		inFlight := must(Status()).CallsInFlight
		all := make(chan struct{})
		go func() { done.Wait(); close(all) }()
		for waiting := true; waiting; {
			select {
			case <-all:
				waiting = false
			case <-time.After(10 * time.Millisecond):
				inFlight = max(inFlight, must(Status()).CallsInFlight)
				most = max(most, threads(t))
			}
		}
		report("%d replies awaited, up to %d in flight at a time: %d threads at most", count, inFlight, most)
		if most >= maxThreads {
			t.Errorf("%d threads", most)
		}
		if err := Flush(must2(context.WithTimeout(background, time.Minute))); err != nil {
			t.Error(err)
		}
		if state := must(Status()); state.EventsDropped != 0 || state.EventsDelivered != int64(2*count+1) {
			t.Errorf("%+v", state)
		}
		untilGoroutines(t, goroutines)
	})
}

func must2[T any](value T, _ context.CancelFunc) T { return value }

// untilGoroutines waits until there are no more than that; the test's timeout is the limit.
func untilGoroutines(t *testing.T, n int) {
	t.Helper()
	for range 10_000 {
		if runtime.NumGoroutine() <= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	buffer := make([]byte, 1<<16)
	t.Errorf("%d goroutines, were %d\n%s", runtime.NumGoroutine(), n, buffer[:runtime.Stack(buffer, true)])
}

func TestNoLeak(t *testing.T) {
	inChild(t, func() {
		rounds := 10_000
		if raced {
			rounds = 2_000
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ctx = WithUsageMetadata(WithMeter(ctx), object{"organizationName": "Acme"})
		unreachable := WithBaseURL("http://127.0.0.1:9")
		turn := func(i int) {
			inner := WithUsageMetadata(ctx, object{"traceId": strconv.Itoa(i)})
			var err error
			switch i % 4 {
			case 0:
				_, err = client.Messages.New(inner, ask("x"))
			case 1:
				_, err = client.Messages.NewStreaming(inner, ask("x")).Message()
			case 2:
				for range client.Messages.NewStreaming(inner, ask("x")).All() {
					break
				}
			case 3:
				if _, err := client.Messages.New(inner, ask("x"), unreachable, WithMaxRetries(0)); !errors.Is(err, ErrConnection) {
					t.Error(err)
				}
			}
			if err != nil {
				t.Error(err)
			}
		}
		settled := func() int {
			untilIdle(t)
			if err := Flush(must2(context.WithTimeout(ctx, time.Minute))); err != nil {
				t.Error(err)
			}
			debug.FreeOSMemory()
			return resident(t)
		}
		turn(0)
		goroutines := runtime.NumGoroutine()
		for i := range rounds / 4 {
			turn(i)
		}
		warm := settled()
		for i := range rounds {
			turn(i)
		}
		after := settled()
		report("%d more calls: %d KiB more resident memory, %d KiB in all", rounds, after-warm, after)
		// Half a kilobyte a call would be a leak; allocators alone move a few megabytes.
		if !raced && after-warm > 5*1024 {
			t.Errorf("%d KiB more after %d calls", after-warm, rounds)
		}
		untilGoroutines(t, goroutines)
		d := must(started())
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.calls) != 0 {
			t.Errorf("%d calls are still known", len(d.calls))
		}
	})
}
