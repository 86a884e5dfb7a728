/* Budgets: a call that a rule of Revenium's cost controls blocks does not leave. Needs REVENIUM_TEAM_ID. */
#include <string.h>
#include <time.h>

#include "example.h"

#define REQUEST(agent) JSON({"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Greet the world."}], \
                             "usage_metadata": {"agent": agent}})

/* The first question starts the fetching of the rules, and calls pass until they are there: a server asks at its start. */
static void wait_for_rules(void) {
  for (int round = 0; round < 500; round++) {
    revenium_result result;
    revenium_budget_check(REQUEST("nobody"), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
    revenium_release(result);
    check(revenium_status_json(&result), &result);
    int known = strstr(revenium_result_json(result, NULL), "\"fetched_seconds_ago\":null") == NULL;
    revenium_release(result);
    if (known) return;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
}

static void ask(const char *agent, const char *request) {
  revenium_result result;
  int32_t code = revenium_messages_create(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
  /* Nothing was sent. The rule, its value and its threshold stand in revenium_result_json(). */
  if (code == REVENIUM_E_BUDGET) {
    printf("%s: %s\n", agent, revenium_result_message(result, NULL));
  } else {
    check(code, &result);
    printf("%s: %s\n", agent, revenium_result_text(result, NULL));
  }
  revenium_release(result);
}

int main(void) {
  revenium_result detail;
  check(revenium_init(JSON({"budget_enforcement": true}), REVENIUM_NTS, &detail), &detail);
  wait_for_rules();
  ask("reader", REQUEST("reader"));
  ask("writer", REQUEST("writer"));
  revenium_shutdown(5000);
  return 0;
}
