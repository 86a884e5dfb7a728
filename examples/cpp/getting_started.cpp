// One call: its text and what it used.
#include <iostream>

#include <revenium.hpp>

#ifndef MODEL
#define MODEL "claude-sonnet-5-5"
#endif

int main() {
  const revenium::library library;  // optional: delivers what is pending when main() ends
  const revenium::client client;
  try {
    const revenium::message reply = client.messages.create(R"({"model": ")" MODEL R"(", "max_tokens": 100,
        "messages": [{"role": "user", "content": "Greet the world in five words."}]})");
    const revenium::usage usage = reply.usage();
    std::cout << reply.text() << '\n'
              << usage.input_tokens << " input tokens, " << usage.output_tokens << " output tokens\n";
  } catch (const revenium::api_error& error) {
    std::cerr << revenium::code_name(error.code()) << ": " << error.what() << '\n';
    return 1;
  }
}
