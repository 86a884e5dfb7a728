// Scopes: metadata that many calls share, and the choice of what is metered at all.
#include "example.hpp"

static const revenium::client client;

static void print(const revenium::message& reply) {
  std::cout << reply.text() << (reply.usage().metered ? " (metered)\n" : " (not metered)\n");
}

static void program() {
  // Selective metering: only calls in a marked scope are metered. Without it every call is.
  const revenium::library library(R"({"selective_metering": true})");

  // Metadata is a value: made once, handed to any call on any thread. The mark is inherited.
  const revenium::metadata customer =
      revenium::metadata{{"organizationName", "Acme"}, {"productName", "Support Desk"}}.metered();
  const revenium::metadata agent = customer.with({{"agent", "summarizer"}, {"taskType", "summarize"}});
  print(client.messages.create(question("In the customer's scope."), customer));
  print(client.messages.create(question("In the agent's scope inside it."), agent));

  // What a call says itself wins over its scope.
  print(client.messages.create(
      question("With a task type of its own.", 100, R"("usage_metadata": {"taskType": "translate"})"), agent));

  // Code that cannot pass metadata along finds the scope that its thread is in.
  {
    const revenium::scope scope(agent);
    print(client.messages.create(question("In the scope of this thread.")));
    const revenium::scope trace{{"traceId", "trace-9f2c"}};
    print(client.messages.create(question("In a scope pushed over it.")));
  }

  // Outside of every scope nothing is marked, unless the call is, or a block.
  print(client.messages.create(question("In no scope.")));
  const revenium::meter meter;
  print(client.messages.create(question("In no scope, but marked.")));
}

int main() { return run(program); }
