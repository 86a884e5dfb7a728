// The text as it comes, then what it used.
#include "example.hpp"

static void program() {
  const revenium::library library;
  const revenium::client client;
  revenium::event_stream stream = client.messages.stream(question("Name the planets, nearest to the sun first.", 200),
                                                         {{"organizationName", "Acme"}, {"taskType", "teach"}});
  // Leaving the loop would cancel the call.
  for (const revenium::event& event : stream) std::cout << event.text() << std::flush;
  std::cout << '\n';
  const revenium::usage usage = stream.message().usage();
  std::cout << usage.input_tokens << " input tokens, " << usage.output_tokens << " output tokens\n";
}

int main() { return run(program); }
