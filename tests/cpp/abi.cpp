// With a library of another ABI nothing runs, and the reason is clear.
#include "support.hpp"

// Found before the library's own.
extern "C" std::uint32_t revenium_abi_version(void) { return REVENIUM_ABI_VERSION + 1; }

TEST(another_abi_is_refused) {
  const revenium::client client;
  const auto error = test::thrown_by<revenium::unsupported_error>([&] { client.messages.create(test::ask("x")); });
  CHECK(std::string(error.what()).find("has version " + std::to_string(REVENIUM_ABI_VERSION + 1)) != std::string::npos);
  test::thrown_by<revenium::unsupported_error>([] { revenium::init(); });
  test::thrown_by<revenium::unsupported_error>([] { (void)revenium::status(); });
  test::thrown_by<revenium::unsupported_error>([] { revenium::scope{{"agent", "x"}}; });
  test::thrown_by<revenium::unsupported_error>([] { revenium::queue(); });
  CHECK_EQUAL(client.messages.try_create(test::ask("x")).code(), REVENIUM_E_UNSUPPORTED);
}

TEST_MAIN
