/* SPDX-License-Identifier: MIT */
/* Takes the lists of a connection string apart, and tries what is in them. */
#include "server/upstream/db_hosts.h"
#include "fiber/resolve.h"
#include "server/limits.h"
#include <errno.h>
#include <netdb.h>
#include <sys/epoll.h>

/* --- the lists -------------------------------------------------------------------------------- */

static bool is_name(struct slice host) {
    struct endpoint e = { .host = host, .port = 1 };
    struct address numeric;

    if (host.len == 0 || host.ptr[0] == '/' || host.ptr[0] == '@')
        return false;
    return address_of_endpoint(&e, false, &numeric) != 0 || slice_eq(host, SLICE("localhost"));
}

static struct db_host *host_new(struct arena *arena, struct slice host, struct slice hostaddr,
                                struct slice port) {
    struct db_host *h = arena_alloc(arena, sizeof(*h));

    if (h == NULL)
        return NULL;
    *h = (struct db_host){
        .host = arena_dup(arena, host),
        .hostaddr = arena_dup(arena, hostaddr),
        .port = arena_dup(arena, port),
        .is_name = hostaddr.len == 0 && is_name(host),
    };
    return h->host == NULL || h->hostaddr == NULL || h->port == NULL ? NULL : h;
}

/* 0 for an empty list. */
static size_t count_items(struct slice list) {
    size_t n = list.len > 0;

    for (size_t i = 0; i < list.len; i++)
        n += list.ptr[i] == ',';
    return n;
}

int db_hosts_parse(const char *hosts, const char *hostaddrs, const char *ports, struct arena *arena,
                   struct db_hosts *ret) {
    struct slice host = slice_str(hosts), hostaddr = slice_str(hostaddrs), port = slice_str(ports);
    size_t host_count = count_items(host), address_count = count_items(hostaddr);
    size_t count = host_count > address_count ? host_count : address_count;
    size_t port_count = count_items(port);

    STAILQ_INIT(ret);
    if (count == 0)
        count = 1;
    if (count > SERVER_DB_HOSTS_MAX || (port_count > 1 && port_count != count) ||
        (host_count > 0 && address_count > 0 && host_count != address_count))
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        struct db_host *h = host_new(arena, slice_cut(&host, ','), slice_cut(&hostaddr, ','),
                                     port_count > 1 ? slice_cut(&port, ',') : port);
        if (h == NULL)
            return -ENOMEM;
        STAILQ_INSERT_TAIL(ret, h, link);
    }
    return 0;
}

/* The addresses of a name come before all others, in their order. */
static int insert_addresses(struct db_hosts *hosts, const struct db_host *name,
                            const struct resolved *found, struct arena *arena) {
    char text[NI_MAXHOST];

    for (size_t i = found->count; i-- > 0;) {
        const struct address *a = &found->addresses[i];
        struct db_host *h;

        if (getnameinfo(&a->any, a->len, text, sizeof(text), NULL, 0, NI_NUMERICHOST) != 0)
            continue;
        h = host_new(arena, slice_str(name->host), slice_str(text), slice_str(name->port));
        if (h == NULL)
            return -ENOMEM;
        STAILQ_INSERT_HEAD(hosts, h, link);
    }
    return 0;
}

/* --- trying ----------------------------------------------------------------------------------- */

/* A server that is being tried: its name is looked up, or a connection is made. */
struct attempt {
    const struct db_host *host;
    struct lookup *lookup;
    void *conn;
    nsec_t until;    /* the end of its time */
    uint32_t number; /* among all that were begun */
};

struct race {
    const struct db_dial *dial;
    struct io *io;
    struct arena *arena;
    struct db_hosts *hosts; /* not tried yet */
    nsec_t span, deadline;
    nsec_t next_at; /* the next one is begun then, beside those that are silent */
    struct attempt attempts[SERVER_DB_HOSTS_MAX];
    unsigned count; /* attempts in progress */
    uint32_t begun;
    int epoll_fd;
    int code;    /* the last failure's */
    bool closed; /* a server does not want us */
    void *won;
};

/* The descriptor that tells of an attempt; whether it is to be read, else written. */
static int attempt_fd(const struct race *r, const struct attempt *a, bool *ret_reads) {
    int fd;

    *ret_reads = true;
    if (a->lookup != NULL)
        return resolve_fd(a->lookup);
    *ret_reads = r->dial->wants(r->dial->arg, a->conn, &fd) != IO_WRITE;
    return fd;
}

/* A descriptor may be open for longer, in the thread of a look-up or in a process that was forked
 * meanwhile, and would be watched for as long. */
static void attempt_end(struct race *r, struct attempt *a) {
    bool reads;

    if (a->lookup != NULL || a->conn != NULL)
        epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, attempt_fd(r, a, &reads), NULL);
    resolve_free(a->lookup);
    if (a->conn != NULL)
        r->dial->end(r->dial->arg, a->conn);
    a->lookup = NULL;
    a->conn = NULL;
}

static void attempt_fail(struct race *r, struct attempt *a, int code, const char *why) {
    if (why != NULL)
        r->dial->say(r->dial->arg, why);
    if (!r->closed)
        r->code = code;
    r->closed |= code == -ECONNABORTED;
    r->next_at = 0;
    attempt_end(r, a);
}

static void attempt_expire(struct race *r, struct attempt *a) {
    const struct db_host *h = a->host;
    bool both = h->host[0] != '\0' && h->hostaddr[0] != '\0';
    const char *why =
        arena_printf(r->arena, "no answer in time from %s%s%s%s%s", h->host, both ? "/" : "",
                     h->hostaddr, h->port[0] != '\0' ? ":" : "", h->port);

    attempt_fail(r, a, -ETIMEDOUT, why != NULL ? why : "no answer in time");
}

/* A name has been looked up: its addresses are next. 0 or -ENOMEM. */
static int attempt_found(struct race *r, struct attempt *a) {
    struct resolved *found = arena_alloc(r->arena, sizeof(*found)); /* large for a stack */
    struct error err;
    int rc = found != NULL ? resolve_end(a->lookup, found, &err) : -ENOMEM;

    if (found == NULL)
        return rc;
    if (rc < 0) {
        attempt_fail(r, a, rc, err.text);
        return 0;
    }
    attempt_end(r, a);
    r->next_at = 0;
    return insert_addresses(r->hosts, a->host, found, r->arena);
}

/* Goes on with an attempt that has got what it waited for. 0 or -ENOMEM. */
static int attempt_step(struct race *r, struct attempt *a) {
    int rc;

    r->next_at = deadline_after(clock_now(), SERVER_DB_HOST_NSEC);
    if (a->lookup != NULL)
        return attempt_found(r, a);
    rc = r->dial->step(r->dial->arg, a->conn);
    if (rc < 0)
        attempt_fail(r, a, rc, NULL);
    if (rc > 0) {
        r->won = a->conn;
        a->conn = NULL;
    }
    return 0;
}

/* The next server's turn. */
static void attempt_begin(struct race *r) {
    struct db_host *host = STAILQ_FIRST(r->hosts);
    struct attempt *a = &r->attempts[r->count];
    struct endpoint e = { .host = slice_str(host->host), .port = 1 };
    nsec_t now = clock_now();
    struct error err = { .text = "" };
    int rc;

    *a = (struct attempt){ .host = host,
                           .until = deadline_after(now, r->span),
                           .number = r->begun++ };
    rc = host->is_name ? resolve_begin(&e, &a->lookup, &err)
                       : r->dial->begin(r->dial->arg, host, &a->conn);
    r->next_at = deadline_after(now, SERVER_DB_HOST_NSEC);
    STAILQ_REMOVE_HEAD(r->hosts, link);
    if (rc < 0)
        attempt_fail(r, a, rc, host->is_name ? err.text : NULL);
    else
        r->count++;
}

static void drop_ended(struct race *r) {
    unsigned kept = 0;

    for (unsigned i = 0; i < r->count; i++)
        if (r->attempts[i].lookup != NULL || r->attempts[i].conn != NULL)
            r->attempts[kept++] = r->attempts[i];
    r->count = kept;
}

/* A connection may have got another descriptor, even with the same number: all are set anew. */
static int watch_all(struct race *r, nsec_t *until) {
    for (unsigned i = 0; i < r->count; i++) {
        struct attempt *a = &r->attempts[i];
        bool reads;
        int fd = attempt_fd(r, a, &reads), rc;
        struct epoll_event event = { .events = reads ? EPOLLIN : EPOLLOUT, .data.u32 = a->number };

        rc = epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &event);
        if (rc < 0 && errno == EEXIST)
            rc = epoll_ctl(r->epoll_fd, EPOLL_CTL_MOD, fd, &event);
        if (rc < 0)
            return -errno;
        *until = nsec_min(*until, a->until);
    }
    return 0;
}

/* NULL: it has ended, and something keeps its descriptor open. */
static struct attempt *find_attempt(struct race *r, uint32_t number) {
    for (unsigned i = 0; i < r->count; i++) {
        struct attempt *a = &r->attempts[i];

        if (a->number == number && (a->lookup != NULL || a->conn != NULL))
            return a;
    }
    return NULL;
}

/* Whether there is another server to try, and room for it. */
static bool has_more(const struct race *r) {
    return !STAILQ_EMPTY(r->hosts) && !r->closed && r->count < ARRAY_LEN(r->attempts);
}

/* Waits for news of any attempt, or for the turn of the next, and takes what came. */
static int race_turn(struct race *r) {
    struct epoll_event events[SERVER_DB_HOSTS_MAX];
    nsec_t until = r->deadline;
    int rc, n = 0;

    if (has_more(r))
        until = nsec_min(until, r->next_at);
    rc = watch_all(r, &until);
    if (rc == 0)
        rc = io_wait_level(r->io, r->epoll_fd, IO_READ, until);
    if (rc == 0)
        n = epoll_wait(r->epoll_fd, events, ARRAY_LEN(events), 0);
    for (int i = 0; i < n && rc == 0 && r->won == NULL; i++) {
        struct attempt *a = find_attempt(r, events[i].data.u32);

        rc = a != NULL ? attempt_step(r, a) : 0;
    }
    for (unsigned i = 0; i < r->count && rc == -ETIMEDOUT; i++)
        if (clock_now() >= nsec_min(r->attempts[i].until, r->deadline))
            attempt_expire(r, &r->attempts[i]);
    drop_ended(r);
    return rc == -ETIMEDOUT && clock_now() < r->deadline ? 0 : rc;
}

static int race_run(struct race *r) {
    int rc = 0;

    while (rc == 0 && r->won == NULL) {
        bool more = has_more(r);

        if (more && clock_now() >= r->next_at)
            attempt_begin(r);
        else if (more || r->count > 0)
            rc = race_turn(r);
        else
            rc = r->code;
    }
    for (unsigned i = 0; i < r->count; i++)
        attempt_end(r, &r->attempts[i]);
    return r->won != NULL ? 0 : rc;
}

int db_hosts_dial(struct db_hosts *hosts, const struct db_dial *dial, struct io *io,
                  struct arena *arena, nsec_t span, nsec_t deadline, void **ret) {
    struct race *r = arena_alloc(arena, sizeof(*r));
    int rc;

    if (r == NULL)
        return -ENOMEM;
    *r = (struct race){ .dial = dial,
                        .io = io,
                        .arena = arena,
                        .hosts = hosts,
                        .span = span,
                        .deadline = deadline,
                        .code = -ECONNREFUSED,
                        .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
    if (r->epoll_fd < 0)
        return -errno;
    rc = race_run(r);
    io_close(io, r->epoll_fd);
    *ret = r->won;
    return rc;
}
