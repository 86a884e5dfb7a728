/* Claude through AWS Bedrock: the same calls and results. AWS credentials come from where AWS's own tools take them. */
#include <string.h>

#include "example.h"

static int32_t on_event(void *user, const revenium_event *event) {
  (void)user;
  if (event->text != NULL) fwrite(event->text, 1, event->text_len, stdout);
  return 0;
}

/* Whether `info` says that this provider answered. */
static int answered(revenium_result result, const char *provider) {
  char member[64];
  snprintf(member, sizeof member, "\"provider\":\"%s\"", provider);
  return strstr(revenium_result_info(result, NULL), member) != NULL;
}

int main(void) {
  /* Without "provider", Bedrock is asked when there are AWS credentials and no key of Anthropic.
   * "bedrock_fallback": true, the default, would ask Anthropic where Bedrock fails and there is a key. */
  const char *config = JSON({"provider": "bedrock", "bedrock_fallback": false});
  revenium_result result;
  check(revenium_init(config, REVENIUM_NTS, &result), &result);

  /* A name of the Messages API, an id of Bedrock or an ARN. */
  const char *request = JSON({
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Greet the world from a region."}],
    "usage_metadata": {"organizationName": "Acme", "taskType": "greeting"}
  });
  check(revenium_messages_create(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), &result);
  printf("%s\n", revenium_result_text(result, NULL));
  printf("answered by Bedrock: %s\n", answered(result, "bedrock") ? "yes" : "no");
  revenium_release(result);

  /* This call chooses its region. */
  const char *streamed = JSON({
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Now from another one."}],
    "revenium": {"aws_region": "eu-central-1"}
  });
  check(revenium_messages_stream(streamed, REVENIUM_NTS, REVENIUM_SCOPE_NONE, on_event, NULL, &result), &result);
  revenium_usage usage = usage_of(result);
  printf("\n%" PRId64 " input tokens, %" PRId64 " output tokens\n", usage.input_tokens, usage.output_tokens);
  revenium_release(result);

  revenium_shutdown(5000);
  return 0;
}
