//go:build cgo

package revenium

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readBuffer takes the frames of one read; a frame that is larger gets a buffer of its own.
	readBuffer = 256 << 10
	// aloneBuffer is the same where a read brings one result.
	aloneBuffer = 16 << 10
	// turns are how many calls in turn come before one that counts as alone: the first of many at once finds no other either.
	turns = 8
	// maxUnread bytes of one call's events lie here before the call is paused. Its reader takes all, and resumes it.
	maxUnread = 256 << 10
	// submitting calls at a time. A goroutine inside C holds an OS thread, and thousands may want to start a call at once.
	submitting = 8
	// hasWake: there is a descriptor that the netpoller takes. On Windows it takes no socket that Go has not made.
	hasWake = runtime.GOOS != "windows"
	// blindWaitMS is how long a read waits where there is no descriptor to wait on.
	blindWaitMS = 1000
)

// dispatcher is everything asynchronous in this package: one queue, one goroutine that hands its frames to the calls.
// It parks in the netpoller, so however many calls are in flight, no thread waits; but see alone.
type dispatcher struct {
	queue handle
	wake  *os.File // nil where the platform has none
	gate  chan struct{}
	next  atomic.Uint64

	mu     sync.Mutex
	calls  map[uint64]*call
	inTurn int // the latest calls that each found no other in flight

	alone alone
}

// alone is for a call that is waited for, where calls are made one after the other: its goroutine reads a queue of its own,
// in C. That spares it the netpoller and the dispatcher, which cost more than the rest of the binding, and takes one
// thread in all.
type alone struct {
	taken  sync.Mutex // held by the call
	queue  handle
	buffer []byte
}

// call is one call under way: where the dispatcher puts what arrives, and its one reader takes it.
type call struct {
	changed chan struct{}
	unwatch func() bool // stops watching the context
	alone   *dispatcher // whose alone it has taken, nil if it has not

	mu        sync.Mutex
	handle    handle
	cancelled bool
	unread    bool // nobody reads the events
	head      []byte
	events    []event
	bytes     int // of the events
	paused    bool
	result    *result
}

// event is one event of a stream, as the provider sent it.
type event struct {
	kind int32
	json []byte
}

func newDispatcher() (*dispatcher, error) {
	queue, err := nativeQueueNew()
	if err != nil {
		return nil, err
	}
	d := &dispatcher{queue: queue, gate: make(chan struct{}, submitting), calls: map[uint64]*call{}}
	if d.alone.queue, err = nativeQueueNew(); err != nil {
		nativeRelease(queue)
		return nil, err
	}
	d.alone.buffer = make([]byte, aloneBuffer)
	if hasWake {
		fd, code := nativeQueueWakeFD(queue)
		if code < 0 {
			nativeRelease(queue)
			nativeRelease(d.alone.queue)
			return nil, &Error{Code: code, Message: "No wake descriptor."}
		}
		d.wake = os.NewFile(fd, "revenium wake")
	}
	go d.run()
	return d, nil
}

// run is the dispatcher's goroutine. It lives until the library is shut down.
func (d *dispatcher) run() {
	buffer, skipped := make([]byte, readBuffer), make([]byte, 64)
	wait := int32(0)
	for {
		if d.wake == nil {
			wait = blindWaitMS
		} else if wait == 0 {
			if _, err := d.wake.Read(skipped); err != nil {
				wait = blindWaitMS
			}
		}
		if code := d.drain(buffer, wait); code < 0 {
			d.end()
			return
		}
	}
}

// drain delivers all that is there. An error: the library was shut down, and nothing comes any more.
func (d *dispatcher) drain(buffer []byte, waitMS int32) Code {
	for {
		if code := d.read(d.queue, buffer, waitMS); code != codeOK {
			return code
		}
	}
}

// read delivers what one read of the queue brings.
func (d *dispatcher) read(queue handle, buffer []byte, waitMS int32) Code {
	used, code := nativeQueueRead(queue, buffer, waitMS)
	if code == codeBuffer {
		buffer = make([]byte, used)
		used, code = nativeQueueRead(queue, buffer, 0)
	}
	d.deliver(buffer[:used])
	return code
}

// stop makes the dispatcher look whether it is over.
func (d *dispatcher) stop() {
	if d.wake != nil {
		d.wake.Close()
	}
}

// end leaves nothing behind: no queue, and no call that waits.
func (d *dispatcher) end() {
	library.mu.Lock()
	if library.d == d {
		library.d = nil
	}
	library.running.CompareAndSwap(d, nil)
	library.mu.Unlock()
	d.mu.Lock()
	left := d.calls
	d.calls = map[uint64]*call{}
	d.mu.Unlock()
	for _, c := range left {
		c.end(&result{code: ErrCancelled, message: "The library was shut down."})
	}
	nativeRelease(d.queue)
	d.alone.taken.Lock() // for good
	nativeRelease(d.alone.queue)
	d.stop()
}

// deliver hands frames to their calls. It never waits for a reader.
func (d *dispatcher) deliver(frames []byte) {
	for len(frames) > 0 {
		var f frame
		f, frames = frameOf(frames)
		switch f.kind {
		case frameLog:
			logs.publish(logLine(f.code, f.body))
		case frameMetering:
			reports.publish(meteringReport(f.body))
		case frameResult:
			// All that the result has to tell is copied here, so its handle can go at once, whether or not anybody reads.
			r := nativeResult(f.call, Code(f.code))
			r.json = clone(f.body)
			nativeRelease(f.call)
			if c := d.forget(f.tag); c != nil {
				c.end(&r)
			}
		case frameHead:
			if c := d.known(f.tag); c != nil {
				c.put(func() { c.head = clone(f.body) })
			}
		case frameEvent:
			// Those that arrived together wake their reader once.
			events, call := []event{{f.code, f.body}}, f.call
			for len(frames) > 0 {
				next, rest := frameOf(frames)
				if next.kind != frameEvent || next.tag != f.tag {
					break
				}
				events, frames = append(events, event{next.code, next.body}), rest
			}
			if c := d.known(f.tag); c != nil {
				c.put(func() { c.add(call, events) })
			}
		}
	}
}

// known is the call of this tag, nil if it has ended.
func (d *dispatcher) known(tag uint64) *call {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[tag]
}

// forget is the same for the last time.
func (d *dispatcher) forget(tag uint64) *call {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.calls[tag]
	delete(d.calls, tag)
	return c
}

// begin starts a call. wantsEvents: somebody will read its events; otherwise the caller has to wait for its result.
func (d *dispatcher) begin(ctx context.Context, request []byte, s *scope, wantsEvents bool) (*call, error) {
	scope, err := s.open()
	if err != nil {
		return nil, err
	}
	if scope != scopeNone {
		defer nativeRelease(scope)
	}
	return d.submit(ctx, wantsEvents, func(queue handle, tag uint64) (handle, error) {
		return nativeSubmit(request, scope, queue, tag)
	})
}

// submit starts a call by the function that tells the library of it.
func (d *dispatcher) submit(ctx context.Context, wantsEvents bool, native func(queue handle, tag uint64) (handle, error)) (*call, error) {
	tag := d.next.Add(1)
	c := &call{changed: make(chan struct{}, 1), unread: !wantsEvents}
	_, limited := ctx.Deadline()
	c.unwatch = context.AfterFunc(ctx, func() {
		// At its deadline the call ends by itself, as timed out rather than cancelled.
		if !limited || ctx.Err() != context.DeadlineExceeded {
			c.cancel()
		}
	})
	d.mu.Lock()
	d.calls[tag] = c
	if len(d.calls) == 1 {
		d.inTurn++
	} else {
		d.inTurn = 0
	}
	isAlone := d.inTurn > turns && !wantsEvents && d.alone.taken.TryLock()
	d.mu.Unlock()
	queue := d.queue
	if isAlone {
		c.alone, queue = d, d.alone.queue
	}

	d.gate <- struct{}{}
	h, err := native(queue, tag)
	<-d.gate

	if err != nil {
		c.leave()
		c.unwatch()
		d.mu.Lock()
		delete(d.calls, tag)
		d.mu.Unlock()
		return nil, err
	}
	c.mu.Lock()
	c.handle = h
	cancelled := c.cancelled
	c.mu.Unlock()
	if cancelled {
		nativeCancel(h)
	}
	return c, nil
}

// add keeps events, which lie in the dispatcher's buffer, for the reader. Called with the lock held.
// Handle h is the call's, which the call itself may not know yet.
func (c *call) add(h handle, events []event) {
	if c.unread {
		return
	}
	for i := range events {
		events[i].json = clone(events[i].json)
		c.bytes += len(events[i].json)
	}
	c.events = append(c.events, events...)
	if c.bytes > maxUnread && !c.paused {
		c.paused, c.handle = true, h
		nativePause(h)
	}
}

// take gives the reader what has arrived. Called with the lock held.
func (c *call) take() []event {
	events := c.events
	c.events, c.bytes = nil, 0
	if c.paused {
		c.paused = false
		nativeResume(c.handle)
	}
	return events
}

// put changes the call and wakes its reader.
func (c *call) put(change func()) {
	c.mu.Lock()
	change()
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *call) end(r *result) {
	c.unwatch()
	c.put(func() { c.result = r })
}

// cancel asks the call to end. It still reports its result.
func (c *call) cancel() {
	c.mu.Lock()
	c.cancelled = true
	h := c.handle
	c.mu.Unlock()
	if h != 0 {
		nativeCancel(h) // a call that has ended is a stale handle, which is no harm
	}
}

func (c *call) isRunning() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result == nil
}

// abandon tells that nobody reads any more.
func (c *call) abandon() {
	c.mu.Lock()
	c.unread = true
	c.take()
	c.mu.Unlock()
}

// await waits until ready says so, with the lock held, or the context ends.
func (c *call) await(ctx context.Context, ready func() bool) error {
	for {
		c.mu.Lock()
		ok := ready()
		c.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-c.changed:
		case <-ctx.Done():
			c.abandon()
			return ctx.Err()
		}
	}
}

// leave gives back what the call had taken for itself.
func (c *call) leave() {
	if c.alone != nil {
		c.alone.alone.taken.Unlock()
		c.alone = nil
	}
}

// wait is the call's result.
func (c *call) wait(ctx context.Context) (r *result, err error) {
	if d := c.alone; d != nil {
		for c.isRunning() && d.read(d.alone.queue, d.alone.buffer, blindWaitMS) >= 0 {
		}
		c.leave()
	}
	err = c.await(ctx, func() bool {
		r = c.result
		return r != nil
	})
	if err == nil && (r.code == ErrCancelled || r.code == ErrTimeout) && ctx.Err() != nil {
		return nil, ctx.Err() // which is what ended the call
	}
	return r, err
}

// nextEvents is what has arrived since the last time, at least one event; or, when all are read, the result.
func (c *call) nextEvents(ctx context.Context) (events []event, end *result, err error) {
	err = c.await(ctx, func() bool {
		events = c.take()
		if len(events) == 0 {
			end = c.result
		}
		return len(events) > 0 || end != nil
	})
	return events, end, err
}

// answered waits for the head of the provider's answer to a stream. nil: the call ended without one.
func (c *call) answered(ctx context.Context) (head []byte, err error) {
	err = c.await(ctx, func() bool {
		head = c.head
		return head != nil || c.result != nil
	})
	return head, err
}

func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// ---- one library for the process ----

var library struct {
	mu sync.Mutex
	// inits are those that Shutdown has to undo; implicit: one of them was made by the first call.
	inits    int
	implicit bool
	d        *dispatcher // of this run of the library

	// running is d while calls may simply go on.
	running atomic.Pointer[dispatcher]
}

var checkABI = sync.OnceValue(func() error { return abiError(nativeABIVersion()) })

// abiError refuses a library that this binding was not made for.
func abiError(loaded uint32) error {
	if loaded == abiVersion {
		return nil
	}
	return &Error{Code: ErrUnsupported, Message: fmt.Sprintf(
		"This binding was made for ABI %d of librevenium, but the library that was loaded has ABI %d (version %s).",
		abiVersion, loaded, nativeVersion())}
}

// started is the dispatcher, after the library was started where nobody had done so.
func started() (*dispatcher, error) {
	if d := library.running.Load(); d != nil {
		return d, nil
	}
	if err := checkABI(); err != nil {
		return nil, err
	}
	library.mu.Lock()
	defer library.mu.Unlock()
	switch state, code := nativeStatus(); {
	case code == ErrClosed:
		return nil, &Error{Code: ErrClosed, Message: "The library was shut down; Init starts it again."}
	case code < 0 || !state.Initialized:
		config, err := configOf(nil)
		if err != nil {
			return nil, err
		}
		if err := nativeInit(config); err != nil {
			return nil, err
		}
		library.inits, library.implicit = 1, true
	}
	return dispatching()
}

// dispatching makes the dispatcher once and opens the fast path to it. Called with the lock held.
func dispatching() (*dispatcher, error) {
	if library.d == nil {
		d, err := newDispatcher()
		if err != nil {
			return nil, err
		}
		library.d = d
		if err := retune(d); err != nil {
			return nil, err
		}
	}
	library.running.Store(library.d)
	return library.d, nil
}

// timeLeft is the context's deadline from now on, or otherwise.
func timeLeft(ctx context.Context, otherwise time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(0, time.Until(deadline))
	}
	return otherwise
}
