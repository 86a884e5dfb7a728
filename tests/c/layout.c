/* The layout of the four structs is part of the ABI: bindings in other languages write these numbers down. */
#include <revenium.h>

#define AT(type, field, offset, bytes)                                                          \
  _Static_assert(offsetof(type, field) == (offset), #type "." #field " moved");                \
  _Static_assert(sizeof(((type *)0)->field) == (bytes), #type "." #field " changed its size")

_Static_assert(sizeof(void *) == 8 && sizeof(size_t) == 8, "the numbers below are those of 64-bit platforms");
_Static_assert(sizeof(revenium_handle) == 8, "a handle has 64 bits");

_Static_assert(sizeof(revenium_event) == 48, "revenium_event");
AT(revenium_event, struct_size, 0, 4);
AT(revenium_event, kind, 4, 4);
AT(revenium_event, call, 8, 8);
AT(revenium_event, json, 16, 8);
AT(revenium_event, json_len, 24, 8);
AT(revenium_event, text, 32, 8);
AT(revenium_event, text_len, 40, 8);

_Static_assert(sizeof(revenium_usage) == 40, "revenium_usage");
AT(revenium_usage, struct_size, 0, 4);
AT(revenium_usage, metered, 4, 4);
AT(revenium_usage, input_tokens, 8, 8);
AT(revenium_usage, output_tokens, 16, 8);
AT(revenium_usage, cache_creation_input_tokens, 24, 8);
AT(revenium_usage, cache_read_input_tokens, 32, 8);

_Static_assert(sizeof(revenium_state) == 80, "revenium_state");
AT(revenium_state, struct_size, 0, 4);
AT(revenium_state, initialized, 4, 4);
AT(revenium_state, provider, 8, 4);
AT(revenium_state, metering, 12, 4);
AT(revenium_state, calls_in_flight, 16, 8);
AT(revenium_state, calls_started, 24, 8);
AT(revenium_state, calls_failed, 32, 8);
AT(revenium_state, events_pending, 40, 8);
AT(revenium_state, events_delivered, 48, 8);
AT(revenium_state, events_retried, 56, 8);
AT(revenium_state, events_dropped, 64, 8);
AT(revenium_state, last_error, 72, 4);
AT(revenium_state, last_http_status, 76, 4);

_Static_assert(sizeof(revenium_frame) == 32, "revenium_frame");
AT(revenium_frame, size, 0, 4);
AT(revenium_frame, body_size, 4, 4);
AT(revenium_frame, call, 8, 8);
AT(revenium_frame, tag, 16, 8);
AT(revenium_frame, frame, 24, 4);
AT(revenium_frame, code, 28, 4);

/* The compiler has checked it all. At run time: header and library are of one ABI. */
int main(void) { return revenium_abi_version() == REVENIUM_ABI_VERSION ? 0 : 1; }
