/* SPDX-License-Identifier: MIT */
/* Name look-up that blocks no loop: getaddrinfo(3) on a short-lived helper thread, waited for
 * through `io`. */
#ifndef FIBER_RESOLVE_H
#define FIBER_RESOLVE_H

#include "fiber/io.h"
#include <stdatomic.h>
#include <sys/queue.h>

#define RESOLVE_MAX 64 /* replicas behind one name; a struct resolved is too large for a stack */

struct resolved {
    struct address addresses[RESOLVE_MAX];
    size_t count;
};

/* All addresses of the endpoint, in getaddrinfo's order; numeric ones and unix paths need no
 * thread. 0; -ETIMEDOUT, -ECANCELED; -ENOENT with getaddrinfo's words in `err`; -ENAMETOOLONG;
 * -ENOMEM, -EMFILE, -EAGAIN (no thread). A thread that outlives its caller cleans up after itself.
 */
NODISCARD int resolve(struct io *io, const struct endpoint *e, nsec_t deadline,
                      struct resolved *ret, struct error *err);

/* Rules of the user's about names. All zero: none. */
struct resolve_rules {
    const char *const *overrides; /* HOST:PORT:ADDRESS[,ADDRESS...], all checked */
    size_t override_count;
    int family; /* the only one that is wanted: AF_INET, AF_INET6; AF_UNSPEC: any */
};

/* 0, or -EINVAL with what is allowed. */
NODISCARD int resolve_check_override(const char *text, struct error *err);

/* Whether this override is for this host and port. */
bool resolve_override_is_for(const char *text, const struct endpoint *e);

/* The addresses that the overrides name for this host and port; false when they name none. */
bool resolve_is_overridden(const struct resolve_rules *rules, const struct endpoint *e,
                           struct resolved *ret);

/* Resolves under the rules, otherwise as resolve; localhost is both 127.0.0.1 and ::1 here. -ENOENT
 * when no address of the wanted family is left. */
NODISCARD int resolve_with_rules(struct io *io, const struct endpoint *e,
                                 const struct resolve_rules *rules, nsec_t deadline,
                                 struct resolved *ret, struct error *err);

/* Drops the addresses of another family. 0, or -ENOENT when none is left. */
NODISCARD int resolve_keep_family(struct resolved *r, const struct endpoint *e, int family,
                                  struct error *err);

/* Makes the one numbered `turn`, counted on and on, the first: callers that try addresses in order
 * use all of them in turns. */
void resolve_rotate(struct resolved *r, size_t turn);

/* A look-up in steps, for callbacks: begin; once resolve_fd is readable, resolve_end; resolve_free
 * in any case. */
struct lookup;

/* 0 with the look-up, which may queue for a helper thread; -ENAMETOOLONG; -ENOMEM, -EMFILE, -EAGAIN
 * (no thread). */
NODISCARD int resolve_begin(const struct endpoint *e, struct lookup **ret, struct error *err);
int resolve_fd(const struct lookup *l); /* an eventfd, thus writable at any time */
/* Returns as resolve does. */
NODISCARD int resolve_end(const struct lookup *l, struct resolved *ret, struct error *err);
void resolve_free(struct lookup *l); /* one that still runs cleans up after itself */

/* Other calls of the C library that look names up, run on the same threads: a job lies in memory of
 * its own, with copies of all that it needs, since its caller may leave before it ends. */
struct resolve_job {
    void (*run)(struct resolve_job *);  /* on one of the threads */
    void (*free)(struct resolve_job *); /* by whoever is the last to need it, the thread perhaps */
    /* Members of the threads. */
    atomic_int refs;
    atomic_bool done; /* set when the results are valid */
    int event_fd;     /* readable when done; closed with the last reference, for both use it */
    TAILQ_ENTRY(resolve_job) link;
    bool queued; /* in the queue, which has the thread's reference */
};

/* 0, or -errno (-EMFILE): then the memory is the caller's still. */
NODISCARD int resolve_job_open(struct resolve_job *job, void (*run)(struct resolve_job *),
                               void (*free)(struct resolve_job *));

/* Has it run, once, on a thread or behind those that wait for one: when event_fd is readable it may
 * be `done`. 0, or -EAGAIN (no thread), -ENOMEM. */
NODISCARD int resolve_job_start(struct resolve_job *job);

/* Ends what resolve_job_open began: the results are not needed any more. */
void resolve_job_leave(struct resolve_job *job);

#endif
