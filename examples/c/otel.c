/* One call and one use of a tool inside a trace that somebody else has begun: with REVENIUM_OTLP=1 both are its spans. */
#include <string.h>

#include "example.h"

/* What HTTP servers get in the header of this name, and pass on. */
static const char *traceparent(void) {
  const char *given = getenv("TRACEPARENT");
  return given != NULL && strlen(given) == 55 ? given : "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
}

int main(void) {
  char choices[256];
  snprintf(choices, sizeof choices, JSON({"organizationName": "Acme", "revenium": {"traceparent": "%s"}}), traceparent());
  revenium_scope scope;
  check(revenium_scope_new(REVENIUM_SCOPE_NONE, choices, REVENIUM_NTS, 0, &scope), NULL);

  const char *request = JSON({
    "model": MODEL, "max_tokens": 100,
    "messages": [{"role": "user", "content": "Greet the world in five words."}]
  });
  revenium_result result;
  check(revenium_messages_create(request, REVENIUM_NTS, scope, &result), &result);
  printf("%s\n", revenium_result_text(result, NULL));
  revenium_release(result);

  check(revenium_tool_event(JSON({"toolId": "search", "durationMs": 12}), REVENIUM_NTS, scope, NULL), NULL);
  revenium_release(scope);
  return revenium_shutdown(5000) == REVENIUM_OK ? 0 : 1; /* exports the spans, too */
}
