// Ten thousand calls leave the process as large as a thousand did.
#include <fstream>
#include <optional>

#include "support.hpp"

static long resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stol(line.substr(6));
  }
  return 0;
}

static void one_of_each(int i) {
  static const revenium::client client;
  const std::string body = test::ask("x");
  switch (i % 8) {
    case 0: client.messages.create(body); break;
    case 1: client.messages.stream(body, [](const revenium::event&) {}); break;
    case 2:
      for (const auto& e : client.messages.stream(body)) {
        if (!e.text().empty()) break;
      }
      break;
    case 3: client.messages.create_async(body).get(); break;
    case 4: (void)client.messages.try_create("{"); break;
    case 5: {
      revenium::scope s{{"agent", "memory"}};
      client.messages.create(body);
      break;
    }
    case 6: (void)client.messages.try_create(test::plan("status=404")); break;
    default: {
      std::promise<void> done;
      client.messages.start(body, {nullptr, [&](revenium::outcome<revenium::message>) { done.set_value(); }},
                            revenium::metadata{{"agent", "memory"}});
      done.get_future().get();
    }
  }
}

TEST(ten_thousand_calls_in_flat_memory) {
  for (int i = 0; i < 2000; ++i) one_of_each(i);
  CHECK(revenium::flush(std::chrono::seconds(60)));
  const long before = resident_kib();
  for (int i = 0; i < 10000; ++i) one_of_each(i);
  CHECK(revenium::flush(std::chrono::seconds(60)));
  const long after = resident_kib();
  std::cout << "  VmRSS " << before << " KiB, after 10000 calls " << after << " KiB\n";
  CHECK(before > 0);
  // A leak of a hundred bytes a call would show; what an allocator keeps does not grow with calls.
  CHECK(after - before < 1024);
}

TEST_MAIN
