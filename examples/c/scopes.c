/* Scopes: metadata that many calls share, and the choice of what is metered at all. */
#include "example.h"

static revenium_scope scope_new(revenium_scope parent, const char *metadata, uint32_t flags) {
  revenium_scope scope;
  check(revenium_scope_new(parent, metadata, metadata != NULL ? REVENIUM_NTS : 0, flags, &scope), NULL);
  return scope;
}

static void ask(const char *request, revenium_scope scope) {
  revenium_result result;
  check(revenium_messages_create(request, REVENIUM_NTS, scope, &result), &result);
  printf("%s (%s)\n", revenium_result_text(result, NULL), usage_of(result).metered ? "metered" : "not metered");
  revenium_release(result);
}

#define QUESTION(text) "model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": text}]

int main(void) {
  /* Selective metering: only calls in a marked scope are metered. Without it every call is. */
  revenium_result detail;
  check(revenium_init(JSON({"selective_metering": true}), REVENIUM_NTS, &detail), &detail);

  /* A scope is a value: made once, handed to any call on any thread. The mark is inherited. */
  revenium_scope customer = scope_new(REVENIUM_SCOPE_NONE, JSON({"organizationName": "Acme", "productName": "Support Desk"}),
                                      REVENIUM_SCOPE_METER);
  revenium_scope agent = scope_new(customer, JSON({"agent": "summarizer", "taskType": "summarize"}), 0);
  ask(JSON({QUESTION("In the customer's scope.")}), customer);
  ask(JSON({QUESTION("In the agent's scope inside it.")}), agent);

  /* What a call says itself wins over its scope. */
  ask(JSON({QUESTION("With a task type of its own."), "usage_metadata": {"taskType": "translate"}}), agent);

  /* Code that cannot pass a scope along finds the one that its thread has pushed. */
  check(revenium_scope_push(agent), NULL);
  ask(JSON({QUESTION("In the scope of this thread.")}), REVENIUM_SCOPE_THREAD);
  revenium_scope trace = scope_new(REVENIUM_SCOPE_THREAD, JSON({"traceId": "trace-9f2c"}), 0);
  check(revenium_scope_push(trace), NULL);
  ask(JSON({QUESTION("In a scope pushed over it.")}), REVENIUM_SCOPE_THREAD);
  check(revenium_scope_pop(trace), NULL);
  check(revenium_scope_pop(agent), NULL);

  /* Outside of every scope nothing is marked, unless the call is. */
  ask(JSON({QUESTION("In no scope.")}), REVENIUM_SCOPE_THREAD);
  ask(JSON({QUESTION("In no scope, but marked."), "revenium": {"meter": true}}), REVENIUM_SCOPE_NONE);

  revenium_release(trace);
  revenium_release(agent);
  revenium_release(customer);
  revenium_shutdown(5000);
  return 0;
}
