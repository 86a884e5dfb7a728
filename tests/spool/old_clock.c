/* A machine that believes in 1969, and changes its mind by years from one look to the next. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    static long looks;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (clock == CLOCK_REALTIME && __atomic_fetch_add(&looks, 1, __ATOMIC_RELAXED) % 5 < 4)
        now->tv_sec = -1000;
    return code;
}
