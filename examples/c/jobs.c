/* Jobs: calls that belong to one unit of work, and what came of it. Needs a key that may do more than meter. */
#include "example.h"

static void ask_revenium(const char *operation, const char *params) {
  revenium_result answer;
  check(revenium_platform_call(operation, params, REVENIUM_NTS, &answer), &answer);
  printf("%s: done\n", operation);
  revenium_release(answer);
}

int main(void) {
  /* Every call of the job carries its id. */
  revenium_scope job;
  check(revenium_scope_new(REVENIUM_SCOPE_NONE, JSON({"agenticJobId": "loan-1", "agenticJobType": "loan"}), REVENIUM_NTS, 0, &job), &job);
  revenium_result result;
  check(revenium_messages_create(
            JSON({"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Is the loan granted?"}]}),
            REVENIUM_NTS, job, &result), &result);
  printf("%s\n", revenium_result_text(result, NULL));
  revenium_release(result);
  revenium_release(job);

  /* Once its records have arrived, Revenium knows the job. Until then it is asked again, for at most ten seconds. */
  revenium_flush(10000);
  ask_revenium("jobs.report_outcome", JSON({"id": "loan-1", "executionStatus": "SUCCESS", "outcomeType": "CONVERTED",
                                            "outcomeValue": 500, "timeoutMs": 10000}));
  ask_revenium("jobs.amend_outcome", JSON({"id": "loan-1", "outcomeValue": 700, "reason": "corrected", "timeoutMs": 10000}));
  revenium_shutdown(5000);
  return 0;
}
