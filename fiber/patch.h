/* SPDX-License-Identifier: MIT */
/* Patching: libraries that block are made to park. The libc calls that wait are defined here, in
 * the program, and thus found before libc's own; on a fiber that runs code of an application they
 * park the fiber, anywhere else they are libc's. docs/patching.md is for users.
 *
 *   patch_enter(&patch, patches, &deadline, news);
 *   rc = handler(rq);                     code of the application, and of its libraries
 *   patch_leave(&patch);
 *   if (patch.failed < 0) ...             a wait was cut short: what came of it is worth nothing
 *
 * Code of the program itself is never patched, also when the application calls it. The function
 * that calls the application is marked PATCH_CALLS_APPLICATION: a call that the application makes
 * as its last one returns there. */
#ifndef FIBER_PATCH_H
#define FIBER_PATCH_H

#include "fiber/io.h"
#include <poll.h>

#define PATCH_CALLS_APPLICATION __attribute__((noinline, section("patch_callers")))

/* The waits of a loop. */
struct patches;

enum patch_news {
    PATCH_PARKS,   /* the fiber begins to wait: `call` and `fd` say for what */
    PATCH_RUNS,    /* the wait has ended */
    PATCH_REFUSED, /* a call was told that the request is over: `failed` says why */
    PATCH_INSISTS, /* code goes on calling though it is told: from here on it is slowed down */
};

/* The state of a fiber that runs an application, on its stack. */
struct patch {
    struct patches *patches;
    struct fiber *fiber;
    const nsec_t *deadline;                        /* end of the request; it may change */
    void (*news)(struct patch *, enum patch_news); /* NULL: nobody wants to know */
    const char *call;                              /* the libc call that is in progress; or NULL */
    int fd;     /* descriptor that it waits for; -1: none, or several */
    int failed; /* -ETIMEDOUT, -ECANCELED: the first that a call was told; or 0 */
    uint32_t waits, refused;
    int errno_before;        /* errno as the call began */
    bool forked;             /* a copy in a child: never patched again */
    struct patch_lock *held; /* locks of this fiber, the last one first: fiber/patch_lock.c */
    void (*abandon)(struct patch *); /* what becomes of them at its end */
};

/* NULL with a reason. On the loop's thread, as fibers_new. */
NODISCARD struct patches *patches_new(struct io_fiber *io, struct error *err);
void patches_free(struct patches *patches); /* NULL-safe; nobody may be waiting */

/* Patches the running fiber until patch_leave. `patches` NULL: it does nothing. */
void patch_enter(struct patch *patch, struct patches *patches, const nsec_t *deadline,
                 void (*news)(struct patch *, enum patch_news));

/* Ends that. Whether the application has left something locked. */
bool patch_leave(struct patch *patch);

/* Around libraries that the program itself drives: their waits are theirs. Returns what
 * patch_resume wants. */
NODISCARD struct patch *patch_pause(void);
void patch_resume(struct patch *patch);

/* Whether applications are going to call what is defined here: 0, or -EBUSY with who stands before
 * it. Libraries of LD_PRELOAD stand behind it. */
NODISCARD int patch_check(struct error *err);

/* --- for hooks (fiber/patch_hook.h) ---------------------------------------------------------- */

/* Waits return 0; -ETIMEDOUT at `until`; -ECANCELED: the request is over, which the call fails
 * with, or returns at once if it cannot fail; or -ENOMEM. */

/* Finds the next definition of a name behind the program's. `interceptor` is that of a sanitizer,
 * or 0: it is the next one when it is linked into the program, where no search finds it. Never 0.
 */
uintptr_t patch_find(const char *name, uintptr_t interceptor);

/* In a child: it is never patched again. */
void patch_forget(void);

struct io_fiber *patch_io(const struct patch *p);

/* Parks until the fiber is woken (fiber_wake), which may be for no reason. */
NODISCARD int patch_park(struct patch *p, nsec_t until);

/* Parks until then: 0, or -ECANCELED, -ENOMEM. */
NODISCARD int patch_sleep(struct patch *p, nsec_t until);

/* Parks between two looks at something that tells nobody when it is over: 1, 2, 4, 8, 10 and 10 ms;
 * *looks counts them, from 0. 0 says to look. */
NODISCARD int patch_pause_between(struct patch *p, unsigned *looks, nsec_t until);

/* Parks until descriptors may have what is asked for: 1; 0 says to look in passing. Those that have
 * no readiness, such as files, are passed over. */
NODISCARD int patch_wait_all(struct patch *p, const struct pollfd *fds, nfds_t count, nsec_t until);

/* Parks for one descriptor, as patch_wait_all, and puts what it has into revents if that is known.
 */
NODISCARD int patch_wait(struct patch *p, struct pollfd *fd, nsec_t until);

/* Tells a call that its request is over: `rc` is why. Returns -ECANCELED, after a pause when it is
 * told often. */
int patch_refuse(struct patch *p, int rc);

/* Whether a call is to give up that has an end of its own: it ends with the request, too.
 * NSEC_NEVER: it has none, and never gives up. */
bool patch_is_over(struct patch *p, nsec_t until);

nsec_t patch_now(const struct patch *p); /* loop_now */

/* Parks until the fiber is woken, or until then, or for no reason. The end of the request is noted,
 * for others to tell, and does not end the wait. */
void patch_insist(struct patch *p, nsec_t until);

/* Insists on a pause between two looks, as patch_pause_between, but lets it be cut short. */
void patch_insist_between(struct patch *p, unsigned *looks, nsec_t until);

#endif
