// Calls that nobody waits for one by one: first as futures, then with a completion queue in an event loop.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <future>
#include <map>

#include "example.hpp"

static const revenium::client client;

static void print(std::size_t number, const revenium::outcome<revenium::message>& ended) {
  std::cout << "call " << number << ": " << (ended ? ended->text() : revenium::code_name(ended.code())) << '\n';
}

static void with_futures() {
  std::array<std::future<revenium::message>, 3> replies{
      client.messages.create_async(question("First callback.")),
      client.messages.create_async(question("Second callback.")),
      client.messages.create_async(question("Third callback.")),
  };
  std::size_t number = 0;
  for (auto& reply : replies) print(++number, reply.get());
}

static void with_a_queue() {
  enum : std::uint64_t { whole = 1, streamed, cancelled };  // tags
  revenium::queue queue;
  const int wake = queue.wake_fd();
  queue.submit(question("Into the queue, whole."), whole);
  queue.submit(question("Into the queue, piece by piece.", 500, R"("stream": true)"), streamed);
  queue.submit(question("Count from one to fifty in words. The end of it will reach nobody.", 500, R"("stream": true)"),
               cancelled);

  std::map<std::uint64_t, revenium::outcome<revenium::message>> ended;
  std::map<std::uint64_t, int> deltas;
  const auto on_frame = [&](revenium::frame& frame) {
    if (frame.kind() == revenium::frame_kind::result) {
      ended.emplace(frame.tag(), frame.result());
    } else if (!frame.text().empty()) {
      ++deltas[frame.tag()];
      if (frame.tag() == cancelled) frame.call().cancel();
    }
  };
  while (ended.size() < 3) {
    pollfd readable{wake, POLLIN, 0};
    char dropped[64];
    poll(&readable, 1, -1);  // an event loop would watch its other descriptors here too
    while (recv(wake, dropped, sizeof dropped, 0) > 0) continue;
    while (queue.read(on_frame, std::chrono::milliseconds(0))) continue;
  }
  for (const auto& [tag, how] : ended) print(tag, how);
  std::cout << "call " << streamed << " came " << (deltas[streamed] > 1 ? "in pieces" : "in one piece") << '\n';
  close(wake);
}

static void program() {
  const revenium::library library;
  with_futures();
  with_a_queue();
}

int main() { return run(program); }
