/* Faults on order. $POWERLOSS_FAULTS names a file, which another process writes while this one runs:
 *
 *    0  u32  microseconds that each flush takes longer
 *    4  u32  n > 0: the n-th flush of a file from now fails
 *    8  u32  n > 0: the n-th write from now fails
 *   12  u32  the errno of both
 *   16  i64  nanoseconds that the wall clock is wrong by
 *   24  u32  failures so far; written here
 *
 * Integers are the machine's own. Without the file nothing goes wrong.
 */
#define _GNU_SOURCE
#include "faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANOS 1000000000LL

struct page {
    _Atomic uint32_t flush_delay_us;
    _Atomic uint32_t flush_fuse;
    _Atomic uint32_t write_fuse;
    _Atomic uint32_t error;
    _Atomic int64_t clock_offset_ns;
    _Atomic uint32_t failures;
};

static struct page *page;

/* Counts a fuse down: its errno when it has burnt down just now. */
static int burn(_Atomic uint32_t *fuse) {
    uint32_t left = atomic_load(fuse);
    while (left > 0 && !atomic_compare_exchange_weak(fuse, &left, left - 1))
        continue;
    if (left != 1)
        return 0;
    atomic_fetch_add(&page->failures, 1);
    return (int)atomic_load(&page->error);
}

int faults_on_write(void) {
    return page ? burn(&page->write_fuse) : 0;
}

int faults_on_flush(void) {
    if (!page)
        return 0;
    uint32_t delay = atomic_load(&page->flush_delay_us);
    if (delay)
        usleep(delay);
    return burn(&page->flush_fuse);
}

/* The wall clock; the others go on as they are. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real ? real(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    int64_t offset = page ? atomic_load(&page->clock_offset_ns) : 0;
    if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t all = now->tv_sec * NANOS + now->tv_nsec + offset;
        now->tv_sec = all / NANOS;
        now->tv_nsec = all % NANOS;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWERLOSS_FAULTS");
    if (!path)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    void *mapped = (void *)syscall(SYS_mmap, NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped != MAP_FAILED)
        page = mapped;
}
