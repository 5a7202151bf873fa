/* SPDX-License-Identifier: MIT */
/* Walks a path folder by folder, and works with its last name in the folder it found. */
#include "base/safe_path.h"
#include "base/alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LINKS_MAX = 40, TRIES = 16, IN_PLACE_BYTES_MAX = 64 };

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)

/* --- whom root trusts ------------------------------------------------------------------- */

/* Other users' links lead them where they may go anyway. */
static bool is_guarded(void) {
    return geteuid() == 0;
}

/* The owner of "/" decides where every path leads to. */
static bool is_trusted(uid_t uid) {
    struct stat root;

    return uid == 0 || (stat("/", &root) == 0 && root.st_uid == uid);
}

static int fail(struct error *why, int code) {
    return error_set(why, code, "%s", strerrordesc_np(-code));
}

/* --- the walk ------------------------------------------------------------------------- */

struct path_walk {
    struct safe_path *p;
    enum safe_path_mode mode;
    unsigned links;
    bool at_start;       /* `rest` is a whole path: nothing of it has been walked */
    char rest[PATH_MAX]; /* still to be walked */
    char link[PATH_MAX]; /* target of the link at hand */
};

/* /dev/stdout and its like, which exist for the process also where /dev and /proc do not. -1: it is
 * another path. */
static int descriptor_of(const char *path) {
    static const char *const names[] = { "/dev/stdin", "/dev/stdout", "/dev/stderr" };
    static const struct slice folders[] = { SLICE_INIT("/dev/fd/"), SLICE_INIT("/proc/self/fd/") };
    struct slice text = slice_str(path);
    uint64_t number;

    for (int fd = 0; fd < (int)ARRAY_LEN(names); fd++)
        if (strcmp(path, names[fd]) == 0)
            return fd;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        if (slice_starts_with(text, folders[i]) &&
            slice_parse_u64(slice_drop(text, folders[i].len), INT32_MAX, &number) == 0)
            return (int)number;
    return -1;
}

/* The folder at hand becomes `fd`, which is owned from now on. */
static int enter(struct safe_path *p, int fd) {
    bool foreign, open;
    struct stat is;

    if (fd < 0)
        return -errno;
    if (p->folder >= 0)
        close(p->folder);
    p->folder = fd;
    if (fstat(fd, &is) < 0)
        return -errno;
    foreign = is_guarded() && !is_trusted(is.st_uid);
    open = is_guarded() && (is.st_mode & OTHERS_WRITE) != 0;
    p->shared = foreign || open;
    p->loose |= foreign || (open && (is.st_mode & S_ISVTX) == 0);
    return 0;
}

static int begin(struct path_walk *w) {
    bool absolute = w->rest[0] == '/';

    w->at_start = false;
    w->p->descriptor = descriptor_of(w->rest);
    if (w->p->descriptor >= 0)
        return 0;
    return enter(w->p, open(absolute ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* Takes the next name off the rest. Whether it is the last one. */
static bool next_name(struct path_walk *w, struct slice *ret) {
    size_t skip = strspn(w->rest, "/");
    size_t len = strcspn(w->rest + skip, "/");

    *ret = slice_of(w->rest + skip, len);
    return w->rest[skip + len] == '\0';
}

static void drop_name(struct path_walk *w, struct slice name) {
    memmove(w->rest, name.ptr + name.len, strlen(name.ptr + name.len) + 1);
}

/* `fd` is a link. Root follows one that nobody else can have put there. */
static int check_link(const struct path_walk *w, int fd, const char *name, struct error *why) {
    struct stat is;

    if (fstat(fd, &is) < 0)
        return fail(why, -errno);
    if (!S_ISLNK(is.st_mode))
        return fail(why, -ENOTDIR);
    if (!is_guarded() || (is_trusted(is.st_uid) && !w->p->shared && !w->p->loose))
        return 0;
    return error_set(why, -ELOOP, "'%s' is a link that others than root can change", name);
}

static bool is_procfs(int fd) {
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* The text of such a link is not the place that it leads to. */
static int follow_magic(struct path_walk *w, const char *name, bool last) {
    w->p->magic = last;
    return last ? 0 : enter(w->p, openat(w->p->folder, name, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* Puts the target of the link `fd` before the rest. */
static int insert_target(struct path_walk *w, int fd) {
    ssize_t len = readlinkat(fd, "", w->link, sizeof(w->link));

    if (len < 0)
        return -errno;
    if (len == 0 || (size_t)len + strlen(w->rest) >= sizeof(w->rest))
        return -ENAMETOOLONG;
    memmove(w->rest + len, w->rest, strlen(w->rest) + 1);
    memcpy(w->rest, w->link, (size_t)len);
    w->at_start = w->rest[0] == '/';
    return 0;
}

/* Goes where the link leads to. */
static int expand(struct path_walk *w, const char *name, bool last, struct error *why) {
    int fd = openat(w->p->folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int rc = fd < 0 ? fail(why, -errno) : check_link(w, fd, name, why);

    if (rc == 0) {
        rc = ++w->links > LINKS_MAX    ? -ELOOP
             : is_procfs(w->p->folder) ? follow_magic(w, name, last)
                                       : insert_target(w, fd);
        rc = rc < 0 ? fail(why, rc) : 0;
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

static bool is_link(const struct safe_path *p, const char *name) {
    struct stat is;

    return fstatat(p->folder, name, &is, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(is.st_mode);
}

/* One name further. 1 when the last one has been reached. */
static int step(struct path_walk *w, struct error *why) {
    struct safe_path *p = w->p;
    struct slice name;
    bool last = next_name(w, &name);
    int rc, fd;

    if (name.len == 0)
        return fail(why, -EISDIR);
    if (name.len > NAME_MAX)
        return fail(why, -ENAMETOOLONG);
    memcpy(p->leaf, name.ptr, name.len);
    p->leaf[name.len] = '\0';
    drop_name(w, name);
    if (last && (w->mode == SAFE_PATH_KEEP || !is_link(p, p->leaf)))
        return 1;
    if (last) {
        rc = expand(w, p->leaf, true, why);
        return rc == 0 && p->magic ? 1 : rc;
    }
    fd = openat(p->folder, p->leaf, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return expand(w, p->leaf, false, why);
    rc = enter(p, fd);
    return rc < 0 ? fail(why, rc) : 0;
}

static int walk(struct path_walk *w, struct error *why) {
    int rc = 0;

    while (rc == 0) {
        if (w->at_start) {
            rc = begin(w);
            if (rc < 0)
                return fail(why, rc);
            if (w->p->descriptor >= 0)
                return 0;
        }
        rc = step(w, why);
    }
    return rc < 0 ? rc : 0;
}

int safe_path_find(struct safe_path *p, const char *path, enum safe_path_mode mode,
                   struct error *why) {
    struct path_walk *w = mem_alloc(sizeof(*w)); /* more than a frame may hold */
    int rc;

    *p = (struct safe_path){ .folder = -1, .descriptor = -1 };
    if (w == NULL)
        return fail(why, -ENOMEM);
    w->p = p;
    w->mode = mode;
    w->links = 0;
    w->at_start = true;
    if (path[0] == '\0')
        rc = fail(why, -ENOENT);
    else if ((size_t)snprintf(w->rest, sizeof(w->rest), "%s", path) >= sizeof(w->rest))
        rc = fail(why, -ENAMETOOLONG);
    else
        rc = walk(w, why);
    mem_free(w);
    if (rc == 0 && p->descriptor < 0 && (strcmp(p->leaf, ".") == 0 || strcmp(p->leaf, "..") == 0))
        rc = fail(why, -EISDIR);
    return rc;
}

void safe_path_close(struct safe_path *p) {
    if (p->folder >= 0)
        close(p->folder);
    p->folder = -1;
}

/* --- what was opened -------------------------------------------------------------------- */

/* Only while this is its one and only name, here and now, the file cannot be somebody else's that
 * was linked into the folder: the file's count of names and the name are looked at in one call. */
static bool is_only_name(const struct safe_path *p, const struct stat *is) {
    struct stat named;

    return fstatat(p->folder, p->leaf, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           named.st_ino == is->st_ino && named.st_dev == is->st_dev && named.st_nlink == 1;
}

static bool is_ours(uid_t owner, uid_t user) {
    return is_trusted(owner) || owner == geteuid() || owner == user;
}

/* In a folder such as /tmp whoever comes first makes the file. */
static bool is_planted(const struct safe_path *p, const struct stat *is, uid_t user) {
    struct stat folder;

    return fstat(p->folder, &folder) < 0 ||
           ((folder.st_mode & S_ISVTX) != 0 && (folder.st_mode & OTHERS_WRITE) != 0 &&
            is->st_uid != folder.st_uid && !is_ours(is->st_uid, user));
}

static int check_opened(const struct safe_path *p, int fd, uid_t user, struct error *why) {
    struct stat is;

    if (fstat(fd, &is) < 0)
        return fail(why, -errno);
    if (S_ISDIR(is.st_mode))
        return fail(why, -EISDIR);
    if (!p->shared || p->magic)
        return 0;
    if (S_ISFIFO(is.st_mode) ? !is_ours(is.st_uid, user) : !S_ISREG(is.st_mode))
        return error_set(why, -EPERM, "it is neither a regular file nor a FIFO of root's");
    if (!is_only_name(p, &is))
        return error_set(why, -EPERM, "it may be a hard link of somebody else's file");
    if (is_planted(p, &is, user))
        return error_set(why, -EPERM, "somebody else has made it");
    return 0;
}

/* Opens as openat, and checks what was opened. With O_NONBLOCK no FIFO is waited for meanwhile;
 * calls wait afterwards in both cases. */
static int open_checked(const struct safe_path *p, int flags, uid_t user, struct error *why) {
    int fd = openat(p->folder, p->leaf, flags | O_CLOEXEC | O_NOCTTY | (p->magic ? 0 : O_NOFOLLOW));
    int rc;

    if (fd < 0)
        return fail(why, -errno);
    rc = check_opened(p, fd, user, why);
    if (rc == 0 && fcntl(fd, F_SETFL, flags & O_APPEND) < 0)
        rc = fail(why, -errno);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static int give_file(int fd, uid_t uid, gid_t gid) {
    if (uid == SAFE_PATH_ANY && gid == SAFE_PATH_ANY)
        return 0;
    return fchown(fd, uid, gid) < 0 ? -errno : 0;
}

/* A new file of ours under a name that nobody has. */
static int create(const struct safe_path *p, const char *name, int flags, mode_t mode) {
    int fd = openat(p->folder, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

    return fd < 0 ? -errno : fd;
}

static int create_for(const struct safe_path *p, const char *name, int flags, uid_t uid,
                      gid_t gid) {
    int fd = create(p, name, flags, 0644);
    int rc;

    if (fd < 0)
        return fd;
    rc = give_file(fd, uid, gid);
    if (rc == 0)
        return fd;
    close(fd);
    unlinkat(p->folder, name, 0);
    return rc;
}

static int copy_descriptor(const struct safe_path *p, struct error *why) {
    int fd = fcntl(p->descriptor, F_DUPFD_CLOEXEC, 0);

    return fd < 0 ? fail(why, -errno) : fd;
}

static bool is_fifo(const struct safe_path *p) {
    struct stat is;

    return fstatat(p->folder, p->leaf, &is, p->magic ? 0 : AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISFIFO(is.st_mode);
}

/* With a reader of our own a FIFO needs no other one. */
static int open_to_append(const struct safe_path *p, uid_t user, struct error *why) {
    int fd = is_fifo(p) ? open_checked(p, O_RDWR | O_NONBLOCK, user, why) : -EACCES;

    return fd == -EACCES ? open_checked(p, O_WRONLY | O_APPEND | O_NONBLOCK, user, why) : fd;
}

int safe_path_append(const struct safe_path *p, uid_t uid, gid_t gid, struct error *why) {
    int fd = -ENOENT;

    if (p->descriptor >= 0)
        return copy_descriptor(p, why);
    for (int i = 0; i < TRIES; i++) { /* somebody may make and remove it as fast as we look */
        fd = open_to_append(p, uid, why);
        if (fd != -ENOENT)
            return fd;
        fd = create_for(p, p->leaf, O_WRONLY | O_APPEND, uid, gid);
        if (fd != -EEXIST)
            return fd < 0 ? fail(why, fd) : fd;
    }
    return fail(why, fd);
}

/* Waits for a reader of a FIFO, but not of one that others have put there for root to wait at. */
static int open_to_write(const struct safe_path *p, struct error *why) {
    int fd;

    if (!is_fifo(p))
        return open_checked(p, O_WRONLY | O_NONBLOCK, SAFE_PATH_ANY, why);
    if (is_guarded()) {
        fd = open_checked(p, O_RDONLY | O_NONBLOCK, SAFE_PATH_ANY, why);
        if (fd < 0)
            return fd;
        close(fd);
    }
    return open_checked(p, O_WRONLY, SAFE_PATH_ANY, why);
}

/* Only what was checked is emptied, and only a file has something to be emptied of. */
static int open_emptied(const struct safe_path *p, struct error *why) {
    int fd = open_to_write(p, why);
    struct stat is;
    int rc;

    if (fd < 0 || fstat(fd, &is) < 0 || !S_ISREG(is.st_mode) || ftruncate(fd, 0) == 0)
        return fd;
    rc = fail(why, -errno);
    close(fd);
    return rc;
}

int safe_path_create(const struct safe_path *p, struct error *why) {
    int fd = -ENOENT;

    if (p->descriptor >= 0)
        return copy_descriptor(p, why);
    for (int i = 0; i < TRIES && fd == -ENOENT; i++) {
        fd = open_emptied(p, why);
        if (fd != -ENOENT)
            return fd;
        fd = create(p, p->leaf, O_WRONLY, 0666);
        if (fd != -EEXIST)
            return fd < 0 ? fail(why, fd) : fd;
        fd = -ENOENT; /* somebody has made it meanwhile */
    }
    return fail(why, fd);
}

int safe_path_read(const struct safe_path *p, struct error *why) {
    return p->descriptor >= 0 ? copy_descriptor(p, why)
                              : open_checked(p, O_RDONLY | O_NONBLOCK, SAFE_PATH_ANY, why);
}

int safe_path_open_to_read(const char *path, struct error *why) {
    struct pollfd file = { .events = POLLIN };
    struct safe_path p;
    struct stat is;
    int rc = safe_path_find(&p, path, SAFE_PATH_FOLLOW, why);

    file.fd = rc < 0 ? rc : safe_path_read(&p, why);
    safe_path_close(&p);
    if (file.fd >= 0 && fstat(file.fd, &is) == 0 && S_ISFIFO(is.st_mode))
        (void)poll(&file, 1, -1); /* for its writer, as open(2) would have waited */
    return file.fd;
}

/* --- replace and remove ------------------------------------------------------------------- */

static int write_all(int fd, struct slice text) {
    ssize_t n = write(fd, text.ptr, text.len);

    return n == (ssize_t)text.len ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int replace_by_rename(const struct safe_path *p, struct slice text, uid_t uid, gid_t gid) {
    char name[NAME_MAX + 1];
    uint64_t number = 0;
    int fd = -EEXIST, rc;

    for (int i = 0; i < TRIES && fd == -EEXIST; i++) {
        if (getrandom(&number, sizeof(number), 0) < 0)
            return -errno;
        snprintf(name, sizeof(name), ".%.200s.%016llx", p->leaf, (unsigned long long)number);
        fd = create_for(p, name, O_WRONLY, uid, gid);
    }
    if (fd < 0)
        return fd;
    rc = write_all(fd, text);
    close(fd);
    if (rc == 0 && renameat(p->folder, name, p->folder, p->leaf) < 0)
        rc = -errno;
    if (rc < 0)
        unlinkat(p->folder, name, 0);
    return rc;
}

/* Writes into a regular file. */
static int write_in_place(const struct safe_path *p, struct slice text, struct error *why) {
    int fd = open_checked(p, O_WRONLY | O_NONBLOCK, SAFE_PATH_ANY, why);
    char padded[IN_PLACE_BYTES_MAX];
    size_t size;
    struct stat is;
    int rc;

    if (fd < 0)
        return fd;
    rc = fstat(fd, &is) < 0 ? -errno : text.len > sizeof(padded) ? -EFBIG : 0;
    if (rc == 0 && text.len > 0) {
        size = is.st_size < (off_t)sizeof(padded) ? (size_t)is.st_size : sizeof(padded);
        memset(padded, '\n', sizeof(padded));
        memcpy(padded, text.ptr, text.len);
        rc = write_all(fd, slice_of(padded, size > text.len ? size : text.len));
    }
    if (rc == 0 && ftruncate(fd, (off_t)text.len) < 0)
        rc = -errno;
    close(fd);
    return rc < 0 ? fail(why, rc) : 0;
}

/* Whether the folder, not the file, forbids it. EBUSY: something is mounted on the file. */
static bool folder_forbids(int rc) {
    return rc == -EACCES || rc == -EPERM || rc == -EROFS || rc == -EBUSY;
}

int safe_path_replace(const struct safe_path *p, struct slice text, uid_t uid, gid_t gid,
                      struct error *why) {
    struct stat is;
    int rc;

    if (p->descriptor >= 0) {
        rc = write_all(p->descriptor, text);
        return rc < 0 ? fail(why, rc) : 0;
    }
    if (fstatat(p->folder, p->leaf, &is, p->magic ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
        is.st_mode = S_IFREG; /* renaming tells why not */
    /* Replaced, the file would be gone for those who need it. */
    if (p->magic || !S_ISREG(is.st_mode))
        return error_set(why, -EEXIST, "it is there and not a regular file");
    rc = replace_by_rename(p, text, uid, gid);
    if (folder_forbids(rc) && write_in_place(p, text, why) == 0)
        return 0;
    return rc < 0 ? fail(why, rc) : 0;
}

int safe_path_remove(const struct safe_path *p, struct error *why) {
    if (p->descriptor >= 0 || unlinkat(p->folder, p->leaf, 0) == 0)
        return 0;
    return folder_forbids(-errno) ? write_in_place(p, SLICE(""), why) : fail(why, -errno);
}

/* --- sockets ------------------------------------------------------------------------------ */

int safe_path_give_socket(const struct safe_path *p, uid_t uid, gid_t gid, struct error *why) {
    int fd = openat(p->folder, p->leaf, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat is;
    int rc = 0;

    if (fd < 0 || fstat(fd, &is) < 0)
        rc = fail(why, -errno);
    else if (!S_ISSOCK(is.st_mode) || (p->shared && !is_only_name(p, &is)))
        rc = error_set(why, -EPERM, "it is not the socket any more");
    else if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
        rc = fail(why, -errno);
    if (fd >= 0)
        close(fd);
    return rc;
}

int safe_path_enter(const struct safe_path *p) {
    int old_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (old_fd < 0)
        return -errno;
    if (fchdir(p->folder) == 0)
        return old_fd;
    close(old_fd);
    return -errno;
}

void safe_path_leave(int old_fd) {
    (void)!fchdir(old_fd);
    close(old_fd);
}

/* --- a file below a folder -------------------------------------------------------------- */

/* openat2(2), which the C library has no function for; a folder that is renamed meanwhile lets it
 * fail, rarely. A descriptor or -errno. */
static int open_below(int folder, const char *path, uint64_t flags, uint64_t resolve) {
    struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };

    for (unsigned tries = 0; tries < 8; tries++) {
        long fd = syscall(SYS_openat2, folder, path, &how, sizeof(how));

        if (fd >= 0)
            return (int)fd;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return -EAGAIN;
}

int safe_path_open_regular(int folder, const char *path, uint64_t resolve, struct stat *ret_is) {
    int fd = open_below(folder, path, O_PATH, resolve);
    bool regular = fd >= 0 && fstat(fd, ret_is) == 0 && S_ISREG(ret_is->st_mode);

    if (fd < 0)
        return fd;
    close(fd);
    if (!regular)
        return -ENOENT;
    fd = open_below(folder, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, resolve);
    if (fd >= 0 && (fstat(fd, ret_is) < 0 || !S_ISREG(ret_is->st_mode))) {
        close(fd);
        return -ENOENT;
    }
    return fd;
}
