/* What the C tests ask of POSIX and mingw-w64 does not have, on Windows. */
#ifndef ON_WINDOWS_H
#define ON_WINDOWS_H

#include <winsock2.h>
#include <windows.h>

#include <io.h>
#include <process.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOCK_CLOEXEC 0
#define MSG_NOSIGNAL 0
/* Nothing is closed but sockets. */
#define close(socket) closesocket((SOCKET)(socket))

#define RTLD_NOW 0
#define RTLD_LOCAL 0
#define dlopen(path, how) ((void)(how), (void *)LoadLibraryA(path))
#define dlsym(library, name) ((void *)GetProcAddress((HMODULE)(library), name))
#define dlclose(library) (FreeLibrary((HMODULE)(library)) ? 0 : -1)

__attribute__((constructor)) static void start_sockets(void) {
  WSADATA data;
  WSAStartup(MAKEWORD(2, 2), &data);
}

static inline int setenv(const char *name, const char *value, int replace) {
  (void)replace;
  return _putenv_s(name, value);
}

static inline int unsetenv(const char *name) { return _putenv_s(name, ""); }

static inline char *strsep(char **rest, const char *separators) {
  char *start = *rest;
  if (start) {
    char *end = start + strcspn(start, separators);
    *rest = *end ? end + 1 : NULL;
    *end = 0;
  }
  return start;
}

#endif
