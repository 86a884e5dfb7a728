/* Calls that something else made, each metered once: one that is over, and one whose reply passes by. */
#include <string.h>

#include "example.h"

/* What a gateway hands on: the events of a reply, cut anywhere. */
static const char *const pieces[] = {
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_2\",\"model\":\"" MODEL "\",\"usage\":{\"inp",
    "ut_tokens\":9,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi there.\"}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
    "\"usage\":{\"output_tokens\":4}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
};

int main(void) {
  /* Whose it was comes from a scope, as it does for calls of this library. */
  revenium_scope scope;
  check(revenium_scope_new(REVENIUM_SCOPE_NONE, JSON({"organizationName": "Acme"}), REVENIUM_NTS, 0, &scope), &scope);

  revenium_result recorded;
  check(revenium_record(
            JSON({"provider": "vertex", "region": "europe-west1", "model": MODEL, "duration_ms": 812,
                  "request": {"max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]},
                  "response": {"id": "msg_1", "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn",
                               "usage": {"input_tokens": 9, "output_tokens": 3}}}),
            REVENIUM_NTS, scope, &recorded), &recorded);
  printf("told when it was over (recorded)\n");
  revenium_release(recorded);

  revenium_tap tap;
  check(revenium_tap_new(JSON({"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]}),
                         REVENIUM_NTS, scope, &tap), &tap);
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) revenium_tap_write(tap, pieces[i], strlen(pieces[i]));
  check(revenium_tap_end(tap, NULL, 0), NULL);
  printf("watched as it passed by (recorded)\n");
  revenium_release(tap);

  revenium_release(scope);
  revenium_shutdown(5000);
  return 0;
}
