/* How the library is doing: the counters as a struct, everything else as JSON. */
#include "example.h"

/* Indents JSON that is known to be well formed. */
static void print_json(const char *json) {
  int depth = 0, in_text = 0;
  for (const char *at = json; *at != '\0'; at++) {
    if (in_text && *at == '\\') putchar(*at++);
    else if (*at == '"') in_text = !in_text;
    int opens = !in_text && (*at == '{' || *at == '['), closes = !in_text && (*at == '}' || *at == ']');
    int empty = (opens && (at[1] == '}' || at[1] == ']')) || (closes && (at[-1] == '{' || at[-1] == '['));
    depth += opens - closes;
    if (closes && !empty) printf("\n%*s", 2 * depth, "");
    putchar(*at);
    if (!in_text && *at == ':') putchar(' ');
    if ((opens && !empty) || (!in_text && *at == ',')) printf("\n%*s", 2 * depth, "");
  }
  putchar('\n');
}

int main(void) {
  const char *request = JSON({
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "One call, so that there is something to count."}]
  });
  revenium_result result;
  check(revenium_messages_create(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), &result);
  revenium_release(result);
  check(revenium_flush(5000), NULL);

  revenium_state state = {.struct_size = sizeof state};
  check(revenium_status(&state), NULL);
  const char *provider = state.provider == REVENIUM_PROVIDER_ANTHROPIC ? "anthropic"
                         : state.provider == REVENIUM_PROVIDER_BEDROCK ? "bedrock"
                                                                       : "unknown";
  const char *metering = state.metering == 1 ? "on" : state.metering == 2 ? "selective" : "off, no key";
  printf("librevenium %s, ABI %" PRIu32 "\n", revenium_version(), revenium_abi_version());
  printf("provider: %s\n", provider);
  printf("metering: %s\n", metering);
  printf("calls: %" PRId64 " started, %" PRId64 " failed, %" PRId64 " in flight\n", state.calls_started, state.calls_failed,
         state.calls_in_flight);
  printf("events: %" PRId64 " delivered, %" PRId64 " pending, %" PRId64 " dropped\n", state.events_delivered,
         state.events_pending, state.events_dropped);

  check(revenium_status_json(&result), &result);
  print_json(revenium_result_json(result, NULL));
  revenium_release(result);
  revenium_shutdown(5000);
  return 0;
}
