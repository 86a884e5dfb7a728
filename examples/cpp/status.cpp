// How the library is doing: the counters as a struct, everything else as JSON.
#include "example.hpp"

// Indents JSON that is known to be well formed.
static std::string indented(std::string_view json) {
  std::string out;
  std::size_t depth = 0;
  bool in_text = false;
  const auto opens = [](char c) { return c == '{' || c == '['; };
  const auto closes = [](char c) { return c == '}' || c == ']'; };
  for (std::size_t at = 0; at < json.size(); ++at) {
    const char c = json[at];
    if (in_text && c == '\\') {
      out.append(json, at++, 2);
      continue;
    }
    if (c == '"') in_text = !in_text;
    const auto new_line = [&] { out.append(1, '\n').append(2 * depth, ' '); };
    if (!in_text && closes(c)) {
      --depth;
      if (!opens(json[at - 1])) new_line();
    }
    out += c;
    if (in_text) continue;
    if (c == ':') out += ' ';
    if (opens(c)) ++depth;
    if (c == ',' || (opens(c) && !closes(json[at + 1]))) new_line();
  }
  return out;
}

static const char* name(revenium::provider provider) {
  switch (provider) {
    case revenium::provider::anthropic: return "anthropic";
    case revenium::provider::bedrock: return "bedrock";
    default: return "unknown";
  }
}

static const char* name(revenium::metering metering) {
  switch (metering) {
    case revenium::metering::on: return "on";
    case revenium::metering::selective: return "selective";
    default: return "off, no key";
  }
}

static void program() {
  const revenium::library library;
  revenium::messages().create(question("One call, so that there is something to count."));
  revenium::flush(std::chrono::seconds(5));

  const revenium::state state = revenium::status();
  std::cout << "librevenium " << revenium::version() << ", ABI " << REVENIUM_ABI_VERSION << '\n'
            << "provider: " << name(state.provider) << '\n'
            << "metering: " << name(state.metering) << '\n'
            << "calls: " << state.calls_started << " started, " << state.calls_failed << " failed, "
            << state.calls_in_flight << " in flight\n"
            << "events: " << state.events_delivered << " delivered, " << state.events_pending << " pending, "
            << state.events_dropped << " dropped\n"
            << indented(revenium::status_json()) << '\n';
}

int main() { return run(program); }
