/* The least that a service must do with the files of a directory, and how long it takes.

     least copy     THREADS SOURCE TARGET          a first upload: copy and hash
     least compare  THREADS SOURCE TARGET OTHER    all deduplicated: compare with OTHER, link
     least clone    THREADS SOURCE TARGET          links only: make each of them again
     least consume  THREADS SOURCE TARGET          hash, and move
     least hash     THREADS SOURCE                 validation

   Each file is opened below the descriptor of its directory, without following links. TARGET is
   created. Prints seconds, from before the source is listed until all files are closed. Nothing
   is flushed. With several threads, files are shared out, and a file of several blocks is
   written, or its counterpart read, by another thread than the one that hashes it.

   The bench compiles it: cc -O2 -pthread -o least least.c -lcrypto */

#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (1 << 20)
#define SHARE 64 /* files that a thread takes at a time */

enum work { COPY, COMPARE, CLONE, CONSUME, HASH };
static const char *const names[] = {"copy", "compare", "clone", "consume", "hash"};

struct place { int source, target, other; };
struct file { int place; char *name; };

static enum work work;
static int threads;
static const char *other_top;
static struct place *places;
static struct file *files;
static size_t n_places, n_files;
static atomic_size_t next_file;
static const EVP_MD *kind_of_hash;

static void *grown(void *items, size_t used, size_t size) {
    if (used & (used - 1)) return items; /* only a power of two is full */
    items = realloc(items, (used ? 2 * used : 1) * size);
    if (items == NULL) err(1, "realloc");
    return items;
}

static int directory(int at, const char *name) {
    int opened = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (opened < 0) err(1, "%s", name);
    return opened;
}

static int made(int at, const char *name) {
    if (mkdirat(at, name, 0755) < 0) err(1, "%s", name);
    return directory(at, name);
}

/* Note the files of a directory, and make the same directories in the target. */
static void list(struct place here) {
    places = grown(places, n_places, sizeof *places);
    size_t number = n_places++;
    places[number] = here;
    int again = dup(here.source);
    DIR *listed = again < 0 ? NULL : fdopendir(again);
    if (listed == NULL) err(1, "fdopendir");
    for (struct dirent *entry; (entry = readdir(listed)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (entry->d_type == DT_DIR) {
            struct place below = {directory(here.source, entry->d_name), -1, -1};
            if (here.target >= 0) below.target = made(here.target, entry->d_name);
            if (here.other >= 0) below.other = directory(here.other, entry->d_name);
            list(below);
            continue;
        }
        if (work == HASH && strncmp(entry->d_name, "..", 2) == 0) continue; /* records */
        files = grown(files, n_files, sizeof *files);
        files[n_files++] = (struct file){number, strdup(entry->d_name)};
    }
    closedir(listed);
}

/* What a second thread does with a block, while the first one hashes or compares the block before.
   `turn` counts the blocks that it has been given, `done` those that it has finished. */
struct helper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int target, turn, done;
    ssize_t size;
    char *block;
};

static void written(int target, const char *block, ssize_t size) {
    for (ssize_t n; size > 0; block += n, size -= n)
        if ((n = write(target, block, size)) < 0) err(1, "write");
}

static void *help(void *argument) {
    struct helper *self = argument;
    for (int turn = 1;; turn++) {
        pthread_mutex_lock(&self->lock);
        while (self->turn < turn) pthread_cond_wait(&self->changed, &self->lock);
        ssize_t size = self->size;
        char *block = self->block;
        pthread_mutex_unlock(&self->lock);
        if (size > 0) written(self->target, block, size);
        pthread_mutex_lock(&self->lock);
        self->done = turn;
        pthread_cond_signal(&self->changed);
        pthread_mutex_unlock(&self->lock);
        if (size == 0) return NULL;
    }
}

static void await(struct helper *helper) {
    pthread_mutex_lock(&helper->lock);
    while (helper->done < helper->turn) pthread_cond_wait(&helper->changed, &helper->lock);
    pthread_mutex_unlock(&helper->lock);
}

static void give(struct helper *helper, char *block, ssize_t size) {
    await(helper);
    pthread_mutex_lock(&helper->lock);
    helper->block = block;
    helper->size = size;
    helper->turn++;
    pthread_cond_signal(&helper->changed);
    pthread_mutex_unlock(&helper->lock);
}

/* Hash `source`; and write what was read into `target`, unless that is negative. */
static void hashed(int source, int target, off_t size, char *blocks, EVP_MD_CTX *md5) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct helper helper = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    int helped = threads > 1 && target >= 0 && size > BLOCK;
    helper.target = target;
    if (helped && pthread_create(&helper.thread, NULL, help, &helper) != 0) errx(1, "no thread");
    EVP_DigestInit_ex(md5, kind_of_hash, NULL);
    off_t seen = 0;
    for (int turn = 0; seen < size; turn++) {
        char *block = blocks + (turn % 2) * (size_t)BLOCK;
        ssize_t n = read(source, block, BLOCK);
        if (n <= 0) err(1, "read");
        if (helped) give(&helper, block, n);
        EVP_DigestUpdate(md5, block, n);
        if (!helped && target >= 0) written(target, block, n);
        seen += n;
    }
    EVP_DigestFinal_ex(md5, digest, NULL);
    if (helped) {
        give(&helper, NULL, 0);
        pthread_join(helper.thread, NULL);
    }
}

static void compared(int source, int other, off_t size, char *blocks) {
    for (off_t seen = 0; seen < size;) {
        ssize_t n = read(source, blocks, BLOCK);
        if (n <= 0 || read(other, blocks + BLOCK, n) != n) errx(1, "sizes differ");
        if (memcmp(blocks, blocks + BLOCK, n) != 0) errx(1, "contents differ");
        seen += n;
    }
}

static void carried_out(struct place at, const char *name, char *blocks, EVP_MD_CTX *md5) {
    char text[4096];
    if (work == CLONE) {
        ssize_t n = readlinkat(at.source, name, text, sizeof text - 1);
        if (n < 0) err(1, "%s", name);
        text[n] = '\0';
        if (symlinkat(text, at.target, name) < 0) err(1, "%s", name);
        return;
    }
    int source = openat(at.source, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (source < 0 || fstat(source, &status) < 0) err(1, "%s", name);
    if (work == COMPARE) {
        int other = openat(at.other, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (other < 0) err(1, "%s", name);
        compared(source, other, status.st_size, blocks);
        close(other);
        snprintf(text, sizeof text, "%s/%s", other_top, name);
        if (symlinkat(text, at.target, name) < 0) err(1, "%s", name);
    } else {
        int target = -1;
        if (work == COPY) {
            target = openat(at.target, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
            if (target < 0) err(1, "%s", name);
        }
        hashed(source, target, status.st_size, blocks, md5);
        if (work == CONSUME && renameat(at.source, name, at.target, name) < 0) err(1, "%s", name);
        if (target >= 0 && close(target) < 0) err(1, "%s", name);
    }
    close(source);
}

static void *share(void *unused) {
    (void)unused;
    char *blocks = malloc(2 * (size_t)BLOCK);
    EVP_MD_CTX *md5 = EVP_MD_CTX_new();
    if (blocks == NULL || md5 == NULL) errx(1, "no memory");
    for (size_t first; (first = atomic_fetch_add(&next_file, SHARE)) < n_files;)
        for (size_t i = first; i < first + SHARE && i < n_files; i++)
            carried_out(places[files[i].place], files[i].name, blocks, md5);
    EVP_MD_CTX_free(md5);
    free(blocks);
    return NULL;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int n, char **words) {
    while (n > 3 && work <= HASH && strcmp(words[1], names[work]) != 0) work++;
    int needed = work == HASH ? 4 : work == COMPARE ? 6 : 5;
    if (work > HASH || n != needed || (threads = atoi(words[2])) < 1)
        errx(2, "usage: least copy|compare|clone|consume|hash THREADS SOURCE [TARGET [OTHER]]");
    double begun = seconds();
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    kind_of_hash = EVP_MD_fetch(NULL, "MD5", NULL); /* else each file looks it up */
#else
    kind_of_hash = EVP_md5();
#endif
    struct place top = {directory(AT_FDCWD, words[3]), -1, -1};
    if (n > 4) top.target = made(AT_FDCWD, words[4]);
    if (n > 5) top.other = directory(AT_FDCWD, other_top = words[5]);
    list(top);
    pthread_t others[threads];
    for (int i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, share, NULL) != 0) errx(1, "no thread");
    share(NULL);
    for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
    printf("%.6f\n", seconds() - begun);
    return 0;
}
