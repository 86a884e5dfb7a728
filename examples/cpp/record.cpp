// Calls that something else made, each metered once: one that is over, and one whose reply passes by.
#include "example.hpp"

// What a gateway hands on: the events of a reply, cut anywhere.
static const std::string pieces[] = {
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_2\",\"model\":\"" MODEL "\",\"usage\":{\"inp",
    "ut_tokens\":9,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi there.\"}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
    "\"usage\":{\"output_tokens\":4}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
};

static void program() {
  const revenium::library library;
  // Whose they were comes from a scope, as it does for calls of this library.
  const revenium::scope scope{{"organizationName", "Acme"}};

  revenium::record(R"({"provider": "vertex", "region": "europe-west1", "model": ")" MODEL R"(", "duration_ms": 812,
      "request": {"max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]},
      "response": {"id": "msg_1", "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn",
                   "usage": {"input_tokens": 9, "output_tokens": 3}}})");
  std::cout << "told when it was over (recorded)\n";

  revenium::tap tap(question("Hello!"));
  for (const std::string& piece : pieces) tap.write(piece);
  tap.end();
  std::cout << "watched as it passed by (recorded)\n";
}

int main() { return run(program); }
