//go:build cgo

package revenium

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"time"
)

const (
	middlewareSource = "revenium-anthropic-go"
	// defaultWait bounds Flush and Shutdown where the context has no deadline.
	defaultWait = 5 * time.Second
	// flushSlice is how long a Flush may take to notice that its context was cancelled.
	flushSlice = 50 * time.Millisecond
)

// Config holds settings by their JSON keys; docs/settings.md of librevenium lists them. A setting given here wins over the
// environment. An unknown key is an error.
type Config map[string]any

// Version is that of the loaded library, such as "0.1.0".
func Version() string { return nativeVersion() }

// ABIVersion is that of the loaded library's C interface.
func ABIVersion() int { return int(nativeABIVersion()) }

// Init starts the library. It is optional: the first call starts it from the environment.
//
// It opens no connection and starts no thread. A missing Revenium key is no error: calls work, unmetered. Each Init that
// succeeds wants one Shutdown. With the settings that are in force it just counts; with others it is ErrAlready.
func Init(config ...Config) error {
	if err := checkABI(); err != nil {
		return err
	}
	settings, err := configOf(config)
	if err != nil {
		return err
	}
	library.mu.Lock()
	defer library.mu.Unlock()
	state, code := nativeStatus()
	ran := code >= 0 && state.Initialized
	if err := nativeInit(settings); err != nil {
		return err
	}
	if library.implicit {
		// What the first call started belongs to whoever says so now.
		library.inits, library.implicit = library.inits-1, false
		if ran {
			nativeShutdown(0)
		}
	}
	library.inits++
	_, err = dispatching()
	return err
}

// Initialize is Init, by the name it has in Revenium's Go SDK.
func Initialize(config ...Config) error { return Init(config...) }

func configOf(configs []Config) ([]byte, error) {
	all := Config{}
	if os.Getenv("REVENIUM_MIDDLEWARE_SOURCE") == "" {
		all["middleware_source"] = middlewareSource
	}
	for _, config := range configs {
		maps.Copy(all, config)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, &Error{Code: ErrConfig, Message: "The settings are not JSON: " + err.Error() + "."}
	}
	return text, nil
}

// Flush waits until every usage record known now is delivered or given up, until the context ends, or for five seconds
// if it has no deadline. ErrTimeout: some are still pending; they stay queued.
func Flush(ctx context.Context) error {
	if err := checkABI(); err != nil {
		return err
	}
	deadline := time.Now().Add(timeLeft(ctx, defaultWait))
	for {
		left := time.Until(deadline)
		code := nativeFlush(int32(max(0, min(left, flushSlice)).Milliseconds()))
		switch {
		case code >= 0:
			return nil
		case code != ErrTimeout:
			return &Error{Code: code}
		case context.Cause(ctx) != nil && ctx.Err() != context.DeadlineExceeded:
			return ctx.Err()
		case left <= 0:
			return &Error{Code: code, Message: "Some usage records are still pending; they stay queued."}
		}
	}
}

// Shutdown undoes one Init, or the start by the first call. The last one cancels the calls under way, delivers what is
// pending until the context's deadline, or for five seconds if it has none, and stops the library's threads. Afterwards
// calls fail with ErrClosed until the next Init. Without a start it does nothing.
//
// A Go program that ends without it delivers nothing more by itself: os.Exit, log.Fatal and a return from main run no
// exit handlers of C. What was not sent lies in the spool, where there is one, for the next run. So put
//
//	defer revenium.Shutdown(context.Background())
//
// into main, and call it before os.Exit.
func Shutdown(ctx context.Context) error {
	if err := checkABI(); err != nil {
		return err
	}
	library.mu.Lock()
	if library.inits == 0 {
		library.mu.Unlock()
		return nil
	}
	d := library.d
	library.inits--
	if library.inits == 0 {
		library.implicit = false
		library.d = nil // the next run has its own
		library.running.Store(nil)
	}
	library.mu.Unlock()

	done := make(chan Code, 1)
	timeout := int32(min(timeLeft(ctx, defaultWait), 24*time.Hour).Milliseconds())
	go func() {
		code := nativeShutdown(timeout)
		if _, now := nativeStatus(); now == ErrClosed && d != nil {
			d.stop()
		}
		done <- code
	}()
	cancelled := ctx.Done()
	if _, ok := ctx.Deadline(); ok && ctx.Err() != context.Canceled {
		cancelled = nil // the library keeps the deadline itself, and says what is left
	}
	select {
	case code := <-done:
		if code == ErrTimeout {
			return &Error{Code: code, Message: "Some usage records could not be delivered in time; with a spool they wait there for the next run, without one they are lost."}
		}
		if code < 0 {
			return &Error{Code: code}
		}
		return nil
	case <-cancelled:
		return ctx.Err()
	}
}
