/* SPDX-License-Identifier: MIT */
/* Calls that wait inside libc or the kernel, where no descriptor tells the end: look-ups of names
 * run on the threads of fiber/resolve.h; ends of children and locks of files are looked for again
 * and again. No thread waits for a file lock: flock(2) cannot be taken back, and would lock the
 * file for a request that is over. */
#undef _FILE_OFFSET_BITS /* fcntl and fcntl64 are two names here */
#undef _FORTIFY_SOURCE
#include "fiber/patch_hook.h"

#include "base/alloc.h"
#include "fiber/patch_lock.h"
#include "fiber/resolve.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netdb.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

PATCH_ORIGINAL(getaddrinfo)
PATCH_ORIGINAL(getnameinfo)
PATCH_ORIGINAL(gethostbyname)
PATCH_ORIGINAL(gethostbyname2)
PATCH_ORIGINAL(gethostbyaddr)
PATCH_ORIGINAL(gethostbyname_r)
PATCH_ORIGINAL(gethostbyname2_r)
PATCH_ORIGINAL(gethostbyaddr_r)
PATCH_ORIGINAL(waitpid)
PATCH_ORIGINAL(wait)
PATCH_ORIGINAL(wait3)
PATCH_ORIGINAL(wait4)
PATCH_ORIGINAL(waitid)
PATCH_ORIGINAL(flock)
PATCH_ORIGINAL(lockf)
PATCH_ORIGINAL(lockf64)
PATCH_ORIGINAL(fcntl)
PATCH_ORIGINAL(fcntl64)
PATCH_ORIGINAL(syscall)
PATCH_ORIGINAL(_Fork)

/* --- look-ups on threads ------------------------------------------------- */

enum { HOST_BYTES_FIRST = 1024, HOST_BYTES_MAX = 1024 * 1024, ANSWERS_KEPT = 64 };

/* Waits for the job: 0; -ECANCELED: the request is over; -errno. */
static int run_job(struct patch *p, struct resolve_job *job) {
    struct pollfd done = { .fd = job->event_fd, .events = POLLIN };
    int rc = p->failed == 0 ? resolve_job_start(job) : patch_refuse(p, p->failed);

    while (rc >= 0 && !atomic_load(&job->done))
        rc = patch_wait(p, &done, NSEC_NEVER);
    return rc < 0 ? rc : 0;
}

static bool is_numeric(const char *name) {
    struct in6_addr any;

    return inet_aton(name, (struct in_addr *)&any) != 0 || inet_pton(AF_INET6, name, &any) == 1;
}

/* --- getaddrinfo --------------------------------------------------------- */

struct addrinfo_job {
    struct resolve_job job;
    struct addrinfo hints, *list;
    int rc, error;
    bool has_service;
    char *service; /* behind the name */
    char name[];
};

static void run_getaddrinfo(struct resolve_job *job) {
    struct addrinfo_job *j = CONTAINER_OF(job, struct addrinfo_job, job);

    j->rc = getaddrinfo(j->name, j->service, &j->hints, &j->list);
    j->error = errno;
    if (j->rc != 0)
        j->list = NULL;
}

static void free_addrinfo_job(struct resolve_job *job) {
    struct addrinfo_job *j = CONTAINER_OF(job, struct addrinfo_job, job);

    if (j->list != NULL)
        freeaddrinfo(j->list);
    mem_free(j);
}

/* NULL with errno. */
static struct addrinfo_job *addrinfo_job_new(const char *name, const char *service,
                                             const struct addrinfo *hints) {
    size_t name_bytes = strlen(name) + 1;
    size_t service_bytes = service != NULL ? strlen(service) + 1 : 0;
    struct addrinfo_job *j = mem_calloc(1, sizeof(*j) + name_bytes + service_bytes);
    int rc = j == NULL ? -ENOMEM : resolve_job_open(&j->job, run_getaddrinfo, free_addrinfo_job);

    if (rc < 0) {
        mem_free(j);
        errno = -rc;
        return NULL;
    }
    memcpy(j->name, name, name_bytes);
    if (service != NULL)
        j->service = memcpy(j->name + name_bytes, service, service_bytes);
    /* A NULL there means these, says getaddrinfo(3). */
    j->hints = (struct addrinfo){ .ai_flags = AI_V4MAPPED | AI_ADDRCONFIG };
    if (hints != NULL)
        j->hints = (struct addrinfo){ .ai_flags = hints->ai_flags,
                                      .ai_family = hints->ai_family,
                                      .ai_socktype = hints->ai_socktype,
                                      .ai_protocol = hints->ai_protocol };
    return j;
}

/* Returns an EAI_ code, with errno for EAI_SYSTEM. */
static int getaddrinfo_beside(struct patch *p, const char *name, const char *service,
                              const struct addrinfo *hints, struct addrinfo **ret) {
    struct addrinfo_job *j = addrinfo_job_new(name, service, hints);
    int rc = j == NULL ? -errno : run_job(p, &j->job);

    if (rc < 0) {
        p->errno_before = -rc;
        rc = rc == -ENOMEM ? EAI_MEMORY : EAI_SYSTEM;
    } else {
        rc = j->rc;
        if (rc == EAI_SYSTEM)
            p->errno_before = j->error;
        if (rc == 0)
            *ret = j->list;
        j->list = NULL;
    }
    if (j != NULL)
        resolve_job_leave(&j->job);
    return rc;
}

/* Weak: a test may have another one. */
__attribute__((weak)) int getaddrinfo(const char *restrict name, const char *restrict service,
                                      const struct addrinfo *restrict hints,
                                      struct addrinfo **restrict ret) {
    struct patch *p = PATCH_HERE;
    int rc;

    if (p == NULL || name == NULL || (hints != NULL && (hints->ai_flags & AI_NUMERICHOST)) ||
        is_numeric(name))
        return original_getaddrinfo()(name, service, hints, ret);
    patch_begin(p, "getaddrinfo", -1);
    rc = getaddrinfo_beside(p, name, service, hints, ret);
    patch_end(p, 0);
    return rc;
}

/* --- getnameinfo --------------------------------------------------------- */

struct nameinfo_job {
    struct resolve_job job;
    struct sockaddr_storage address;
    socklen_t len, host_bytes, service_bytes;
    int flags, rc, error;
    char host[NI_MAXHOST], service[NI_MAXSERV];
};

static void run_getnameinfo(struct resolve_job *job) {
    struct nameinfo_job *j = CONTAINER_OF(job, struct nameinfo_job, job);

    j->rc = getnameinfo((const struct sockaddr *)&j->address, j->len, j->host, j->host_bytes,
                        j->service_bytes > 0 ? j->service : NULL, j->service_bytes, j->flags);
    j->error = errno;
}

static void free_nameinfo_job(struct resolve_job *job) {
    mem_free(CONTAINER_OF(job, struct nameinfo_job, job));
}

/* NULL without memory. */
static struct nameinfo_job *nameinfo_job_new(const struct sockaddr *address, socklen_t len,
                                             int flags) {
    struct nameinfo_job *j = mem_calloc(1, sizeof(*j));

    if (j == NULL)
        return NULL;
    memcpy(&j->address, address, len);
    j->len = len;
    j->flags = flags;
    if (resolve_job_open(&j->job, run_getnameinfo, free_nameinfo_job) == 0)
        return j;
    mem_free(j);
    return NULL;
}

/* Returns an EAI_ code, with errno for EAI_SYSTEM. */
static int getnameinfo_beside(struct patch *p, struct nameinfo_job *j, char *host, char *service) {
    int rc = run_job(p, &j->job);

    if (rc < 0) {
        p->errno_before = -rc;
        return EAI_SYSTEM;
    }
    if (j->rc == EAI_SYSTEM)
        p->errno_before = j->error;
    if (j->rc == 0)
        memcpy(host, j->host, strlen(j->host) + 1);
    if (j->rc == 0 && j->service_bytes > 0)
        memcpy(service, j->service, strlen(j->service) + 1);
    return j->rc;
}

int getnameinfo(const struct sockaddr *restrict address, socklen_t len, char *restrict host,
                socklen_t host_bytes, char *restrict service, socklen_t service_bytes, int flags) {
    struct patch *p = PATCH_HERE;
    struct nameinfo_job *j;
    int rc = EAI_MEMORY;

    if (p == NULL || host == NULL || host_bytes == 0 || (flags & NI_NUMERICHOST) ||
        len > sizeof(j->address) || len < sizeof(address->sa_family) ||
        (address->sa_family != AF_INET && address->sa_family != AF_INET6))
        return original_getnameinfo()(address, len, host, host_bytes, service, service_bytes,
                                      flags);
    patch_begin(p, "getnameinfo", -1);
    j = nameinfo_job_new(address, len, flags);
    if (j != NULL) {
        j->host_bytes = host_bytes < NI_MAXHOST ? host_bytes : NI_MAXHOST;
        if (service != NULL)
            j->service_bytes = service_bytes < NI_MAXSERV ? service_bytes : NI_MAXSERV;
        rc = getnameinfo_beside(p, j, host, service);
        resolve_job_leave(&j->job);
    }
    patch_end(p, 0);
    return rc;
}

/* --- gethostbyname and its like ------------------------------------------ */

struct host_job {
    struct resolve_job job;
    int family;
    socklen_t address_len; /* 0: it has a name */
    struct hostent host;
    struct hostent *found; /* &host, or NULL */
    char *memory, *data;   /* `bytes` of the latter are the result's, and lie as the caller's do */
    size_t bytes;
    bool may_grow;
    int rc, h_error;
    char key[]; /* name or address */
};

static int call_host(struct host_job *j) {
    if (j->address_len > 0)
        return gethostbyaddr_r(j->key, j->address_len, j->family, &j->host, j->data, j->bytes,
                               &j->found, &j->h_error);
    return gethostbyname2_r(j->key, j->family, &j->host, j->data, j->bytes, &j->found, &j->h_error);
}

static void run_host(struct resolve_job *job) {
    struct host_job *j = CONTAINER_OF(job, struct host_job, job);

    j->rc = call_host(j);
    while (j->rc == ERANGE && j->may_grow && j->bytes < HOST_BYTES_MAX) {
        char *more = mem_realloc(j->memory, j->bytes * 2);
        if (more == NULL)
            break;
        j->memory = j->data = more;
        j->bytes *= 2;
        j->rc = call_host(j);
    }
}

static void free_host_job(struct resolve_job *job) {
    struct host_job *j = CONTAINER_OF(job, struct host_job, job);

    mem_free(j->memory);
    mem_free(j);
}

/* `like`: the caller's room for the result, whose place in a line of memory decides where in it
 * libc puts what. NULL without memory, or a descriptor. */
static struct host_job *host_job_new(const void *key, socklen_t address_len, int family,
                                     const char *like, size_t bytes) {
    size_t key_bytes = address_len > 0 ? address_len : strlen(key) + 1;
    struct host_job *j = mem_calloc(1, sizeof(*j) + key_bytes);

    if (j == NULL)
        return NULL;
    memcpy(j->key, key, key_bytes);
    j->address_len = address_len;
    j->family = family;
    j->bytes = bytes;
    j->memory = mem_alloc(bytes + alignof(max_align_t));
    if (j->memory != NULL) {
        j->data = j->memory + (uintptr_t)like % alignof(max_align_t);
        if (resolve_job_open(&j->job, run_host, free_host_job) == 0)
            return j;
    }
    mem_free(j->memory);
    mem_free(j);
    return NULL;
}

static void move_text(char **text, const struct host_job *j, char *to) {
    if (*text >= j->data && *text < j->data + j->bytes)
        *text = to + (*text - j->data);
}

static void move_list(char ***list, const struct host_job *j, char *to) {
    char *at = (char *)*list;

    move_text(&at, j, to);
    *list = (char **)(void *)at;
    for (char **entry = *list; entry != NULL && *entry != NULL; entry++)
        move_text(entry, j, to);
}

/* Puts the result where the caller wants it. */
static void move_host(const struct host_job *j, struct hostent *host, char *to) {
    memcpy(to, j->data, j->bytes);
    *host = j->host;
    move_text(&host->h_name, j, to);
    move_list(&host->h_aliases, j, to);
    move_list(&host->h_addr_list, j, to);
}

/* The calls with memory of the caller's: 0, with or without *ret, or an errno. */
static int host_beside_r(struct patch *p, struct host_job *j, struct hostent *host, char *to,
                         struct hostent **ret, int *ret_error) {
    int rc = j == NULL ? -ENOMEM : run_job(p, &j->job);

    *ret = NULL;
    if (rc < 0) {
        *ret_error = NETDB_INTERNAL;
    } else {
        rc = -j->rc;
        *ret_error = j->h_error;
        if (j->found != NULL) {
            move_host(j, host, to);
            *ret = host;
        }
    }
    if (j != NULL)
        resolve_job_leave(&j->job);
    patch_end(p, 0);
    return -rc;
}

/* The calls whose result libc keeps until the next one: here it is kept until many are there, for
 * a fiber may wait before it looks at it, and others call meanwhile. */
static struct hostent *host_beside(struct patch *p, struct host_job *j) {
    static struct host_job *kept[ANSWERS_KEPT];
    static atomic_uint turns;
    int rc = j == NULL ? -ENOMEM : run_job(p, &j->job);
    struct hostent *found = NULL;

    if (rc == 0) {
        h_errno = j->h_error;
        if (j->rc != 0)
            p->errno_before = j->rc;
        found = j->found;
    } else {
        h_errno = NETDB_INTERNAL;
        p->errno_before = -rc;
    }
    if (found != NULL)
        j = __atomic_exchange_n(&kept[atomic_fetch_add(&turns, 1) % ANSWERS_KEPT], j,
                                __ATOMIC_ACQ_REL);
    if (j != NULL)
        resolve_job_leave(&j->job);
    patch_end(p, 0);
    return found;
}

static struct host_job *host_job_that_grows(const void *key, socklen_t len, int family) {
    struct host_job *j = host_job_new(key, len, family, NULL, HOST_BYTES_FIRST);

    if (j != NULL)
        j->may_grow = true;
    return j;
}

struct hostent *gethostbyname(const char *name) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || is_numeric(name))
        return original_gethostbyname()(name);
    patch_begin(p, "gethostbyname", -1);
    return host_beside(p, host_job_that_grows(name, 0, AF_INET));
}

struct hostent *gethostbyname2(const char *name, int family) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || is_numeric(name))
        return original_gethostbyname2()(name, family);
    patch_begin(p, "gethostbyname2", -1);
    return host_beside(p, host_job_that_grows(name, 0, family));
}

struct hostent *gethostbyaddr(const void *address, socklen_t len, int family) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || len == 0)
        return original_gethostbyaddr()(address, len, family);
    patch_begin(p, "gethostbyaddr", -1);
    return host_beside(p, host_job_that_grows(address, len, family));
}

int gethostbyname_r(const char *restrict name, struct hostent *restrict host, char *restrict data,
                    size_t bytes, struct hostent **restrict ret, int *restrict ret_error) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || is_numeric(name))
        return original_gethostbyname_r()(name, host, data, bytes, ret, ret_error);
    patch_begin(p, "gethostbyname_r", -1);
    return host_beside_r(p, host_job_new(name, 0, AF_INET, data, bytes), host, data, ret,
                         ret_error);
}

int gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict host,
                     char *restrict data, size_t bytes, struct hostent **restrict ret,
                     int *restrict ret_error) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || is_numeric(name))
        return original_gethostbyname2_r()(name, family, host, data, bytes, ret, ret_error);
    patch_begin(p, "gethostbyname2_r", -1);
    return host_beside_r(p, host_job_new(name, 0, family, data, bytes), host, data, ret, ret_error);
}

int gethostbyaddr_r(const void *restrict address, socklen_t len, int family,
                    struct hostent *restrict host, char *restrict data, size_t bytes,
                    struct hostent **restrict ret, int *restrict ret_error) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || len == 0)
        return original_gethostbyaddr_r()(address, len, family, host, data, bytes, ret, ret_error);
    patch_begin(p, "gethostbyaddr_r", -1);
    return host_beside_r(p, host_job_new(address, len, family, data, bytes), host, data, ret,
                         ret_error);
}

/* --- ends of children ---------------------------------------------------- */

/* A wait for children, asked for as waitid(2) and wait4(2) do. */
struct child_wait {
    bool is_waitid;
    idtype_t type;
    id_t id;
    pid_t pid;
    int *status;
    int options;
    siginfo_t *info;
    struct rusage *usage;
};

/* 0: none is there yet. */
static pid_t look_for_child(const struct child_wait *w) {
    pid_t rc;

    if (!w->is_waitid)
        return (pid_t)patch_result(
            original_wait4()(w->pid, w->status, w->options | WNOHANG, w->usage));
    w->info->si_pid = 0;
    rc = (pid_t)patch_result(original_waitid()(w->type, w->id, w->info, w->options | WNOHANG));
    return rc == 0 ? w->info->si_pid : rc;
}

/* A descriptor that is readable when the child has ended; -1 when more than one may be meant, or
 * other news than the end. */
static int open_child(const struct child_wait *w) {
    pid_t pid = w->is_waitid && w->type == P_PID ? (pid_t)w->id : w->is_waitid ? -1 : w->pid;

    if (pid <= 0 || (w->options & (WSTOPPED | WCONTINUED)))
        return -1;
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static pid_t wait_for_child(struct patch *p, const struct child_wait *w) {
    struct pollfd ended = { .events = POLLIN };
    unsigned looks = 0;
    pid_t pid = look_for_child(w);
    int rc = 0;

    if (pid != 0)
        return pid;
    ended.fd = open_child(w);
    while (pid == 0 && rc >= 0) {
        rc = ended.fd >= 0 ? patch_wait(p, &ended, NSEC_NEVER)
                           : patch_pause_between(p, &looks, NSEC_NEVER);
        pid = look_for_child(w);
    }
    if (ended.fd >= 0)
        close(ended.fd);
    return pid != 0 ? pid : rc;
}

static pid_t wait_parked(struct patch *p, const char *call, const struct child_wait *w) {
    patch_begin(p, call, -1);
    return (pid_t)patch_end(p, wait_for_child(p, w));
}

pid_t waitpid(pid_t pid, int *status, int options) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || (options & WNOHANG))
        return original_waitpid()(pid, status, options);
    return wait_parked(p, "waitpid",
                       &(struct child_wait){ .pid = pid, .status = status, .options = options });
}

pid_t wait(int *status) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_wait()(status);
    return wait_parked(p, "wait", &(struct child_wait){ .pid = -1, .status = status });
}

pid_t wait3(int *status, int options, struct rusage *usage) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || (options & WNOHANG))
        return original_wait3()(status, options, usage);
    return wait_parked(
        p, "wait3",
        &(struct child_wait){ .pid = -1, .status = status, .options = options, .usage = usage });
}

pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || (options & WNOHANG))
        return original_wait4()(pid, status, options, usage);
    return wait_parked(
        p, "wait4",
        &(struct child_wait){ .pid = pid, .status = status, .options = options, .usage = usage });
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options) {
    struct patch *p = PATCH_HERE;
    siginfo_t own = { 0 };
    pid_t rc;

    if (p == NULL || (options & WNOHANG))
        return original_waitid()(type, id, info, options);
    rc = wait_parked(p, "waitid",
                     &(struct child_wait){ .is_waitid = true,
                                           .type = type,
                                           .id = id,
                                           .info = info != NULL ? info : &own,
                                           .options = options });
    return rc < 0 ? -1 : 0;
}

/* --- locks of files ------------------------------------------------------ */

/* Pauses when another one has the lock: *rc says so, or then why there is no further try. */
static bool tries_again(struct patch *p, unsigned *looks, ssize_t *rc) {
    if (*rc != -EAGAIN && *rc != -EACCES)
        return false;
    *rc = patch_pause_between(p, looks, NSEC_NEVER);
    return *rc == 0;
}

int flock(int fd, int operation) {
    struct patch *p = PATCH_HERE;
    unsigned looks = 0;
    ssize_t rc;

    if (p == NULL || (operation & (LOCK_NB | LOCK_UN)))
        return original_flock()(fd, operation);
    patch_begin(p, "flock", fd);
    do
        rc = patch_result(original_flock()(fd, operation | LOCK_NB));
    while (tries_again(p, &looks, &rc));
    return (int)patch_end(p, rc);
}

typedef int (*fcntl_call)(int fd, int command, ...);

static int lock_parked(struct patch *p, fcntl_call call, int fd, int command, void *lock) {
    unsigned looks = 0;
    ssize_t rc;

    patch_begin(p, "fcntl", fd);
    do
        rc = patch_result(call(fd, command, lock));
    while (tries_again(p, &looks, &rc));
    return (int)patch_end(p, rc);
}

static int fcntl_hooked(struct patch *p, fcntl_call call, int fd, int command, void *arg) {
    if (p != NULL && command == F_SETLKW)
        return lock_parked(p, call, fd, F_SETLK, arg);
    if (p != NULL && command == F_OFD_SETLKW)
        return lock_parked(p, call, fd, F_OFD_SETLK, arg);
    return call(fd, command, arg);
}

/* A register has the third argument, of whichever type it is. */
int fcntl(int fd, int command, ...) {
    va_list list;
    void *arg;

    va_start(list, command);
    arg = va_arg(list, void *);
    va_end(list);
    return fcntl_hooked(PATCH_HERE, original_fcntl(), fd, command, arg);
}

int fcntl64(int fd, int command, ...) {
    va_list list;
    void *arg;

    va_start(list, command);
    arg = va_arg(list, void *);
    va_end(list);
    return fcntl_hooked(PATCH_HERE, original_fcntl64(), fd, command, arg);
}

/* lockf(3) with F_TLOCK in place of F_LOCK. */
static int lockf_parked(struct patch *p, int (*call)(int, int, off64_t), int fd, off64_t len) {
    unsigned looks = 0;
    ssize_t rc;

    patch_begin(p, "lockf", fd);
    do
        rc = patch_result(call(fd, F_TLOCK, len));
    while (tries_again(p, &looks, &rc));
    return (int)patch_end(p, rc);
}

int lockf(int fd, int command, off_t len) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || command != F_LOCK)
        return original_lockf()(fd, command, len);
    return lockf_parked(p, original_lockf64(), fd, len);
}

int lockf64(int fd, int command, off64_t len) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || command != F_LOCK)
        return original_lockf64()(fd, command, len);
    return lockf_parked(p, original_lockf64(), fd, len);
}

/* --- futexes ------------------------------------------------------------- */

/* The waits of libraries that lock without libc: std::atomic, `static` variables of functions in
 * C++, GLib, Rust. */

#define FUTEX_LOOKS_FOR (100 * NSEC_PER_MSEC) /* until the caller is to look itself */

/* The end of a wait: a span, or a time by one of two clocks. 0 or -EINVAL. */
static int futex_end(int operation, const struct timespec *time, nsec_t *ret) {
    bool is_span = (operation & FUTEX_CMD_MASK) == FUTEX_WAIT;
    clockid_t clock = operation & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;

    *ret = NSEC_NEVER;
    if (time == NULL)
        return 0;
    if (!is_span)
        return -patch_until(clock, time, ret);
    if (time->tv_sec < 0 || time->tv_nsec < 0 || time->tv_nsec >= NSEC_PER_SEC)
        return -EINVAL;
    if (time->tv_sec < INT32_MAX)
        *ret = deadline_after(clock_now(), time->tv_sec * NSEC_PER_SEC + time->tv_nsec);
    return 0;
}

/* Waits as long as the word has that value, or for a while: callers must expect to be woken for no
 * reason. That is also what they get at the end of the request, for another error ends programs. */
static int wait_for_futex(struct patch *p, const uint32_t *word, int operation, uint32_t value,
                          const struct timespec *time) {
    nsec_t until, look_until;
    unsigned looks = 0;
    int rc = futex_end(operation, time, &until);

    if (rc == 0 && __atomic_load_n(word, __ATOMIC_SEQ_CST) != value)
        rc = -EAGAIN;
    if (rc < 0)
        return rc;
    look_until = nsec_min(until, deadline_after(clock_now(), FUTEX_LOOKS_FOR));
    while (rc == 0 && __atomic_load_n(word, __ATOMIC_SEQ_CST) == value)
        rc = patch_pause_between(p, &looks, look_until);
    if (rc < 0 && until != NSEC_NEVER && (rc == -ECANCELED || look_until == until))
        return -ETIMEDOUT;
    return 0;
}

/* --- children that pthread_atfork is not told of ------------------------- */

pid_t _Fork(void) {
    pid_t pid = original__Fork()();

    if (pid == 0)
        patch_forget();
    return pid;
}

static bool makes_child(long number) {
#ifdef SYS_fork
    if (number == SYS_fork)
        return true;
#endif
    return number == SYS_clone || number == SYS_clone3;
}

static long syscall_for_child(long number, const long *a) {
    pid_t parent = getpid();
    long rc = original_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);

    if (rc == 0 && getpid() != parent)
        patch_forget();
    return rc;
}

/* Any call: its arguments are in registers. */
long syscall(long number, ...) {
    struct patch *p = PATCH_HERE;
    long a[6];
    va_list list;
    int operation;

    va_start(list, number);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    operation = (int)a[1] & FUTEX_CMD_MASK;
    if (p == NULL || number != SYS_futex ||
        (operation != FUTEX_WAIT && operation != FUTEX_WAIT_BITSET))
        return makes_child(number) ? syscall_for_child(number, a)
                                   : original_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    patch_begin(p, "futex", -1);
    return patch_end(p, wait_for_futex(p, (const uint32_t *)a[0], (int)a[1], (uint32_t)a[2],
                                       (const struct timespec *)a[3]));
}
