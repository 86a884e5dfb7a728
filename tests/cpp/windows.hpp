// What the tests ask of POSIX, on Windows.
#ifndef WINDOWS_HPP
#define WINDOWS_HPP

#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <winsock2.h>

#include <cstdlib>

constexpr int SOCK_CLOEXEC = 0;
constexpr int MSG_NOSIGNAL = 0;

namespace test {
struct sockets {
  sockets() {
    WSADATA data;
    WSAStartup(MAKEWORD(2, 2), &data);
  }
};
inline const sockets started;
}  // namespace test

inline int close(int fd) { return closesocket(static_cast<SOCKET>(fd)); }
inline int setenv(const char* name, const char* value, int) { return _putenv_s(name, value); }
inline int unsetenv(const char* name) { return _putenv_s(name, ""); }

#endif
