// What the tests of the C++ binding share: one process per test, checks, and a look into the sandbox.
#ifndef SUPPORT_HPP
#define SUPPORT_HPP

#ifdef _WIN32
#include "windows.hpp"
#else
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <revenium.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace test {

struct failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline std::map<std::string, void (*)()>& all() {
  static std::map<std::string, void (*)()> tests;
  return tests;
}

struct add {
  add(const char* name, void (*body)()) { all()[name] = body; }
};

#define TEST(name)                           \
  static void name();                        \
  static const test::add add_##name{#name, name}; \
  static void name()

template <class T>
std::string shown(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<long long>(value));
  } else {
    std::ostringstream out;
    out << std::boolalpha << value;
    return out.str();
  }
}

#define CHECK(condition) \
  do {                   \
    if (!(condition)) throw test::failed(std::string(__FILE__ ":") + std::to_string(__LINE__) + ": " #condition); \
  } while (false)

template <class A, class B>
void equal(const A& found, const B& wanted, const char* what, const char* file, int line) {
  if (!(found == wanted)) {
    throw failed(std::string(file) + ":" + std::to_string(line) + ": " + what + " is " + shown(found) + ", not " +
                 shown(wanted));
  }
}
#define CHECK_EQUAL(found, wanted) test::equal((found), (wanted), #found, __FILE__, __LINE__)

/// Runs `body`, which must throw exactly an `Exception`, and gives that.
template <class Exception, class Body>
Exception thrown_by(Body&& body) {
  try {
    body();
  } catch (const std::exception& error) {
    if (typeid(error) == typeid(Exception)) return dynamic_cast<const Exception&>(error);
    throw failed(std::string("threw ") + typeid(error).name() + ": " + error.what() + ", not " + typeid(Exception).name());
  }
  throw failed(std::string("did not throw ") + typeid(Exception).name());
}

// ---- the sandbox ----

/// One HTTP request to the sandbox; the body of its answer.
inline std::string http(const std::string& method, const std::string& path, const std::string& body = "") {
  const std::string url = std::getenv("SANDBOX_URL");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<unsigned short>(std::stoi(url.substr(url.rfind(':') + 1))));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw failed("no sandbox");
  const std::string request = method + " " + path + " HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\ncontent-length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
  for (std::size_t sent = 0; sent < request.size();) {
    const ssize_t n = send(fd, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) throw failed("the sandbox hung up");
    sent += static_cast<std::size_t>(n);
  }
  std::string answer;
  char buffer[65536];
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, static_cast<std::size_t>(n));
  close(fd);
  if (answer.substr(9, 1) != "2") throw failed(method + " " + path + ": " + answer);
  return answer.substr(answer.find("\r\n\r\n") + 4);
}

/// The value of a path like "usage.input_tokens" as it is written; "" where there is none.
inline std::string at(std::string_view json, std::string_view path) {
  for (;;) {
    const auto dot = path.find('.');
    json = revenium::detail::member(json, path.substr(0, dot));
    if (dot == std::string_view::npos) return std::string(json);
    path.remove_prefix(dot + 1);
  }
}
/// The same as text.
inline std::string text_at(std::string_view json, std::string_view path) { return revenium::detail::unquoted(at(json, path)); }

inline std::vector<std::string> items(std::string_view json) {
  std::vector<std::string> out;
  revenium::detail::scanner scan(json);
  if (!scan.take('[') || scan.take(']')) return out;
  do out.emplace_back(scan.next());
  while (scan.take(','));
  return out;
}

/// A counter of the sandbox, and a wait until it is that high; it runs since the sandbox started.
inline long counter(const std::string& name) { return std::stol(at(http("GET", "/sandbox/stats"), name)); }
inline void wait_for(const std::string& name, long count) {
  http("GET", "/sandbox/wait?timeout_ms=30000&" + name + "=" + std::to_string(count));
}

/// The bodies of the usage records, once there are `count`.
inline std::vector<std::string> records(std::size_t count) {
  wait_for("records", static_cast<long>(count));
  std::vector<std::string> out;
  for (const std::string& record : items(http("GET", "/sandbox/records"))) out.push_back(at(record, "body"));
  CHECK_EQUAL(out.size(), count);
  return out;
}
inline std::string record() { return records(1).front(); }

/// The bodies of the requests that reached the provider.
inline std::vector<std::string> requests() {
  std::vector<std::string> out;
  for (const std::string& request : items(http("GET", "/sandbox/requests"))) out.push_back(at(request, "body"));
  return out;
}

/// A request whose last member is `more`.
inline std::string ask(std::string_view text, std::string_view more = "", std::string_view model = "claude-sonnet-5-5") {
  std::string out = revenium::json_object({{"model", model}, {"max_tokens", 100}});
  out.pop_back();
  out += R"(, "messages": [{"role": "user", "content": )" + revenium::json_string(text) + "}]";
  if (!more.empty()) out += ", " + std::string(more);
  return out + "}";
}
/// A request that the sandbox answers as `knobs` say; see there.
inline std::string plan(std::string_view knobs, std::string_view more = "") {
  std::string choices = R"("revenium": {"max_retries": 0, "headers": {"x-sandbox": )" + revenium::json_string(knobs) + "}}";
  if (!more.empty()) choices += ", " + std::string(more);
  return ask("hello", choices);
}

/// `prog` lists the tests, `prog NAME` runs one.
inline int run(int argc, char** argv) {
  if (argc < 2) {
    for (const auto& each : all()) std::cout << each.first << '\n';
    return 0;
  }
  try {
    http("DELETE", "/sandbox/records");
    http("DELETE", "/sandbox/requests");
    http("DELETE", "/sandbox/plan");
    all().at(argv[1])();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << argv[1] << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace test

#define TEST_MAIN \
  int main(int argc, char** argv) { return test::run(argc, argv); }

#endif
