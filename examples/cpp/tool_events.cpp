// Tools that cost something by themselves have events of their own.
#include "example.hpp"

static void search() {
  // Until the block ends: how long it took, and that it failed where an exception ends it.
  const revenium::tool metered("search");
  std::cout << "search: 3 hits\n";
}

static void crawl() {
  revenium::tool metered("crawl");
  std::cout << "crawl: the page is gone\n";
  metered.fail();
}

static void program() {
  const revenium::library library;
  const revenium::scope scope{{"agent", "writer"}};
  search();
  crawl();
}

int main() { return run(program); }
