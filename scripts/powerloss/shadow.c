/* The shadow: what a disk would hold after a power cut.
 *
 *   $POWERLOSS_SHADOW/inodes/INO.SEQ   the bytes of one file as last flushed
 *   $POWERLOSS_SHADOW/tree/PATH        the names as last flushed, hard links to the above
 *
 * Rules:
 *   - Bytes reach the shadow by fsync or fdatasync of their file, and by nothing else.
 *   - Names (created, renamed, removed) reach it by fsync of their directory. As on ext4, the first fsync of a file
 *     that has no durable name makes its present one durable; POWERLOSS_STRICT=1 switches that off.
 *   - A directory becomes durable with the first durable thing in it.
 *   - *-shm files are SQLite's shared memory: neither bytes nor names are kept.
 *
 * The real files always hold the newest bytes (the kernel survives the kill -9 that plays the power cut), so that
 * what was not flushed is the difference between the two: `restore` may keep any part of it.
 *
 * A process that is killed and started again without a power cut forgets which bytes are dirty: it then takes all
 * bytes of all files for dirty, until their next flush.
 */
#define _GNU_SOURCE
#include "shadow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BUCKETS 4096
#define RANGES_MAX 4096
#define COPY_BYTES 65536

struct range {
    off_t begin, end;
};

struct inode {
    ino_t ino;
    unsigned seq;
    bool forgotten;
    off_t kept;             /* bytes of the shadow that no truncation has touched since the last flush */
    struct range *ranges;   /* dirty since the last flush */
    size_t ranges_len;
    pthread_mutex_t flush;  /* one flush at a time: the second may not return before the first is done */
    struct inode *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below, and the fields of inodes */
static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER; /* guards the durable tree */
static struct inode *table[BUCKETS];
static char root[PATH_MAX], shadow[PATH_MAX];
static dev_t device; /* of the root: elsewhere the same numbers are other files */
static const char *lie_pattern;
static bool is_strict;
static unsigned seq_last;

/* Our own calls go straight to the kernel, past interpose.c. */
static int raw_open(const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

void shadow_refuse(const char *what) {
    dprintf(2, "powerloss: %s\n", what);
    _exit(99);
}

static void demand(bool holds, const char *what, const char *path) {
    if (holds)
        return;
    char text[PATH_MAX + 128];
    snprintf(text, sizeof text, "%s %s: %s", what, path, strerror(errno));
    shadow_refuse(text);
}

/* A path into a buffer of PATH_MAX. */
__attribute__((format(printf, 2, 3))) static void print(char *out, const char *format, ...) {
    va_list words;
    va_start(words, format);
    int length = vsnprintf(out, PATH_MAX, format, words);
    va_end(words);
    if (length >= PATH_MAX)
        shadow_refuse("a path is too long");
}

bool shadow_is_on(void) {
    return root[0] != 0;
}

static bool is_ignored(const char *path) {
    size_t length = strlen(path);
    return length >= 4 && strcmp(path + length - 4, "-shm") == 0;
}

/* The path of fd below the root, or NULL: another place, or a file without a name. The root itself is "". */
static const char *path_below(int fd, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    if (length < 0)
        return NULL;
    buffer[length] = 0;
    size_t root_length = strlen(root);
    if (strncmp(buffer, root, root_length) != 0)
        return NULL;
    const char *rest = buffer + root_length;
    if (*rest != 0 && *rest != '/')
        return NULL;
    const char *deleted = strstr(rest, " (deleted)");
    if ((deleted && deleted[10] == 0) || is_ignored(rest))
        return NULL;
    return *rest == '/' ? rest + 1 : rest;
}

static void inode_path(char *out, ino_t ino, unsigned seq) {
    print(out, "%s/inodes/%llu.%u", shadow, (unsigned long long)ino, seq);
}

static void tree_path(char *out, const char *path) {
    print(out, path[0] ? "%s/tree/%s" : "%s/tree", shadow, path);
}

static struct inode *find(ino_t ino) {
    struct inode *inode = table[ino % BUCKETS];
    while (inode && (inode->ino != ino || inode->forgotten))
        inode = inode->next;
    return inode;
}

static struct inode *insert(ino_t ino, unsigned seq) {
    struct inode *inode = calloc(1, sizeof *inode);
    demand(inode != NULL, "allocate", "inode");
    inode->ino = ino;
    inode->seq = seq;
    inode->kept = LLONG_MAX;
    pthread_mutex_init(&inode->flush, NULL);
    inode->next = table[ino % BUCKETS];
    table[ino % BUCKETS] = inode;
    if (seq > seq_last)
        seq_last = seq;
    return inode;
}

/* A file that the shadow has never seen: empty there. */
static struct inode *adopt(ino_t ino) {
    char path[PATH_MAX];
    struct inode *inode = insert(ino, seq_last + 1);
    inode_path(path, ino, inode->seq);
    int fd = raw_open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    demand(fd >= 0, "create", path);
    close(fd);
    return inode;
}

static void add_range(struct inode *inode, off_t begin, off_t end) {
    if (!inode->ranges)
        inode->ranges = malloc(RANGES_MAX * sizeof *inode->ranges);
    demand(inode->ranges != NULL, "allocate", "ranges");
    struct range *last = inode->ranges_len ? &inode->ranges[inode->ranges_len - 1] : NULL;
    if (last && begin <= last->end && end >= last->begin) {
        last->begin = begin < last->begin ? begin : last->begin;
        last->end = end > last->end ? end : last->end;
    } else if (inode->ranges_len == RANGES_MAX) {
        inode->ranges[0] = (struct range){0, LLONG_MAX};
        inode->ranges_len = 1;
    } else {
        inode->ranges[inode->ranges_len++] = (struct range){begin, end};
    }
}

/* Nothing is known of what the file and its shadow have in common: the next flush copies all of it, over what is there.
 * Not into an emptied shadow: a process that is killed meanwhile must not take back what was flushed long ago. */
static void all_dirty(struct inode *inode) {
    inode->kept = LLONG_MAX;
    inode->ranges_len = 0;
    add_range(inode, 0, LLONG_MAX);
}

struct inode *shadow_of(int fd) {
    struct stat stat;
    char buffer[PATH_MAX];
    if (!shadow_is_on() || fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_dev != device)
        return NULL;
    pthread_mutex_lock(&lock);
    struct inode *inode = find(stat.st_ino);
    if (!inode && path_below(fd, buffer)) {
        /* Made by a call that we do not see. */
        inode = adopt(stat.st_ino);
        all_dirty(inode);
    }
    pthread_mutex_unlock(&lock);
    return inode;
}

void shadow_opened(int fd, bool existed, bool truncated) {
    struct stat stat;
    char buffer[PATH_MAX];
    if (!shadow_is_on() || fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_dev != device)
        return;
    bool is_followed = path_below(fd, buffer) != NULL;
    pthread_mutex_lock(&lock);
    struct inode *inode = find(stat.st_ino);
    if (inode && (!existed || !is_followed)) {
        /* The number of a file that is gone, used again. */
        inode->forgotten = true;
        inode = NULL;
    }
    if (!is_followed) {
        pthread_mutex_unlock(&lock);
        return;
    }
    if (!inode) {
        inode = adopt(stat.st_ino);
        if (existed)
            all_dirty(inode);
    } else if (truncated) {
        inode->kept = 0;
    }
    pthread_mutex_unlock(&lock);
}

void shadow_dirty(struct inode *inode, off_t at, off_t length) {
    if (!inode || length <= 0)
        return;
    pthread_mutex_lock(&lock);
    add_range(inode, at, at + length);
    pthread_mutex_unlock(&lock);
}

void shadow_truncated(struct inode *inode, off_t size) {
    if (!inode)
        return;
    pthread_mutex_lock(&lock);
    if (size < inode->kept)
        inode->kept = size;
    pthread_mutex_unlock(&lock);
}

/* A descriptor from which the bytes of fd can be read. Not another one of the same file if it can be helped: closing
 * that would drop the process's POSIX locks, on which SQLite relies. */
static int readable(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if ((flags & O_ACCMODE) != O_WRONLY && !(flags & O_DIRECT))
        return fd;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int other = raw_open(link, O_RDONLY, 0);
    demand(other >= 0, "open for reading", link);
    return other;
}

static void copy_range(int from, int to, off_t begin, off_t end) {
    static _Thread_local char buffer[COPY_BYTES];
    while (begin < end) {
        size_t want = end - begin < COPY_BYTES ? (size_t)(end - begin) : COPY_BYTES;
        ssize_t got = syscall(SYS_pread64, from, buffer, want, begin);
        if (got <= 0)
            return;
        demand(syscall(SYS_pwrite64, to, buffer, (size_t)got, begin) == got, "write", "shadow");
        begin += got;
    }
}

static void flush_bytes(struct inode *inode, int fd) {
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    struct range *ranges = inode->ranges;
    size_t length = inode->ranges_len;
    off_t kept = inode->kept;
    inode->ranges = NULL;
    inode->ranges_len = 0;
    inode->kept = LLONG_MAX;
    pthread_mutex_unlock(&lock);

    struct stat stat, old;
    inode_path(path, inode->ino, inode->seq);
    int to = raw_open(path, O_WRONLY, 0);
    demand(to >= 0 && fstat(fd, &stat) == 0 && fstat(to, &old) == 0, "open", path);
    if (kept < old.st_size)
        demand(syscall(SYS_ftruncate, to, kept) == 0, "truncate", path);
    demand(syscall(SYS_ftruncate, to, stat.st_size) == 0, "resize", path);
    int from = length ? readable(fd) : fd;
    for (size_t i = 0; i < length; i++)
        copy_range(from, to, ranges[i].begin, ranges[i].end < stat.st_size ? ranges[i].end : stat.st_size);
    if (from != fd)
        close(from);
    close(to);
    free(ranges);
}

static void make_parents(const char *path) {
    char at[PATH_MAX];
    tree_path(at, path);
    for (char *slash = at + strlen(shadow) + strlen("/tree/"); (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(at, 0755);
        *slash = '/';
    }
}

/* Makes `path` durable as a name of inode. */
static void link_name(struct inode *inode, const char *path) {
    char from[PATH_MAX], to[PATH_MAX], fresh[PATH_MAX];
    struct stat now, before;
    inode_path(from, inode->ino, inode->seq);
    tree_path(to, path);
    demand(stat(from, &now) == 0, "look at", from);
    if (lstat(to, &before) == 0 && before.st_ino == now.st_ino)
        return;
    make_parents(path);
    print(fresh, "%s/fresh", shadow);
    syscall(SYS_unlinkat, AT_FDCWD, fresh, 0);
    demand(syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, fresh, 0) == 0, "link", fresh);
    demand(syscall(SYS_renameat, AT_FDCWD, fresh, AT_FDCWD, to) == 0, "rename to", to);
}

static void remove_tree(int parent, const char *name) {
    int fd = (int)syscall(SYS_openat, parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0) {
        syscall(SYS_unlinkat, parent, name, 0);
        return;
    }
    DIR *entries = fdopendir(fd);
    for (struct dirent *entry; (entry = readdir(entries));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_tree(fd, entry->d_name);
    closedir(entries);
    syscall(SYS_unlinkat, parent, name, AT_REMOVEDIR);
}

/* Where the durable tree holds the directory that now is `path`, by the marker that its first flush left. */
static void directory_marker(char *out, ino_t ino) {
    print(out, "%s/dirs/%llu", shadow, (unsigned long long)ino);
}

static void adopt_directory(const char *path, ino_t ino) {
    char marker[PATH_MAX], before[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
    directory_marker(marker, ino);
    ssize_t length = readlink(marker, before, sizeof before - 1);
    tree_path(to, path);
    make_parents(path);
    if (length > 0 && (before[length] = 0, strcmp(before, path) != 0)) {
        /* Renamed since: its durable content moves along. */
        tree_path(from, before);
        syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
        syscall(SYS_unlinkat, AT_FDCWD, marker, 0);
        length = -1;
    }
    mkdir(to, 0755);
    if (length < 0)
        demand(symlink(path, marker) == 0, "mark", marker);
}

/* The durable names in directory `path` become the present ones. */
static void flush_names(const char *path, int dir) {
    char at[PATH_MAX], name[PATH_MAX];
    int fd = (int)syscall(SYS_openat, dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *live = fd < 0 ? NULL : fdopendir(fd);
    demand(live != NULL, "list", path);
    struct stat self;
    demand(fstat(dir, &self) == 0, "look at", path);
    if (path[0])
        adopt_directory(path, self.st_ino);
    for (struct dirent *entry; (entry = readdir(live));) {
        struct stat stat;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || is_ignored(entry->d_name))
            continue;
        if (fstatat(dir, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        print(name, path[0] ? "%s/%s" : "%s%s", path, entry->d_name);
        if (S_ISDIR(stat.st_mode)) {
            adopt_directory(name, stat.st_ino);
        } else if (S_ISREG(stat.st_mode)) {
            pthread_mutex_lock(&lock);
            struct inode *inode = find(stat.st_ino);
            if (!inode)
                all_dirty(inode = adopt(stat.st_ino));
            pthread_mutex_unlock(&lock);
            link_name(inode, name);
        } else {
            shadow_refuse("neither file nor directory below the root");
        }
    }
    closedir(live);
    tree_path(at, path);
    DIR *durable = opendir(at);
    demand(durable != NULL, "list", at);
    for (struct dirent *entry; (entry = readdir(durable));) {
        struct stat stat;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            fstatat(dir, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
            remove_tree(dirfd(durable), entry->d_name);
    }
    closedir(durable);
}

void shadow_flushed(int fd) {
    struct stat stat;
    char buffer[PATH_MAX], at[PATH_MAX];
    if (!shadow_is_on() || fstat(fd, &stat) != 0)
        return;
    if (S_ISDIR(stat.st_mode)) {
        const char *path = path_below(fd, buffer);
        if (!path)
            return;
        pthread_mutex_lock(&names);
        flush_names(path, fd);
        pthread_mutex_unlock(&names);
        return;
    }
    struct inode *inode = shadow_of(fd);
    if (!inode)
        return;
    pthread_mutex_lock(&inode->flush);
    flush_bytes(inode, fd);
    pthread_mutex_unlock(&inode->flush);
    inode_path(at, inode->ino, inode->seq);
    const char *path = path_below(fd, buffer);
    demand(lstat(at, &stat) == 0, "look at", at);
    if (!is_strict && path && stat.st_nlink == 1) {
        pthread_mutex_lock(&names);
        link_name(inode, path);
        pthread_mutex_unlock(&names);
    }
}

bool shadow_follows(int fd) {
    char buffer[PATH_MAX];
    return shadow_is_on() && path_below(fd, buffer) != NULL;
}

void shadow_dropped(int fd) {
    struct inode *inode = shadow_of(fd);
    if (!inode)
        return;
    pthread_mutex_lock(&lock);
    inode->ranges_len = 0;
    pthread_mutex_unlock(&lock);
}

bool shadow_lies(int fd) {
    char buffer[PATH_MAX];
    if (!shadow_is_on() || !lie_pattern)
        return false;
    const char *path = path_below(fd, buffer);
    return path && fnmatch(lie_pattern, path, 0) == 0;
}

struct inode *shadow_named(int dir, const char *path) {
    struct stat stat;
    if (!shadow_is_on() || fstatat(dir, path, &stat, AT_SYMLINK_NOFOLLOW) != 0)
        return NULL;
    if (!S_ISREG(stat.st_mode) || stat.st_nlink != 1 || stat.st_dev != device)
        return NULL;
    pthread_mutex_lock(&lock);
    struct inode *inode = find(stat.st_ino);
    pthread_mutex_unlock(&lock);
    return inode;
}

void shadow_forgotten(struct inode *inode, bool gone) {
    if (!inode || !gone)
        return;
    pthread_mutex_lock(&lock);
    inode->forgotten = true;
    pthread_mutex_unlock(&lock);
}

void shadow_made_directory(int dir, const char *path) {
    struct stat stat;
    char marker[PATH_MAX];
    if (!shadow_is_on() || fstatat(dir, path, &stat, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    /* The number may have been another directory's. */
    directory_marker(marker, stat.st_ino);
    syscall(SYS_unlinkat, AT_FDCWD, marker, 0);
}

/* After a power cut all that is there is durable: takes the files below `path` as they are. */
static void take_tree(const char *path) {
    char at[PATH_MAX], name[PATH_MAX];
    print(at, path[0] ? "%s/%s" : "%s%s", root, path);
    DIR *live = opendir(at);
    demand(live != NULL, "list", at);
    for (struct dirent *entry; (entry = readdir(live));) {
        struct stat stat;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || is_ignored(entry->d_name))
            continue;
        print(name, path[0] ? "%s/%s" : "%s%s", path, entry->d_name);
        demand(fstatat(dirfd(live), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0, "look at", name);
        if (S_ISDIR(stat.st_mode)) {
            adopt_directory(name, stat.st_ino);
            take_tree(name);
        } else if (S_ISREG(stat.st_mode)) {
            print(at, "%s/%s", root, name);
            int fd = raw_open(at, O_RDONLY, 0);
            demand(fd >= 0, "open", at);
            struct inode *inode = adopt(stat.st_ino);
            all_dirty(inode);
            flush_bytes(inode, fd);
            link_name(inode, name);
            close(fd);
        }
    }
    closedir(live);
}

/* Another process kept this shadow and was killed: what it knew of dirty bytes is lost. */
static void take_shadow(void) {
    char at[PATH_MAX];
    print(at, "%s/inodes", shadow);
    DIR *inodes = opendir(at);
    demand(inodes != NULL, "list", at);
    for (struct dirent *entry; (entry = readdir(inodes));) {
        unsigned long long ino;
        unsigned seq;
        if (sscanf(entry->d_name, "%llu.%u", &ino, &seq) != 2)
            continue;
        struct inode *other = find(ino);
        if (other && other->seq > seq)
            continue;
        if (other)
            other->forgotten = true;
        all_dirty(insert(ino, seq));
    }
    closedir(inodes);
}

__attribute__((constructor)) static void begin(void) {
    const char *root_given = getenv("POWERLOSS_ROOT"), *shadow_given = getenv("POWERLOSS_SHADOW");
    char at[PATH_MAX], real[PATH_MAX];
    if (!root_given || !shadow_given)
        return;
    lie_pattern = getenv("POWERLOSS_LIE_PATTERN");
    is_strict = getenv("POWERLOSS_STRICT") != NULL;
    demand(realpath(root_given, real) != NULL, "find", root_given);
    demand(realpath(shadow_given, shadow) != NULL, "find", shadow_given);
    print(at, "%s/taken", shadow);
    bool is_first = access(at, F_OK) != 0;
    for (const char **part = (const char *[]){"inodes", "dirs", "tree", NULL}; *part; part++) {
        print(at, "%s/%s", shadow, *part);
        if (is_first)
            /* Of a process that was killed while it took the files. */
            remove_tree(AT_FDCWD, at);
        mkdir(at, 0755);
    }
    struct stat about;
    demand(stat(real, &about) == 0, "look at", real);
    device = about.st_dev;
    strcpy(root, real);
    if (!is_first) {
        take_shadow();
        return;
    }
    take_tree("");
    print(at, "%s/taken", shadow);
    int taken = raw_open(at, O_CREAT | O_WRONLY, 0644);
    demand(taken >= 0, "create", at);
    close(taken);
}
