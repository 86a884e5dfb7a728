/* The text as it comes, then what it used. */
#include "example.h"

static int32_t print_text(void *user, const revenium_event *event) {
  (void)user;
  if (event->text != NULL) {
    fwrite(event->text, 1, event->text_len, stdout);
    fflush(stdout);
  }
  return 0; /* anything else would stop the stream */
}

int main(void) {
  const char *request = JSON({
    "model": MODEL,
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Name the planets, nearest to the sun first."}],
    "usage_metadata": {"organizationName": "Acme", "taskType": "teach"}
  });
  revenium_result result;
  int32_t code = revenium_messages_stream(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, print_text, NULL, &result);
  printf("\n");
  check(code, &result);
  revenium_usage usage = usage_of(result);
  printf("%" PRId64 " input tokens, %" PRId64 " output tokens\n", usage.input_tokens, usage.output_tokens);
  revenium_release(result);
  revenium_shutdown(5000);
  return 0;
}
