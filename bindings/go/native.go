package revenium

// This is the only file that calls C: one small function for each function of the header, and nothing else.

// #include "revenium.h"
import "C"

import (
	"bytes"
	"strings"
	"unsafe"
)

// handle is a number that stands for a thing of the library; 0 for none.
type handle uint64

const (
	abiVersion          = uint32(C.REVENIUM_ABI_VERSION)
	scopeNone    handle = C.REVENIUM_SCOPE_NONE
	scopeMeter   uint32 = C.REVENIUM_SCOPE_METER
	scopeBeneath uint32 = C.REVENIUM_SCOPE_BENEATH

	topicLog      uint32 = C.REVENIUM_TOPIC_LOG
	topicMetering uint32 = C.REVENIUM_TOPIC_METERING

	frameEvent    int32 = C.REVENIUM_FRAME_EVENT
	frameResult   int32 = C.REVENIUM_FRAME_RESULT
	frameLog      int32 = C.REVENIUM_FRAME_LOG
	frameMetering int32 = C.REVENIUM_FRAME_METERING
	frameHead     int32 = C.REVENIUM_FRAME_HEAD
)

// result is what a result handle told, copied out of it.
type result struct {
	code Code
	json []byte
	info []byte
	// Of a call that failed, text and usage being what had arrived.
	message   string
	requestID string
	text      string
	usage     Usage
}

// frame is one frame of a queue. Its body lies in the buffer that was read into.
type frame struct {
	kind, code int32
	call       handle
	tag        uint64
	body       []byte
}

// chars is b for C, which copies it before it returns.
func chars(b []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }

// borrowed is the text at p, which lives as long as the handle it was read from.
func borrowed(p *C.char, n C.size_t) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), int(n))
}

func nativeVersion() string { return C.GoString(C.revenium_version()) }

func nativeABIVersion() uint32 { return uint32(C.revenium_abi_version()) }

func nativeCodeName(code Code) string { return C.GoString(C.revenium_code_name(C.int32_t(code))) }

func nativeInit(config []byte) error {
	var detail C.revenium_result
	code := C.revenium_init(chars(config), C.size_t(len(config)), &detail)
	return failed(code, handle(detail))
}

func nativeFlush(timeoutMS int32) Code { return Code(C.revenium_flush(C.int32_t(timeoutMS))) }

func nativeShutdown(timeoutMS int32) Code { return Code(C.revenium_shutdown(C.int32_t(timeoutMS))) }

func nativeIsInitialized() bool { return C.revenium_is_initialized() == 1 }

func nativeStatus() (State, Code) {
	state := C.revenium_state{struct_size: C.sizeof_revenium_state}
	code := Code(C.revenium_status(&state))
	return State{
		Initialized:     state.initialized == 1,
		Provider:        Provider(state.provider),
		Metering:        Metering(state.metering),
		CallsInFlight:   int64(state.calls_in_flight),
		CallsStarted:    int64(state.calls_started),
		CallsFailed:     int64(state.calls_failed),
		EventsPending:   int64(state.events_pending),
		EventsDelivered: int64(state.events_delivered),
		EventsRetried:   int64(state.events_retried),
		EventsDropped:   int64(state.events_dropped),
		LastError:       Code(state.last_error),
		LastHTTPStatus:  int(state.last_http_status),
	}, code
}

func nativeStatusJSON() ([]byte, error) {
	var out C.revenium_result
	if err := failed(C.revenium_status_json(&out), handle(out)); err != nil {
		return nil, err
	}
	defer nativeRelease(handle(out))
	var n C.size_t
	json := C.revenium_result_json(out, &n)
	return bytes.Clone(borrowed(json, n)), nil
}

func nativeRelease(h handle) { C.revenium_release(C.revenium_handle(h)) }

func nativeScopeNew(parent handle, metadata []byte, flags uint32) (handle, error) {
	var out C.revenium_scope
	code := C.revenium_scope_new(C.revenium_scope(parent), chars(metadata), C.size_t(len(metadata)), C.uint32_t(flags), &out)
	return made(code, handle(out))
}

func nativeSubmit(request []byte, scope, queue handle, tag uint64) (handle, error) {
	var call C.revenium_call
	code := C.revenium_messages_submit(chars(request), C.size_t(len(request)), C.revenium_scope(scope),
		C.revenium_queue(queue), C.uint64_t(tag), &call)
	return made(code, handle(call))
}

func nativePlatformSubmit(operation string, params []byte, queue handle, tag uint64) (handle, error) {
	var call C.revenium_call
	name := append([]byte(operation), 0)
	code := C.revenium_platform_submit(chars(name), chars(params), C.size_t(len(params)), C.revenium_queue(queue),
		C.uint64_t(tag), &call)
	return made(code, handle(call))
}

func nativeBudgetCheck(request []byte, scope handle) ([]byte, error) {
	var out C.revenium_result
	code := C.revenium_budget_check(chars(request), C.size_t(len(request)), C.revenium_scope(scope), &out)
	if err := failed(code, handle(out)); err != nil {
		return nil, err
	}
	defer nativeRelease(handle(out))
	var n C.size_t
	json := C.revenium_result_json(out, &n)
	return bytes.Clone(borrowed(json, n)), nil
}

func nativeWebhookVerify(secret []byte, timestamp, signature string, body []byte, toleranceS int32) Code {
	at, signed := append([]byte(timestamp), 0), append([]byte(signature), 0)
	return Code(C.revenium_webhook_verify(chars(secret), C.size_t(len(secret)), chars(at), chars(signed),
		unsafe.Pointer(unsafe.SliceData(body)), C.size_t(len(body)), C.int32_t(toleranceS)))
}

func nativeCancel(call handle) { C.revenium_call_cancel(C.revenium_call(call)) }

// nativePause stops the reading of a call's events until nativeResume; a call that has ended does not mind.
func nativePause(call handle) { C.revenium_call_pause(C.revenium_call(call)) }

func nativeResume(call handle) { C.revenium_call_resume(C.revenium_call(call)) }

// nativeRecord gives what the library has to tell of the record.
func nativeRecord(record []byte, scope handle) ([]byte, error) {
	var detail C.revenium_result
	code := C.revenium_record(chars(record), C.size_t(len(record)), C.revenium_scope(scope), &detail)
	return infoOf(code, handle(detail))
}

func nativeToolEvent(event []byte, scope handle) ([]byte, error) {
	var detail C.revenium_result
	code := C.revenium_tool_event(chars(event), C.size_t(len(event)), C.revenium_scope(scope), &detail)
	return infoOf(code, handle(detail))
}

func infoOf(code C.int32_t, detail handle) ([]byte, error) {
	if err := failed(code, detail); err != nil {
		return nil, err
	}
	defer nativeRelease(detail)
	return nativeResult(detail, codeOK).info, nil
}

func nativeTapNew(request []byte, scope handle) (handle, error) {
	var tap C.revenium_tap
	code := C.revenium_tap_new(chars(request), C.size_t(len(request)), C.revenium_scope(scope), &tap)
	return made(code, handle(tap))
}

func nativeTapWrite(tap handle, p []byte) {
	C.revenium_tap_write(C.revenium_tap(tap), unsafe.Pointer(unsafe.SliceData(p)), C.size_t(len(p)))
}

func nativeTapEnd(tap handle, ending []byte) {
	C.revenium_tap_end(C.revenium_tap(tap), chars(ending), C.size_t(len(ending)))
}

func nativeQueueNew() (handle, error) {
	var out C.revenium_queue
	code := C.revenium_queue_new(&out)
	return made(code, handle(out))
}

func nativeQueueWakeFD(queue handle) (uintptr, Code) {
	var fd C.int32_t
	code := C.revenium_queue_wake_fd(C.revenium_queue(queue), &fd)
	return uintptr(fd), Code(code)
}

// nativeQueueRead fills buffer, which is aligned to 8, with whole frames.
func nativeQueueRead(queue handle, buffer []byte, timeoutMS int32) (int, Code) {
	var used C.size_t
	code := C.revenium_queue_read(C.revenium_queue(queue), unsafe.Pointer(unsafe.SliceData(buffer)),
		C.size_t(len(buffer)), C.int32_t(timeoutMS), &used)
	return int(used), Code(code)
}

func nativeQueueSubscribe(queue handle, topics uint32, level int32) Code {
	return Code(C.revenium_queue_subscribe(C.revenium_queue(queue), C.uint32_t(topics), C.int32_t(level)))
}

// frameOf is the first of the frames that nativeQueueRead wrote, and those after it.
func frameOf(frames []byte) (frame, []byte) {
	head := (*C.revenium_frame)(unsafe.Pointer(unsafe.SliceData(frames)))
	body := frames[C.sizeof_revenium_frame:][:head.body_size]
	return frame{int32(head.frame), int32(head.code), handle(head.call), uint64(head.tag), body}, frames[head.size:]
}

// nativeResult copies what a result, or a call that has ended, has to tell beside its JSON.
func nativeResult(h handle, code Code) result {
	r, n := C.revenium_result(h), C.size_t(0)
	out := result{code: code}
	if p := C.revenium_result_info(r, &n); p != nil {
		out.info = bytes.Clone(borrowed(p, n))
	}
	if code == codeOK {
		return out // the rest is for errors
	}
	out.usage = nativeUsage(h)
	if p := C.revenium_result_request_id(r, &n); p != nil {
		out.requestID = string(borrowed(p, n))
	}
	if p := C.revenium_result_message(r, &n); p != nil {
		out.message = string(borrowed(p, n))
	}
	if p := C.revenium_result_text(r, &n); p != nil {
		out.text = string(borrowed(p, n))
	}
	return out
}

func nativeUsage(h handle) Usage {
	usage := C.revenium_usage{struct_size: C.sizeof_revenium_usage}
	C.revenium_result_usage(C.revenium_result(h), &usage)
	return Usage{
		InputTokens:              max(0, int64(usage.input_tokens)),
		OutputTokens:             max(0, int64(usage.output_tokens)),
		CacheCreationInputTokens: max(0, int64(usage.cache_creation_input_tokens)),
		CacheReadInputTokens:     max(0, int64(usage.cache_read_input_tokens)),
	}
}

// made is the handle that a function made, or the error that it explains in the handle's place.
func made(code C.int32_t, out handle) (handle, error) {
	if err := failed(code, out); err != nil {
		return 0, err
	}
	return out, nil
}

// failed turns a code and the result that explains it into an error, and gives the result back.
func failed(code C.int32_t, detail handle) error {
	if code >= 0 {
		return nil
	}
	if detail == 0 {
		return &Error{Code: Code(code), Message: strings.TrimPrefix(nativeCodeName(Code(code)), "REVENIUM_E_")}
	}
	defer nativeRelease(detail)
	r := nativeResult(detail, Code(code))
	var n C.size_t
	if p := C.revenium_result_json(C.revenium_result(detail), &n); p != nil {
		r.json = bytes.Clone(borrowed(p, n))
	}
	return newError(&r)
}
