// A conversation with a tool: the model asks for it, the program runs it, the model answers. JSON by nlohmann/json.
#include <nlohmann/json.hpp>

#include "example.hpp"

using nlohmann::json;

static std::string weather(const std::string& city) { return city == "Rome" ? "21 degrees, sunny" : "4 degrees, snow"; }

// Runs each tool that `content` asks for, and gives their results.
static json results_of(const json& content) {
  json results = json::array();
  for (const json& block : content) {
    if (block.at("type") != "tool_use") continue;
    const auto city = block.at("input").value("city", "?");
    const std::string found = weather(city);
    std::cout << block.at("name").get<std::string>() << ' ' << city << ": " << found << '\n';
    results.push_back({{"type", "tool_result"}, {"tool_use_id", block.at("id")}, {"content", found}});
  }
  return results;
}

static void conversation() {
  const revenium::library library;
  const revenium::client client;
  const revenium::scope scope{{"organizationName", "Acme"}, {"taskType", "weather"}, {"traceId", "conversation-1"}};
  json request = {{"model", MODEL}, {"max_tokens", 200}, {"tool_choice", {{"type", "any"}}}};
  request["messages"] = json::array({{{"role", "user"}, {"content", "What is the weather in Rome?"}}});
  request["tools"] = json::parse(R"([{
    "name": "weather",
    "description": "The weather in a city, now.",
    "input_schema": {
      "type": "object",
      "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
      "required": ["city"]
    }
  }])");
  std::int64_t input_tokens = 0, output_tokens = 0;
  for (;;) {
    const revenium::message reply = client.messages.create(request.dump());
    const revenium::usage usage = reply.usage();
    input_tokens += usage.input_tokens;
    output_tokens += usage.output_tokens;
    if (reply.stop_reason() != "tool_use") {
      std::cout << reply.text() << '\n';
      break;
    }
    const json content = json::parse(reply.json()).at("content");
    request["messages"].push_back({{"role", "assistant"}, {"content", content}});
    request["messages"].push_back({{"role", "user"}, {"content", results_of(content)}});
    request.erase("tool_choice");  // from here on the model chooses
  }
  std::cout << input_tokens << " input tokens, " << output_tokens << " output tokens\n";
}

int main() { return run(conversation); }
