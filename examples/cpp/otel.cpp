// One call and one use of a tool inside a trace that somebody else has begun: with REVENIUM_OTLP=1 both are its spans.
#include <cstdlib>

#include "example.hpp"

// What HTTP servers get in the header of this name, and pass on.
static std::string traceparent() {
  const char* given = std::getenv("TRACEPARENT");
  return given != nullptr ? given : "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
}

int main() {
  return run([] {
    const revenium::library library;  // delivers and exports what is pending when the program ends
    const revenium::client client;
    const revenium::scope scope(R"({"organizationName": "Acme", "revenium": {"traceparent": )" +
                                revenium::json_string(traceparent()) + "}}");
    const auto reply = client.messages.create(question("Greet the world in five words."));
    { const revenium::tool metered("search"); /* where a tool would run */ }
    std::cout << reply.text() << '\n';
  });
}
