/* Tools that cost something by themselves have events of their own. */
#include "example.h"

static void meter_tool(const char *event) {
  revenium_result detail;
  check(revenium_tool_event(event, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &detail), &detail);
  revenium_release(detail);
}

int main(void) {
  printf("search: 3 hits\n");
  meter_tool(JSON({"toolId": "search", "operation": "query", "durationMs": 120, "costUsd": 0.004, "agent": "writer",
                   "usageMetadata": {"hits": 3}}));
  printf("crawl: the page is gone\n");
  meter_tool(JSON({"toolId": "crawl", "durationMs": 40, "success": false, "errorType": "NotFound", "agent": "writer"}));
  revenium_shutdown(5000);
  return 0;
}
