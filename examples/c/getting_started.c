/* One call: its text and what it used. */
#include <inttypes.h>
#include <stdio.h>

#include <revenium.h>

#ifndef MODEL
#define MODEL "claude-sonnet-5-5"
#endif

int main(void) {
  const char *request = "{\"model\": \"" MODEL "\", \"max_tokens\": 100,"
                        " \"messages\": [{\"role\": \"user\", \"content\": \"Greet the world in five words.\"}]}";
  revenium_result result;
  int32_t code = revenium_messages_create(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
  if (code != REVENIUM_OK) {
    fprintf(stderr, "%s: %s\n", revenium_code_name(code), revenium_result_message(result, NULL));
    return 1;
  }
  revenium_usage usage = {.struct_size = sizeof usage};
  revenium_result_usage(result, &usage);
  printf("%s\n", revenium_result_text(result, NULL));
  printf("%" PRId64 " input tokens, %" PRId64 " output tokens\n", usage.input_tokens, usage.output_tokens);
  revenium_release(result);
  revenium_shutdown(5000);
  return 0;
}
