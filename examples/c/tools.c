/* A conversation with a tool: the model asks for it, the program runs it, the model answers. JSON by cJSON. */
#include <string.h>

#include <cjson/cJSON.h>

#include "example.h"

static const char *weather(const char *city) {
  return strcmp(city, "Rome") == 0 ? "21 degrees, sunny" : "4 degrees, snow";
}

/* Runs each tool that `content` asks for, and gives the message with their results. */
static cJSON *results_of(const cJSON *content) {
  cJSON *message = cJSON_CreateObject();
  cJSON_AddStringToObject(message, "role", "user");
  cJSON *results = cJSON_AddArrayToObject(message, "content");
  const cJSON *block;
  cJSON_ArrayForEach(block, content) {
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(block, "type"));
    const char *city = cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(block, "input"), "city"));
    if (type == NULL || strcmp(type, "tool_use") != 0) continue;
    const char *found = weather(city != NULL ? city : "");
    printf("%s %s: %s\n", cJSON_GetStringValue(cJSON_GetObjectItem(block, "name")), city != NULL ? city : "?", found);
    cJSON *result = cJSON_CreateObject();
    cJSON_AddStringToObject(result, "type", "tool_result");
    cJSON_AddItemToObject(result, "tool_use_id", cJSON_Duplicate(cJSON_GetObjectItem(block, "id"), 1));
    cJSON_AddStringToObject(result, "content", found);
    cJSON_AddItemToArray(results, result);
  }
  return message;
}

int main(void) {
  cJSON *request = cJSON_Parse(JSON({
    "model": MODEL,
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "What is the weather in Rome?"}],
    "tools": [{
      "name": "weather",
      "description": "The weather in a city, now.",
      "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
        "required": ["city"]
      }
    }],
    "tool_choice": {"type": "any"},
    "usage_metadata": {"organizationName": "Acme", "taskType": "weather", "traceId": "conversation-1"}
  }));
  cJSON *messages = cJSON_GetObjectItem(request, "messages");
  int64_t input_tokens = 0, output_tokens = 0;
  for (int more = 1; more;) {
    char *text = cJSON_PrintUnformatted(request);
    revenium_result result;
    int32_t code = revenium_messages_create(text, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
    cJSON_free(text);
    check(code, &result);
    revenium_usage usage = usage_of(result);
    input_tokens += usage.input_tokens;
    output_tokens += usage.output_tokens;

    cJSON *reply = cJSON_Parse(revenium_result_json(result, NULL));
    const char *stop = cJSON_GetStringValue(cJSON_GetObjectItem(reply, "stop_reason"));
    more = stop != NULL && strcmp(stop, "tool_use") == 0;
    if (more) {
      cJSON *content = cJSON_GetObjectItem(reply, "content");
      cJSON *turn = cJSON_CreateObject();
      cJSON_AddStringToObject(turn, "role", "assistant");
      cJSON_AddItemToObject(turn, "content", cJSON_Duplicate(content, 1));
      cJSON_AddItemToArray(messages, turn);
      cJSON_AddItemToArray(messages, results_of(content));
      cJSON_DeleteItemFromObject(request, "tool_choice"); /* from here on the model chooses */
    } else {
      printf("%s\n", revenium_result_text(result, NULL));
    }
    cJSON_Delete(reply);
    revenium_release(result);
  }
  printf("%" PRId64 " input tokens, %" PRId64 " output tokens\n", input_tokens, output_tokens);
  cJSON_Delete(request);
  revenium_shutdown(5000);
  return 0;
}
