/* A filesystem on which each operation takes long, such as NFS or Lustre.

   Loaded with LD_PRELOAD into a process, it delays each call on files below $SLOW_BELOW by
   $SLOW_MICROSECONDS: those that name a path there, or a name in a directory that is open
   there, and those on files that are open there. Nothing else is changed.

   cc -shared -fPIC -O2 -o slow.so slow.c -ldl */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536

static char slow[MOST]; /* descriptors of what is below */
static const char *below;
static size_t length;
static struct timespec delay;

__attribute__((constructor)) static void start(void) {
    const char *text = getenv("SLOW_MICROSECONDS");
    long microseconds = text ? atol(text) : 0;
    below = getenv("SLOW_BELOW");
    length = below ? strlen(below) : 0;
    delay.tv_sec = microseconds / 1000000;
    delay.tv_nsec = microseconds % 1000000 * 1000;
}

static int open_below(int descriptor) {
    return descriptor >= 0 && descriptor < MOST && slow[descriptor];
}

static int named_below(int directory, const char *path) {
    if (!path || !length) return 0;
    if (path[0] == '/') return strncmp(path, below, length) == 0;
    return open_below(directory);
}

static void wait_if(int is_slow) {
    int before = errno;
    if (is_slow && (delay.tv_sec || delay.tv_nsec)) nanosleep(&delay, NULL);
    errno = before;
}

static int known(int descriptor, int is_slow) {
    if (descriptor >= 0 && descriptor < MOST) slow[descriptor] = (char)is_slow;
    return descriptor;
}

#define REAL(type, name, ...)                                      \
    static type (*real)(__VA_ARGS__);                              \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                                 \
    int name(const char *path, int flags, ...) {                   \
        REAL(int, name, const char *, int, ...);                   \
        va_list more;                                              \
        va_start(more, flags);                                     \
        mode_t mode = va_arg(more, mode_t);                        \
        va_end(more);                                              \
        int is_slow = named_below(-1, path);                       \
        wait_if(is_slow);                                          \
        return known(real(path, flags, mode), is_slow);            \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                               \
    int name(int directory, const char *path, int flags, ...) {    \
        REAL(int, name, int, const char *, int, ...);              \
        va_list more;                                              \
        va_start(more, flags);                                     \
        mode_t mode = va_arg(more, mode_t);                        \
        va_end(more);                                              \
        int is_slow = named_below(directory, path);                \
        wait_if(is_slow);                                          \
        return known(real(directory, path, flags, mode), is_slow); \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int descriptor) {
    REAL(int, close, int);
    wait_if(open_below(descriptor));
    known(descriptor, 0);
    return real(descriptor);
}

int dup(int descriptor) {
    REAL(int, dup, int);
    return known(real(descriptor), open_below(descriptor));
}

#define ON_FILE(type, name, parameters, arguments, ...)            \
    type name parameters {                                         \
        REAL(type, name, __VA_ARGS__);                             \
        wait_if(open_below(descriptor));                           \
        return real arguments;                                     \
    }
ON_FILE(ssize_t, read, (int descriptor, void *to, size_t count), (descriptor, to, count),
        int, void *, size_t)
ON_FILE(ssize_t, write, (int descriptor, const void *from, size_t count),
        (descriptor, from, count), int, const void *, size_t)
ON_FILE(ssize_t, readv, (int descriptor, const struct iovec *to, int count),
        (descriptor, to, count), int, const struct iovec *, int)
ON_FILE(ssize_t, pread64, (int descriptor, void *to, size_t count, off64_t offset),
        (descriptor, to, count, offset), int, void *, size_t, off64_t)
ON_FILE(int, fsync, (int descriptor), (descriptor), int)
ON_FILE(int, syncfs, (int descriptor), (descriptor), int)
ON_FILE(int, fstat, (int descriptor, struct stat *to), (descriptor, to), int, struct stat *)
ON_FILE(int, fstat64, (int descriptor, struct stat64 *to), (descriptor, to), int, struct stat64 *)
ON_FILE(int, fchmod, (int descriptor, mode_t mode), (descriptor, mode), int, mode_t)

#define ON_PATH(type, name, parameters, arguments, ...)            \
    type name parameters {                                         \
        REAL(type, name, __VA_ARGS__);                             \
        wait_if(named_below(-1, path));                            \
        return real arguments;                                     \
    }
ON_PATH(int, stat, (const char *path, struct stat *to), (path, to), const char *, struct stat *)
ON_PATH(int, stat64, (const char *path, struct stat64 *to), (path, to), const char *,
        struct stat64 *)
ON_PATH(int, lstat, (const char *path, struct stat *to), (path, to), const char *, struct stat *)
ON_PATH(int, lstat64, (const char *path, struct stat64 *to), (path, to), const char *,
        struct stat64 *)
ON_PATH(int, mkdir, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
ON_PATH(int, rmdir, (const char *path), (path), const char *)
ON_PATH(int, unlink, (const char *path), (path), const char *)
ON_PATH(int, rename, (const char *path, const char *to), (path, to), const char *, const char *)
ON_PATH(DIR *, opendir, (const char *path), (path), const char *)

#define AT(type, name, parameters, arguments, ...)                 \
    type name parameters {                                         \
        REAL(type, name, __VA_ARGS__);                             \
        wait_if(named_below(directory, path));                     \
        return real arguments;                                     \
    }
AT(int, fstatat, (int directory, const char *path, struct stat *to, int flags),
   (directory, path, to, flags), int, const char *, struct stat *, int)
AT(int, fstatat64, (int directory, const char *path, struct stat64 *to, int flags),
   (directory, path, to, flags), int, const char *, struct stat64 *, int)
AT(int, unlinkat, (int directory, const char *path, int flags), (directory, path, flags), int,
   const char *, int)
AT(int, mkdirat, (int directory, const char *path, mode_t mode), (directory, path, mode), int,
   const char *, mode_t)
AT(ssize_t, readlinkat, (int directory, const char *path, char *to, size_t size),
   (directory, path, to, size), int, const char *, char *, size_t)
AT(int, linkat, (int directory, const char *path, int other, const char *to, int flags),
   (directory, path, other, to, flags), int, const char *, int, const char *, int)

int symlink(const char *text, const char *path) {
    REAL(int, symlink, const char *, const char *);
    wait_if(named_below(-1, path));
    return real(text, path);
}
