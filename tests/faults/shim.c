/* Sits between a process and libc, and makes the file-changing calls under one folder fail.
 *
 *   cc -shared -fPIC -O1 -U_FORTIFY_SOURCE -o shim.so shim.c;  LD_PRELOAD=shim.so python ...
 *
 * Every call that may change something under the folder is counted. The n-th can fail, be cut
 * short, or never be reached, because the process is killed: before it or, if it writes, in the
 * middle. (To die after a call is to die before the next.) Each can be written to a log, with its
 * data, from which powerloss.py rebuilds what a disk may hold after the power went. Calls that
 * only read are not touched, nor is close(), which changes nothing on a local disk.
 *
 * Armed by fault_arm(), through ctypes. A fork is armed as its parent is, and counts on by itself.
 * 64-bit Linux only: the kernel is called directly, so that nothing here can call itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Both lists are repeated in fork_server.py and powerloss.py. */
enum { OFF, FAIL_ONE, FAIL_FROM, SHORT, KILL_BEFORE, KILL_HALF };
enum { ROOT, OPEN, CREATE, TRUNCATE, WRITE, SYNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, MARK };
enum { GO, FAIL, HALF, HALF_AND_DIE };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held for the whole of a counted call */
static char root[PATH_MAX];
static size_t root_length;
static int mode, error, log_file = -1;
static long nth, count;

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* One record: a fixed head, two paths, and the bytes written. */
static void note(int op, int ok, uint64_t node, int64_t at, const char *a, const char *b,
                 const void *data, size_t size) {
    struct __attribute__((packed)) {
        uint8_t op, ok;
        uint64_t node;
        int64_t at;
        uint16_t a, b;
        uint32_t size;
    } head = {op, ok, node, at, strlen(a), strlen(b), size};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)a, head.a}, {(void *)b, head.b},
                            {(void *)data, size}};
    if (log_file >= 0) syscall(SYS_writev, log_file, parts, 4);
}

/* Writes the absolute path of a name, or of an open file if `name` is NULL; 1 if it is watched. */
static int watched(int folder, const char *name, char *path) {
    char link[64];
    ssize_t length = 0;
    if (!root_length) return 0;
    if (!name || name[0] != '/') {
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
        if (length < 0) return 0;
    }
    path[length] = 0;
    if (name && snprintf(path + length, PATH_MAX - length, "%s%s", length ? "/" : "", name) >=
                    PATH_MAX - length) return 0;
    return !strncmp(path, root, root_length) && (!path[root_length] || path[root_length] == '/');
}

/* Counts one call, and says what is to become of it. Takes the lock; finish() gives it back. */
static int begin(int writes) {
    pthread_mutex_lock(&lock);
    count++;
    if (mode == OFF || count < nth) return GO;
    if (count > nth) return mode == FAIL_FROM || (mode == SHORT && error) ? FAIL : GO;
    switch (mode) {
    case SHORT: return writes ? HALF : GO;
    case KILL_HALF: if (writes) return HALF_AND_DIE; /* fall through */
    case KILL_BEFORE: die(); /* fall through */
    default: return FAIL;
    }
}

static long finish(int what, long result, int op, uint64_t node, int64_t at, const char *a,
                   const char *b, const void *data) {
    int saved = what == FAIL ? error : errno;
    note(op, result >= 0, node, at, a, b, data, data && result > 0 ? result : 0);
    if (what == HALF_AND_DIE) die();
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

static uint64_t node_of(int folder, const char *name) {
    struct stat found;
    int failed = name ? fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) : fstat(folder, &found);
    return failed ? 0 : found.st_ino;
}

/* ---- what the tests call ---- */

void fault_arm(const char *folder, int new_mode, long new_nth, int new_error, const char *log) {
    mode = new_mode, nth = new_nth, error = new_error, count = 0;
    if (log_file >= 0) syscall(SYS_close, log_file);
    log_file = -1;
    if (log && *log) {
        int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        log_file = fcntl(file, F_DUPFD_CLOEXEC, 500); /* out of the way of everybody's files */
        syscall(SYS_close, file);
    }
    root_length = snprintf(root, sizeof root, "%s", folder);
    if (root_length) note(ROOT, 1, node_of(AT_FDCWD, root), 0, root, "", "", 0);
}

long fault_count(void) { return count; }

void fault_mark(const char *text) { /* not counted: a moment that the tests want to know again */
    pthread_mutex_lock(&lock);
    note(MARK, 1, 0, 0, "", "", text, strlen(text));
    pthread_mutex_unlock(&lock);
}

/* A fork may happen while another thread is within a counted call: the child must not wait for it. */
static void fresh_lock(void) { lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; }
__attribute__((constructor)) static void start(void) { pthread_atfork(NULL, NULL, fresh_lock); }

/* ---- what stands in for libc ---- */

int openat(int folder, const char *name, int flags, ...) {
    char path[PATH_MAX];
    va_list rest;
    va_start(rest, flags);
    int rights = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
    va_end(rest);
    if (!(flags & (O_CREAT | O_TRUNC)) || !watched(folder, name, path))
        return syscall(SYS_openat, folder, name, flags, rights);
    int what = begin(0), there = node_of(folder, name) != 0, file = -1;
    if (what != FAIL) file = syscall(SYS_openat, folder, name, flags, rights);
    int op = !there ? CREATE : flags & O_TRUNC ? TRUNCATE : OPEN;
    return finish(what, file, op, file < 0 ? 0 : node_of(file, NULL), 0, path, "", NULL);
}
int open(const char *name, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int rights = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
    va_end(rest);
    return openat(AT_FDCWD, name, flags, rights);
}
int creat(const char *name, mode_t rights) {
    return openat(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, rights);
}

/* `at` < 0: where the file stands. */
static ssize_t put(int file, const void *data, size_t size, off_t at) {
    char path[PATH_MAX];
    int plain = at < 0;
    if (!watched(file, NULL, path))
        return plain ? syscall(SYS_write, file, data, size)
                     : syscall(SYS_pwrite64, file, data, size, at);
    int what = begin(1);
    long done = -1;
    if (what == HALF || what == HALF_AND_DIE) size = size > 1 ? size / 2 : size;
    if (what != FAIL)
        done = plain ? syscall(SYS_write, file, data, size)
                     : syscall(SYS_pwrite64, file, data, size, at);
    if (plain && done >= 0) at = lseek(file, 0, SEEK_CUR) - done;
    return finish(what, done, WRITE, node_of(file, NULL), at, path, "", data);
}
ssize_t write(int file, const void *data, size_t size) { return put(file, data, size, -1); }
ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    return put(file, data, size, at);
}
ssize_t writev(int file, const struct iovec *parts, int number) {
    char path[PATH_MAX], *all;
    size_t size = 0, at = 0;
    if (!watched(file, NULL, path)) return syscall(SYS_writev, file, parts, number);
    for (int i = 0; i < number; i++) size += parts[i].iov_len;
    if (!(all = malloc(size + 1))) return -1;
    for (int i = 0; i < number; at += parts[i++].iov_len)
        memcpy(all + at, parts[i].iov_base, parts[i].iov_len);
    ssize_t done = put(file, all, size, -1);
    free(all);
    return done;
}
/* Copying inside the kernel is refused, as some file systems do: callers then read and write. */
ssize_t sendfile(int to, int from, off_t *at, size_t size) {
    char path[PATH_MAX];
    if (watched(to, NULL, path)) return errno = ENOTSOCK, -1;
    return syscall(SYS_sendfile, to, from, at, size);
}
ssize_t copy_file_range(int from, off_t *a, int to, off_t *b, size_t size, unsigned flags) {
    char path[PATH_MAX];
    if (watched(to, NULL, path)) return errno = ENOSYS, -1;
    return syscall(SYS_copy_file_range, from, a, to, b, size, flags);
}

/* Calls on an open file. */
#define ON_FILE(op, at, call)                                          \
    char path[PATH_MAX];                                               \
    if (!watched(file, NULL, path)) return call;                       \
    int what = begin(0);                                               \
    long done = what == FAIL ? -1 : call;                              \
    return finish(what, done, op, node_of(file, NULL), at, path, "", NULL);
int ftruncate(int file, off_t size) { ON_FILE(TRUNCATE, size, syscall(SYS_ftruncate, file, size)) }
int fsync(int file) { ON_FILE(SYNC, 0, syscall(SYS_fsync, file)) }
int fdatasync(int file) { ON_FILE(SYNC, 0, syscall(SYS_fdatasync, file)) }

/* Calls on a name. */
#define ON_NAME(op, call)                                              \
    char path[PATH_MAX];                                               \
    if (!watched(folder, name, path)) return call;                     \
    int what = begin(0);                                               \
    long done = what == FAIL ? -1 : call;                              \
    uint64_t node = done < 0 ? 0 : node_of(folder, name);              \
    return finish(what, done, op, node, 0, path, "", NULL);
int mkdirat(int folder, const char *name, mode_t rights) {
    ON_NAME(MKDIR, syscall(SYS_mkdirat, folder, name, rights))
}
int unlinkat(int folder, const char *name, int flags) {
    ON_NAME(flags & AT_REMOVEDIR ? RMDIR : UNLINK, syscall(SYS_unlinkat, folder, name, flags))
}
int mkdir(const char *name, mode_t rights) { return mkdirat(AT_FDCWD, name, rights); }
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

/* Calls on two names. */
#define ON_NAMES(op, call)                                             \
    char path[PATH_MAX], other[PATH_MAX];                              \
    int here = watched(a, from, path), there = watched(b, to, other);  \
    if (!here && !there) return call;                                  \
    int what = begin(0);                                               \
    long done = what == FAIL ? -1 : call;                              \
    return finish(what, done, op, done < 0 ? 0 : node_of(b, to), 0, path, other, NULL);
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    ON_NAMES(RENAME, syscall(SYS_renameat2, a, from, b, to, flags))
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    ON_NAMES(LINK, syscall(SYS_linkat, a, from, b, to, flags))
}
int renameat(int a, const char *from, int b, const char *to) {
    return renameat2(a, from, b, to, 0);
}
int rename(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

/* The names that programs built for large files call; on a 64-bit system they are the same. */
#define SAME_AS(name) __attribute__((alias(#name)))
int open64(const char *, int, ...) SAME_AS(open);
int openat64(int, const char *, int, ...) SAME_AS(openat);
int creat64(const char *, mode_t) SAME_AS(creat);
ssize_t pwrite64(int, const void *, size_t, off_t) SAME_AS(pwrite);
int ftruncate64(int, off_t) SAME_AS(ftruncate);
ssize_t sendfile64(int, int, off_t *, size_t) SAME_AS(sendfile);
