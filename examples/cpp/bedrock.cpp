// Claude through AWS Bedrock: the same calls and results. AWS credentials come from where AWS's own tools take them.
#include "example.hpp"

static void program() {
  // Without "provider", Bedrock is asked when there are AWS credentials and no key of Anthropic.
  // "bedrock_fallback": true, the default, would ask Anthropic where Bedrock fails and there is a key.
  const revenium::library library(R"({"provider": "bedrock", "bedrock_fallback": false})");
  const revenium::client client;
  // The model is a name of the Messages API, an id of Bedrock or an ARN.
  const revenium::message reply = client.messages.create(question("Greet the world from a region."),
                                                         {{"organizationName", "Acme"}, {"taskType", "greeting"}});
  const bool answered = reply.info().find(R"("provider":"bedrock")") != std::string_view::npos;
  std::cout << reply.text() << "\nanswered by Bedrock: " << (answered ? "yes" : "no") << '\n';

  // This call chooses its region.
  const revenium::message other =
      client.messages.stream(question("Now from another one.", 100, R"("revenium": {"aws_region": "eu-central-1"})"),
                             [](const revenium::event& event) { std::cout << event.text() << std::flush; });
  const revenium::usage usage = other.usage();
  std::cout << '\n' << usage.input_tokens << " input tokens, " << usage.output_tokens << " output tokens\n";
}

int main() { return run(program); }
