/* A wall clock that jumps: an hour on, an hour back, a day back, frozen. LD_PRELOAD.
 * The monotonic clock, by which alone anything may be timed, is left as it is. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long jumped(long seconds) {
    static unsigned calls;
    switch (__sync_add_and_fetch(&calls, 1) / 5 % 4) {
        case 0: return seconds + 3600;
        case 1: return seconds - 3600;
        case 2: return seconds - 86400;
        default: return 1000000000;
    }
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec = jumped(now->tv_sec);
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec fine;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
