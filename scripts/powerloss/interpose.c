/* Loaded into a process by LD_PRELOAD: tells the shadow what the process does to its files.
 *
 * Each function does what the C library's does, by the same system call, and reports it. Sees only calls that go
 * through the C library: build the program so that they do (rustix: feature `use-libc`). A call that is missed shows
 * as lost data, never as data that is safer than it was.
 */
#define _GNU_SOURCE
#include "faults.h"
#include "shadow.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Writes at the descriptor's own position, one at a time: where they went is read from the position afterwards. */
static pthread_mutex_t position = PTHREAD_MUTEX_INITIALIZER;

static bool is_there(int dir, const char *path) {
    struct stat stat;
    int before = errno;
    bool there = fstatat(dir, path, &stat, 0) == 0;
    errno = before;
    return there;
}

static int open_any(int dir, const char *path, int flags, mode_t mode) {
    bool existed = !(flags & O_CREAT) || is_there(dir, path);
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    if (fd >= 0 && (flags & O_ACCMODE) != O_RDONLY) {
        if (flags & O_DSYNC && shadow_of(fd))
            shadow_refuse("O_SYNC and O_DSYNC are not followed");
        shadow_opened(fd, existed, existed && (flags & O_TRUNC));
    }
    return fd;
}

static mode_t mode_of(int flags, va_list words) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(words, mode_t) : 0;
}

#define OPEN(name)                                                  \
    int name(const char *path, int flags, ...) {                    \
        va_list words;                                              \
        va_start(words, flags);                                     \
        mode_t mode = mode_of(flags, words);                        \
        va_end(words);                                              \
        return open_any(AT_FDCWD, path, flags, mode);               \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                \
    int name(int dir, const char *path, int flags, ...) {           \
        va_list words;                                              \
        va_start(words, flags);                                     \
        mode_t mode = mode_of(flags, words);                        \
        va_end(words);                                              \
        return open_any(dir, path, flags, mode);                    \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) {
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode) {
    return creat(path, mode);
}

/* Whether a write to fd is to fail; errno is set then. */
static bool fails(int fd) {
    int error = shadow_of(fd) ? faults_on_write() : 0;
    if (error)
        errno = error;
    return error != 0;
}

static ssize_t write_here(int fd, const struct iovec *parts, int count) {
    struct inode *inode = shadow_of(fd);
    if (!inode)
        return syscall(SYS_writev, fd, parts, count);
    if (fails(fd))
        return -1;
    pthread_mutex_lock(&position);
    ssize_t done = syscall(SYS_writev, fd, parts, count);
    int error = errno;
    if (done > 0)
        shadow_dirty(inode, syscall(SYS_lseek, fd, 0, SEEK_CUR) - done, done);
    pthread_mutex_unlock(&position);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    struct iovec part = {(void *)bytes, length};
    return write_here(fd, &part, 1);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return write_here(fd, parts, count);
}

static ssize_t wrote(int fd, off_t at, ssize_t done) {
    int error = errno;
    struct inode *inode = done > 0 ? shadow_of(fd) : NULL;
    if (inode && fcntl(fd, F_GETFL) & O_APPEND)
        shadow_refuse("pwrite with O_APPEND is not followed");
    shadow_dirty(inode, at, done);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return fails(fd) ? -1 : wrote(fd, at, syscall(SYS_pwrite64, fd, bytes, length, at));
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    return pwrite(fd, bytes, length, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return fails(fd) ? -1 : wrote(fd, at, syscall(SYS_pwritev, fd, parts, (long)count, (long)at, 0L));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    return pwritev(fd, parts, count, at);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    if (shadow_of(fd) && (flags || at == -1))
        shadow_refuse("pwritev2 with flags is not followed");
    return wrote(fd, at, syscall(SYS_pwritev2, fd, parts, (long)count, (long)at, 0L, flags));
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags) {
    return pwritev2(fd, parts, count, at, flags);
}

/* Copies inside the kernel: where they went is not worth knowing. */
static ssize_t filled(int fd, ssize_t done) {
    int error = errno;
    if (done > 0)
        shadow_dirty(shadow_of(fd), 0, LLONG_MAX);
    errno = error;
    return done;
}

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags) {
    return filled(out, syscall(SYS_copy_file_range, in, in_at, out, out_at, length, flags));
}

ssize_t sendfile(int out, int in, off_t *at, size_t count) {
    return filled(out, syscall(SYS_sendfile, out, in, at, count));
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t count) {
    return sendfile(out, in, at, count);
}

ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags) {
    return filled(out, syscall(SYS_splice, in, in_at, out, out_at, length, flags));
}

int ftruncate(int fd, off_t size) {
    struct inode *inode = shadow_of(fd);
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (result == 0)
        shadow_truncated(inode, size);
    return result;
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

int truncate(const char *path, off_t size) {
    struct inode *inode = shadow_named(AT_FDCWD, path);
    int result = (int)syscall(SYS_truncate, path, size);
    if (result == 0)
        shadow_truncated(inode, size);
    return result;
}

int truncate64(const char *path, off64_t size) {
    return truncate(path, size);
}

int fallocate(int fd, int mode, off_t at, off_t length) {
    int result = (int)syscall(SYS_fallocate, fd, mode, at, length);
    if (result == 0 && mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
        filled(fd, 1);
    else if (result == 0)
        wrote(fd, at, length);
    return result;
}

int fallocate64(int fd, int mode, off64_t at, off64_t length) {
    return fallocate(fd, mode, at, length);
}

int posix_fallocate(int fd, off_t at, off_t length) {
    int before = errno;
    int error = fallocate(fd, 0, at, length) == 0 ? 0 : errno;
    errno = before;
    return error;
}

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    return posix_fallocate(fd, at, length);
}

static int flush(int fd, long number) {
    if (shadow_lies(fd))
        return 0;
    int error = shadow_follows(fd) ? faults_on_flush() : 0;
    if (error) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path);
        dprintf(2, "powerloss: a flush of %.*s fails, as ordered\n", (int)(length > 0 ? length : 0), path);
        shadow_dropped(fd);
        errno = error;
        return -1;
    }
    shadow_flushed(fd);
    return (int)syscall(number, fd);
}

int fsync(int fd) {
    return flush(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return flush(fd, SYS_fdatasync);
}

int syncfs(int fd) {
    if (shadow_is_on())
        shadow_refuse("syncfs is not followed");
    return (int)syscall(SYS_syncfs, fd);
}

static int rename_any(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    struct inode *replaced = flags ? NULL : shadow_named(to_dir, to);
    int result = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    int error = errno;
    shadow_forgotten(replaced, result == 0);
    errno = error;
    return result;
}

int rename(const char *from, const char *to) {
    return rename_any(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    return rename_any(from_dir, from, to_dir, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    return rename_any(from_dir, from, to_dir, to, flags);
}

int unlinkat(int dir, const char *path, int flags) {
    struct inode *inode = flags & AT_REMOVEDIR ? NULL : shadow_named(dir, path);
    int result = (int)syscall(SYS_unlinkat, dir, path, flags);
    int error = errno;
    shadow_forgotten(inode, result == 0);
    errno = error;
    return result;
}

int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path) {
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int remove(const char *path) {
    int before = errno;
    if (unlinkat(AT_FDCWD, path, 0) == 0)
        return 0;
    if (errno != EISDIR)
        return -1;
    errno = before;
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int dir, const char *path, mode_t mode) {
    int result = (int)syscall(SYS_mkdirat, dir, path, mode);
    if (result == 0)
        shadow_made_directory(dir, path);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    return mkdirat(AT_FDCWD, path, mode);
}

/* Stores into a shared mapping cannot be seen. SQLite's -shm is one, and is not tracked. */
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t at) {
    if (fd >= 0 && flags & MAP_SHARED && protection & PROT_WRITE && shadow_of(fd))
        shadow_refuse("a shared writable mapping is not followed");
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, at);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t at) {
    return mmap(address, length, protection, flags, fd, at);
}
