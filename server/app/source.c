/* SPDX-License-Identifier: MIT */
/* Compiles applications that are given as source, and keeps the objects.
 *
 * The cache is a folder:
 *
 *   header-HASH/srv/app.h    what sources include, for the compiler and for debuggers
 *   KEY.inputs               of a source, a compiler and its words: what the object was made of, a
 *                            line "HASH PATH" for each file
 *   KEY-HASH.so              the object; HASH is that of KEY.inputs
 *   tmp-XXXXXX/              a compiler writes here, and what it wrote is renamed
 *
 * Loading an object is running it. So the folder belongs to this user, nobody else may write to it
 * or change where its path leads to, and the same holds for what is taken out of it. */
#include "server/app/source.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/path.h"
#include "proc/child.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)
#define BLANKS       " \t\n"
#define FLAGS        "-O2 -g -fPIC -fstack-clash-protection -shared -Wall"
/* C++ has it by default: a name with a typo is the compiler's to tell, not the loader's. */
#define C_FLAGS FLAGS " -Werror=implicit-function-declaration"
#define INPUTS  ".inputs"

/* In the folder of one compilation. */
#define SCRATCH_OBJECT "object"
#define SCRATCH_INPUTS "rule"
#define SCRATCH_LIST   "inputs"
static const char *const scratch_files[] = { SCRATCH_OBJECT, SCRATCH_INPUTS, SCRATCH_LIST };

enum {
    WORDS_MAX = 512,            /* of a compiler's command */
    INPUTS_BYTES_MAX = 1 << 20, /* of a list of inputs */
    KEPT_MAX = 256,             /* objects in the cache: those that were used last */
    STALE_SECONDS = 3600,       /* after which nobody compiles any more */
    TRIES = 3,                  /* for a source that changes while it is compiled */
    HASH_CHARS = 40,            /* of a SHA-256 in hexadecimal digits */
};

typedef char hash_text[HASH_CHARS + 1];

/* What differs between the languages. */
static const struct language {
    const char *variable, *compiler, *flags, *own_flags;
} languages[] = { { "CC", "cc", "CFLAGS", C_FLAGS }, { "CXX", "c++", "CXXFLAGS", FLAGS } };

static const struct suffix {
    const char *text;
    const struct language *language;
} suffixes[] = {
    { ".c", &languages[0] },
    { ".cc", &languages[1] },
    { ".cpp", &languages[1] },
    { ".cxx", &languages[1] },
};

struct text {
    struct text *next;
    char text[];
};

/* One source on its way to an object. Paths are absolute but for the source's. */
struct build {
    const char *source;
    const struct language *language;
    const char *words[WORDS_MAX + 1]; /* of the command; ended by NULL */
    size_t word_count;
    struct text *texts; /* all that print() made */
    int rc;             /* -ENOMEM when it could not, -E2BIG for too many words; or 0 */
    struct buf inputs;  /* content of KEY.inputs */
    int folder;         /* the cache */
    const char *cache;  /* its path */
    const char *header, *compiler, *scratch, *object;
    hash_text key;
};

/* A text that lives as long as the build; "", and a failure that sticks, without memory. */
static PRINTF_LIKE(2, 3) const char *print(struct build *b, const char *fmt, ...) {
    struct text *text = NULL;
    va_list args, again;
    int len;

    va_start(args, fmt);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, args);
    if (len >= 0)
        text = mem_alloc(sizeof(*text) + (size_t)len + 1);
    if (text == NULL) {
        b->rc = -ENOMEM;
    } else {
        vsnprintf(text->text, (size_t)len + 1, fmt, again);
        text->next = b->texts;
        b->texts = text;
    }
    va_end(again);
    va_end(args);
    return text != NULL ? text->text : "";
}

static const struct language *language_of(const char *app) {
    const char *dot = strrchr(app, '.');

    for (size_t i = 0; dot != NULL && dot > app && dot[-1] != '/' && i < ARRAY_LEN(suffixes); i++)
        if (strcmp(dot, suffixes[i].text) == 0)
            return suffixes[i].language;
    return NULL;
}

bool source_is_named(const char *app) {
    return language_of(app) != NULL;
}

/* --- hashes ------------------------------------------------------------- */

static int end_hash(EVP_MD_CTX *context, hash_text ret) {
    unsigned char bytes[EVP_MAX_MD_SIZE];

    if (EVP_DigestFinal_ex(context, bytes, NULL) != 1)
        return -ENOMEM;
    for (size_t i = 0; i < HASH_CHARS / 2; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static int hash_all(EVP_MD_CTX *context, int fd) {
    char chunk[2048];
    ssize_t n;

    while ((n = read(fd, chunk, sizeof(chunk))) != 0)
        if (n < 0 || EVP_DigestUpdate(context, chunk, (size_t)n) != 1)
            return n < 0 ? -errno : -ENOMEM;
    return 0;
}

/* Of a text, or of all that `fd` has when the text is NULL. */
static int hash(const char *text, size_t len, int fd, hash_text ret) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int rc = -ENOMEM;

    if (context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1) {
        if (text == NULL)
            rc = hash_all(context, fd);
        else if (EVP_DigestUpdate(context, text, len) == 1)
            rc = 0;
    }
    if (rc == 0)
        rc = end_hash(context, ret);
    EVP_MD_CTX_free(context);
    return rc;
}

/* Of a regular file: a FIFO would never end. `changed_at` may be NULL. */
static int hash_file(const char *path, hash_text ret, struct timespec *changed_at) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat is;
    int rc = fd < 0 ? -errno : 0;

    if (rc == 0 && fstat(fd, &is) < 0)
        rc = -errno;
    if (rc == 0 && !S_ISREG(is.st_mode))
        rc = S_ISDIR(is.st_mode) ? -EISDIR : -EINVAL;
    if (rc == 0)
        rc = hash(NULL, 0, fd, ret);
    if (rc == 0 && changed_at != NULL)
        *changed_at = is.st_ctim;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* --- the cache ---------------------------------------------------------- */

static bool is_ours(const struct stat *is) {
    return is->st_uid == geteuid() && (is->st_mode & OTHERS_WRITE) == 0;
}

/* What is in a folder with the sticky bit only its owner renames. */
static bool is_guarded_folder(const char *path) {
    struct stat is;

    return stat(path, &is) == 0 && (is.st_uid == 0 || is.st_uid == geteuid()) &&
           ((is.st_mode & OTHERS_WRITE) == 0 || (is.st_mode & S_ISVTX) != 0);
}

/* Whether nobody but this user and root decides what the names on the way to `path`, which has no
 * links, mean. */
static bool is_guarded(struct build *b, const char *path) {
    bool guarded = is_guarded_folder("/");

    for (const char *end = strchr(path + 1, '/'); guarded && end != NULL;
         end = strchr(end + 1, '/'))
        guarded = is_guarded_folder(print(b, "%.*s", (int)(end - path), path));
    return guarded && is_guarded_folder(path);
}

/* Opens the folder NAME of `base`, making what is missing. False when it is no place for a cache.
 */
static bool open_cache(struct build *b, const char *base, const char *name) {
    char *real;
    struct stat is;

    if (base == NULL || base[0] != '/' || (mkdir(base, 0700) < 0 && errno != EEXIST))
        return false;
    real = realpath(base, NULL);
    if (real == NULL)
        return false;
    b->cache = print(b, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    free(real);
    if (mkdir(b->cache, 0700) < 0 && errno != EEXIST)
        return false;
    b->folder = open(b->cache, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (b->folder >= 0 && fstat(b->folder, &is) == 0 && is_ours(&is) && is_guarded(b, b->cache) &&
        faccessat(b->folder, ".", W_OK | X_OK, AT_EACCESS) == 0)
        return true;
    if (b->folder >= 0)
        close(b->folder);
    b->folder = -1;
    return false;
}

static bool open_cache_in_home(struct build *b, const char *home) {
    return home != NULL && home[0] != '\0' && open_cache(b, print(b, "%s/.cache", home), "srv");
}

/* After --user the environment is still another's: its folders are no place, and the next is. */
static int find_cache(struct build *b, struct error *err) {
    const struct passwd *user;

    if (open_cache(b, getenv("XDG_CACHE_HOME"), "srv") || open_cache_in_home(b, getenv("HOME")))
        return 0;
    user = getpwuid(geteuid());
    if (user != NULL && open_cache_in_home(b, user->pw_dir))
        return 0;
    if (open_cache(b, "/tmp", print(b, "srv-%u", (unsigned)geteuid())))
        return 0;
    return error_set(err, -EACCES,
                     "cannot compile '%s': there is no folder for its object that only this user "
                     "writes to; XDG_CACHE_HOME names one",
                     b->source);
}

/* A file of the cache that this user, and nobody else, has written. Else -1. */
static int open_kept(const struct build *b, const char *name) {
    int fd = openat(b->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat is;

    if (fd >= 0 && fstat(fd, &is) == 0 && S_ISREG(is.st_mode) && is_ours(&is))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What was used last is kept. */
static void touch(const struct build *b, const char *name) {
    utimensat(b->folder, name, NULL, AT_SYMLINK_NOFOLLOW);
}

static bool is_before(struct timespec a, struct timespec b) {
    return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

/* The oldest file with that ending, when there are more than are kept. */
static bool find_surplus(const struct build *b, DIR *dir, const char *ending,
                         char oldest[NAME_MAX]) {
    struct timespec since = { .tv_sec = 0 };
    size_t count = 0, end = strlen(ending);
    struct dirent *entry;
    struct stat is;

    rewinddir(dir);
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);

        if (len < end || len >= NAME_MAX || strcmp(entry->d_name + len - end, ending) != 0 ||
            fstatat(b->folder, entry->d_name, &is, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (count++ == 0 || is_before(is.st_mtim, since)) {
            since = is.st_mtim;
            strcpy(oldest, entry->d_name);
        }
    }
    return count > KEPT_MAX;
}

/* A compilation that was killed leaves its folder behind. */
static void remove_stale(const struct build *b, const char *name, time_t now) {
    struct stat is;
    int fd;

    if (strncmp(name, "tmp-", 4) != 0 || fstatat(b->folder, name, &is, AT_SYMLINK_NOFOLLOW) < 0 ||
        now - is.st_mtim.tv_sec < STALE_SECONDS)
        return;
    fd = openat(b->folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < ARRAY_LEN(scratch_files); i++)
        unlinkat(fd, scratch_files[i], 0);
    if (fd >= 0)
        close(fd);
    unlinkat(b->folder, name, AT_REMOVEDIR);
}

static void prune(const struct build *b) {
    int fd = openat(b->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    char oldest[NAME_MAX];
    struct dirent *entry;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        remove_stale(b, entry->d_name, time(NULL));
    while (find_surplus(b, dir, ".so", oldest) && unlinkat(b->folder, oldest, 0) == 0)
        continue;
    while (find_surplus(b, dir, INPUTS, oldest) && unlinkat(b->folder, oldest, 0) == 0)
        continue;
    closedir(dir);
}

/* Writes a new file. 0 or -errno. */
static int write_file(const char *path, const char *text, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : 0;

    while (rc == 0 && len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            rc = -errno;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = -errno;
    return rc;
}

/* Another process may do the same at this moment. */
static int make_header(struct build *b) {
    hash_text of_text;
    const char *beside, *path;
    int rc = hash(app_header, strlen(app_header), -1, of_text);

    if (rc < 0)
        return rc;
    b->header = print(b, "%s/header-%.16s", b->cache, of_text);
    path = print(b, "%s/srv/app.h", b->header);
    if (access(path, F_OK) == 0)
        return 0;
    beside = print(b, "%s/srv/app.h-%d", b->header, (int)getpid());
    if ((mkdir(b->header, 0700) < 0 && errno != EEXIST) ||
        (mkdir(print(b, "%s/srv", b->header), 0700) < 0 && errno != EEXIST))
        return -errno;
    unlink(beside);
    rc = write_file(beside, app_header, strlen(app_header));
    if (rc == 0 && rename(beside, path) < 0)
        rc = -errno;
    if (rc < 0)
        unlink(beside);
    return rc;
}

/* --- the command -------------------------------------------------------- */

static void add_word(struct build *b, const char *word) {
    if (b->word_count == WORDS_MAX)
        b->rc = -E2BIG;
    else
        b->words[b->word_count++] = word;
}

/* As make(1) has it, but for quotes, which only a shell knows. */
static void add_words(struct build *b, const char *text) {
    while (text != NULL && *(text += strspn(text, BLANKS)) != '\0') {
        size_t len = strcspn(text, BLANKS);

        add_word(b, print(b, "%.*s", (int)len, text));
        text += len;
    }
}

static int find_compiler(struct build *b, struct error *err) {
    const char *given = getenv(b->language->variable);
    char path[2048];

    add_words(b, given);
    if (b->word_count == 0)
        add_word(b, b->language->compiler);
    if (strchr(b->words[0], '/') != NULL && access(b->words[0], X_OK) == 0)
        b->compiler = b->words[0];
    else if (strchr(b->words[0], '/') == NULL &&
             path_search(getenv("PATH"), b->words[0], path, sizeof(path)))
        b->compiler = print(b, "%s", path);
    else
        return error_set(err, -ENOENT,
                         "cannot compile '%s': there is no compiler '%s'; install one (gcc and "
                         "libc6-dev, or g++), or name another with %s",
                         b->source, b->words[0], b->language->variable);
    return 0;
}

static void make_command(struct build *b) {
    add_words(b, b->language->own_flags);
    add_words(b, getenv("CPPFLAGS"));
    add_words(b, getenv(b->language->flags));
    add_words(b, getenv("LDFLAGS"));
    add_word(b, "-isystem");
    add_word(b, b->header);
    add_word(b, "-MMD");
    add_word(b, "-MF");
    add_word(b, print(b, "%s/" SCRATCH_INPUTS, b->scratch));
    add_word(b, "-o");
    add_word(b, print(b, "%s/" SCRATCH_OBJECT, b->scratch));
    add_word(b, b->source[0] == '-' ? print(b, "./%s", b->source) : b->source);
    add_words(b, getenv("LDLIBS"));
}

/* Its words are the user's, and go where ours go. */
static __attribute__((noreturn)) void be_compiler(const struct build *b, pid_t parent) {
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);

    child_die_with_parent(SIGKILL, parent);
    if (in > STDERR_FILENO)
        dup2(in, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execv(b->compiler, (char *const *)(uintptr_t)b->words);
    dprintf(STDERR_FILENO, "%s: %s\n", b->compiler, strerrordesc_np(errno));
    _exit(127);
}

static int compile(const struct build *b, struct error *err) {
    pid_t parent = getpid(), pid = fork();
    int status;

    if (pid == 0)
        be_compiler(b, parent);
    status = pid > 0 ? child_wait(pid) : CHILD_STATUS_UNKNOWN;
    if (pid > 0 && WIFSIGNALED(status))
        return error_set(err, -EINVAL, "cannot compile '%s': %s was ended by SIG%s", b->source,
                         b->compiler, sigabbrev_np(WTERMSIG(status)));
    return status == 0 ? 0 : error_set(err, -EINVAL, "cannot compile '%s'", b->source);
}

/* --- what an object is made of ------------------------------------------ */

/* What decides about the object beside the files that it is made of. */
static int make_key(struct build *b, struct error *err) {
    const char *const variables[] = { b->language->variable,
                                      b->language->flags,
                                      "CPPFLAGS",
                                      "LDFLAGS",
                                      "LDLIBS",
                                      "CPATH",
                                      "C_INCLUDE_PATH",
                                      "CPLUS_INCLUDE_PATH",
                                      "LIBRARY_PATH",
                                      "COMPILER_PATH",
                                      "GCC_EXEC_PREFIX" };
    char *folder = getcwd(NULL, 0);
    const char *text;
    hash_text of_source;
    struct stat tool = { .st_size = 0 };
    int rc = hash_file(b->source, of_source, NULL);

    if (rc < 0) {
        free(folder);
        return error_set(err, rc, "cannot read '%s': %s", b->source,
                         rc == -EINVAL ? "it is no regular file" : strerrordesc_np(-rc));
    }
    if (stat(b->compiler, &tool) < 0)
        tool.st_ino = 0;
    text = print(b, "1\n%s\n%s\n%s\n%s\n%s\n%s %ju %jd %jd\n", b->language->own_flags, b->header,
                 folder != NULL ? folder : "", b->source, of_source, b->compiler,
                 (uintmax_t)tool.st_ino, (intmax_t)tool.st_size, (intmax_t)tool.st_mtim.tv_sec);
    free(folder);
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const char *value = getenv(variables[i]);

        text = print(b, "%s%s=%s\n", text, variables[i], value != NULL ? value : "");
    }
    return hash(text, strlen(text), -1, b->key);
}

static int read_file(int fd, struct buf *ret) {
    ssize_t n;
    int rc;

    buf_init(ret, INPUTS_BYTES_MAX);
    do {
        rc = buf_reserve(ret, 4096);
        if (rc < 0)
            return rc;
        n = read(fd, buf_tail(ret), buf_room(ret));
        if (n > 0)
            buf_added(ret, (size_t)n);
    } while (n > 0);
    return n < 0 ? -errno : 0;
}

static void name_object(struct build *b) {
    struct slice inputs = buf_unread(&b->inputs);
    hash_text of_inputs;

    if (hash(inputs.ptr, inputs.len, -1, of_inputs) < 0)
        b->rc = -ENOMEM;
    b->object = print(b, "%s-%s.so", b->key, of_inputs);
}

/* Whether the files in the list are what they were. */
static bool are_inputs_as_they_were(struct build *b) {
    struct slice rest = buf_unread(&b->inputs);

    if (rest.len == 0)
        return false;
    while (rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n'), then = slice_cut(&line, ' ');
        hash_text now;

        if (hash_file(print(b, "%.*s", (int)line.len, line.ptr), now, NULL) < 0 ||
            !slice_eq(then, slice_str(now)))
            return false;
    }
    return true;
}

/* An object that was made of the same before. */
static bool find_object(struct build *b) {
    const char *list = print(b, "%s" INPUTS, b->key);
    int fd = open_kept(b, list), object;
    int rc;

    if (fd < 0)
        return false;
    buf_free(&b->inputs);
    rc = read_file(fd, &b->inputs);
    close(fd);
    if (rc < 0 || !are_inputs_as_they_were(b))
        return false;
    name_object(b);
    object = open_kept(b, b->object);
    if (object < 0)
        return false;
    close(object);
    touch(b, list);
    touch(b, b->object);
    return true;
}

/* Takes the next name off a rule of make(1), as compilers write it: blanks and '#' have a backslash
 * before them, '$' is doubled, and a backslash at the end of a line goes on. `name` has room. */
static bool next_name(struct slice *rule, char *name) {
    size_t at = 0, len = 0;

    while (at < rule->len &&
           (strchr(BLANKS, rule->ptr[at]) != NULL ||
            (rule->ptr[at] == '\\' && at + 1 < rule->len && rule->ptr[at + 1] == '\n')))
        at++;
    while (at < rule->len && strchr(BLANKS, rule->ptr[at]) == NULL) {
        char c = rule->ptr[at], next = at + 1 < rule->len ? rule->ptr[at + 1] : '\0';

        if ((c == '\\' && (next == ' ' || next == '#')) || (c == '$' && next == '$'))
            at++;
        name[len++] = rule->ptr[at++];
    }
    name[len] = '\0';
    *rule = slice_drop(*rule, at);
    return len > 0;
}

/* Fills b->inputs with the names of a rule. -EAGAIN: one may have changed after `began`. */
static int list_inputs(struct build *b, struct slice rule, char *name, struct timespec began) {
    bool changed = false;

    buf_free(&b->inputs);
    buf_init(&b->inputs, INPUTS_BYTES_MAX);
    while (next_name(&rule, name)) {
        struct timespec changed_at;
        hash_text now;
        int rc = hash_file(name, now, &changed_at);

        if (rc == 0)
            rc = buf_printf(&b->inputs, "%s %s\n", now, name);
        if (rc < 0)
            return rc;
        changed = changed || !is_before(changed_at, began);
    }
    return changed ? -EAGAIN : 0;
}

static int take_inputs(struct build *b, struct timespec began) {
    int fd = open(print(b, "%s/" SCRATCH_INPUTS, b->scratch), O_RDONLY | O_CLOEXEC);
    struct buf rule;
    struct slice rest;
    char *name;
    int rc;

    if (fd < 0)
        return -errno;
    rc = read_file(fd, &rule);
    close(fd);
    rest = buf_unread(&rule);
    name = mem_alloc(rest.len + 1);
    if (rc == 0 && name == NULL)
        rc = -ENOMEM;
    if (rc == 0 && next_name(&rest, name)) /* the target */
        rc = list_inputs(b, rest, name, began);
    mem_free(name);
    buf_free(&rule);
    return rc;
}

/* --- the whole ---------------------------------------------------------- */

/* Renames what is in the scratch folder into the cache. An object whose inputs changed meanwhile is
 * good for now, but nobody finds it again. */
static int keep_object(struct build *b, bool findable) {
    const char *object = print(b, "%s/" SCRATCH_OBJECT, b->scratch);
    const char *list = print(b, "%s/" SCRATCH_LIST, b->scratch);
    struct slice inputs = buf_unread(&b->inputs);
    int rc = 0;

    name_object(b);
    if (b->rc < 0)
        return b->rc;
    if (chmod(object, 0700) < 0 || renameat(AT_FDCWD, object, b->folder, b->object) < 0)
        return -errno;
    if (findable)
        rc = write_file(list, inputs.ptr, inputs.len);
    if (findable && rc == 0 &&
        renameat(AT_FDCWD, list, b->folder, print(b, "%s" INPUTS, b->key)) < 0)
        rc = -errno;
    prune(b);
    return rc;
}

static int make_object(struct build *b, struct error *err) {
    struct timespec began;
    int rc = -EAGAIN;

    for (int i = 0; rc == -EAGAIN && i < TRIES; i++) {
        rc = make_key(b, err);
        if (rc < 0)
            return rc;
        if (find_object(b))
            return 0;
        clock_gettime(CLOCK_REALTIME_COARSE, &began); /* the clock of files */
        rc = compile(b, err);
        if (rc < 0)
            return rc;
        rc = take_inputs(b, began);
    }
    if (rc == 0 || rc == -EAGAIN)
        rc = keep_object(b, rc == 0);
    return rc == 0 ? 0
                   : error_set(err, rc, "cannot keep the object of '%s' in '%s': %s", b->source,
                               b->cache, strerrordesc_np(-rc));
}

static int prepare(struct build *b, struct error *err) {
    int rc = find_compiler(b, err);

    if (rc == 0)
        rc = find_cache(b, err);
    if (rc < 0)
        return rc;
    rc = make_header(b);
    b->scratch = print(b, "%s/tmp-XXXXXX", b->cache);
    if (rc == 0)
        rc = b->rc;
    if (rc == 0 && mkdtemp((char *)(uintptr_t)b->scratch) == NULL)
        rc = -errno;
    if (rc == 0) {
        make_command(b);
        rc = b->rc;
    }
    return rc == 0 ? 0
                   : error_set(err, rc, "cannot compile '%s': %s", b->source, strerrordesc_np(-rc));
}

static void free_build(struct build *b) {
    for (size_t i = 0; b->scratch != NULL && i < ARRAY_LEN(scratch_files); i++)
        unlink(print(b, "%s/%s", b->scratch, scratch_files[i]));
    if (b->scratch != NULL)
        rmdir(b->scratch);
    if (b->folder >= 0)
        close(b->folder);
    buf_free(&b->inputs);
    while (b->texts != NULL) {
        struct text *next = b->texts->next;

        mem_free(b->texts);
        b->texts = next;
    }
    mem_free(b);
}

int source_object(const char *path, char **ret, struct error *err) {
    struct build *b = mem_calloc(1, sizeof(*b));
    int rc;

    *ret = NULL;
    if (b == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    signal(SIGCHLD, SIG_DFL); /* ignored, nobody could be waited for */
    b->source = path;
    b->language = language_of(path);
    b->folder = -1;
    rc = prepare(b, err);
    if (rc == 0)
        rc = make_object(b, err);
    if (rc == 0 && asprintf(ret, "%s/%s", b->cache, b->object) < 0) {
        *ret = NULL;
        rc = error_set(err, -ENOMEM, "out of memory");
    }
    free_build(b);
    return rc;
}

/* --- what to watch ------------------------------------------------------ */

/* KEY.inputs beside KEY-HASH.so: opened, or -1. */
static int open_inputs_of(const char *object) {
    const char *slash = strrchr(object, '/');
    char *path = NULL;
    int fd = -1;

    if (slash != NULL && strlen(slash + 1) > HASH_CHARS &&
        asprintf(&path, "%.*s" INPUTS, (int)(slash + 1 - object) + HASH_CHARS, object) > 0)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    free(path);
    return fd;
}

void source_inputs(const char *object, void (*each)(void *arg, const char *path, bool same),
                   void *arg) {
    int fd = open_inputs_of(object);
    struct buf inputs;
    struct slice rest;

    if (fd < 0)
        return;
    rest = read_file(fd, &inputs) == 0 ? buf_unread(&inputs) : slice_str("");
    close(fd);
    while (rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n'), then = slice_cut(&line, ' ');
        char *path = strndup(line.ptr, line.len);
        hash_text now;

        if (path != NULL)
            each(arg, path, hash_file(path, now, NULL) == 0 && slice_eq(then, slice_str(now)));
        free(path);
    }
    buf_free(&inputs);
}

bool source_may_include(const char *name) {
    static const char *const headers[] = { ".h", ".hh", ".hpp", ".hxx", ".inc" };
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot != NULL && i < ARRAY_LEN(headers); i++)
        if (strcmp(dot, headers[i]) == 0)
            return name[0] != '.';
    return name[0] != '.' && source_is_named(name);
}
