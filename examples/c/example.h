/* What these programs share: the model, JSON without backslashes, and the way out on an error. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <revenium.h>

#ifndef MODEL
#define MODEL "claude-sonnet-5-5"
#endif

/* JSON({"model": MODEL}) is the text {"model": "claude-sonnet-5-5"}. */
#define JSON(...) JSON_TEXT(__VA_ARGS__)
#define JSON_TEXT(...) #__VA_ARGS__

/* Ends the program unless `code` is a success. `result` says why it is not; NULL if there is none. */
static inline void check(int32_t code, const revenium_result *result) {
  if (code >= REVENIUM_OK) return;
  const char *message = result != NULL ? revenium_result_message(*result, NULL) : NULL;
  fprintf(stderr, "%s: %s\n", revenium_code_name(code), message != NULL ? message : "");
  exit(1);
}

static inline revenium_usage usage_of(revenium_result result) {
  revenium_usage usage = {.struct_size = sizeof usage};
  check(revenium_result_usage(result, &usage), NULL);
  return usage;
}

#endif
