// Budgets: a call that a rule of Revenium's cost controls blocks does not leave. Needs REVENIUM_TEAM_ID.
#include <chrono>
#include <thread>

#include "example.hpp"

static const revenium::client client;

static std::string request(const std::string& agent) {
  return question("Greet the world.", 100, R"("usage_metadata": {"agent": ")" + agent + R"("})");
}

// The first question starts the fetching of the rules, and calls pass until they are there: a server asks at its start.
static void wait_for_rules() {
  for (int round = 0; round < 500; ++round) {
    revenium::budgets::check(request("nobody"));
    if (revenium::status_json().find(R"("fetched_seconds_ago":null)") == std::string::npos) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

static void ask(const std::string& agent) {
  try {
    const auto reply = client.messages.create(request(agent));
    std::cout << agent << ": " << reply.text() << '\n';
  } catch (const revenium::budget_exceeded& error) {
    // Nothing was sent. rule_name(), current_value(), threshold() and resets_at() say more.
    std::cout << agent << ": " << error.what() << '\n';
  }
}

static void program() {
  const revenium::library library(R"({"budget_enforcement": true})");
  wait_for_rules();
  ask("reader");
  ask("writer");
}

int main() { return run(program); }
