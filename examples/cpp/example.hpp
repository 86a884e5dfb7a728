// What these programs share: the model, a request, and the way out on an error.
#ifndef EXAMPLE_HPP
#define EXAMPLE_HPP

#include <iostream>
#include <string>
#include <string_view>

#include <revenium.hpp>

#ifndef MODEL
#define MODEL "claude-sonnet-5-5"
#endif

// A request with one question. `more`: further members of it, as JSON.
inline std::string question(std::string_view text, int max_tokens = 100, std::string_view more = "") {
  std::string request = R"({"model": ")" MODEL R"(", "max_tokens": )" + std::to_string(max_tokens);
  request += R"(, "messages": [{"role": "user", "content": )" + revenium::json_string(text) + "}]";
  if (!more.empty()) request.append(", ").append(more);
  return request + "}";
}

// Runs a program whose errors nobody else handles.
inline int run(void (*program)()) {
  try {
    program();
    return 0;
  } catch (const revenium::api_error& error) {
    std::cerr << revenium::code_name(error.code()) << ": " << error.what() << '\n';
    return 1;
  }
}

#endif
