/* A disk on which nothing can be written to a journal as long as the file that REVENIUM_TEST_FAULT names holds an error's
 * number: full, over a quota, read-only, out of descriptors. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fault(void)
{
    static ssize_t (*read_file)(int, void *, size_t);
    const char *path = getenv("REVENIUM_TEST_FAULT");
    char number[8] = "";
    if (!read_file)
        read_file = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    int file = path ? openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    ssize_t length = read_file(file, number, sizeof number - 1);
    close(file);
    return length > 0 ? atoi(number) : 0;
}

static int of_journal(const char *path)
{
    return strstr(path, ".journal") != NULL;
}

static int is_journal(int file)
{
    char link[64], path[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    return readlink(link, path, sizeof path - 1) > 0 && of_journal(path);
}

static int fails(int touched)
{
    int error = touched ? fault() : 0;
    if (error)
        errno = error;
    return error;
}

#define REAL(name, ...) ((__VA_ARGS__)dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t size)
{
    return fails(is_journal(file)) ? -1 : REAL(write, ssize_t(*)(int, const void *, size_t))(file, bytes, size);
}

int ftruncate64(int file, off64_t size)
{
    return fails(is_journal(file)) ? -1 : REAL(ftruncate64, int (*)(int, off64_t))(file, size);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return fails(of_journal(path)) ? -1 : REAL(open64, int (*)(const char *, int, ...))(path, flags, mode);
}
