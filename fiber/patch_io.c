/* SPDX-License-Identifier: MIT */
/* The calls of libc that wait for descriptors or for a time, as applications have them. */
#undef _FORTIFY_SOURCE /* the inline functions of its headers have the names defined here */
#include "fiber/patch_hook.h"
#include <unistd.h>

PATCH_ORIGINAL(poll)
PATCH_ORIGINAL(usleep)

/* --- poll ------------------------------------------------------------------------------------ */

/* The end of a wait that takes milliseconds, as poll(2) and epoll_wait(2) do. */
static nsec_t end_of_ms(int ms) {
    return ms < 0 ? NSEC_NEVER : deadline_after(clock_now(), ms * NSEC_PER_MSEC);
}

/* A wait that was for nothing, several times in a row, is for something that the kernel tells to
 * waits in another way: a pause, then. */
static int calm(struct patch *p, unsigned *futile, nsec_t until) {
    unsigned looks = (*futile)++;

    if (looks < 2)
        return 0;
    looks -= 2;
    return patch_pause_between(p, &looks, until);
}

/* Goes on where poll(2) has found nothing at its first look. A count, or -errno. */
static int poll_parked(struct patch *p, struct pollfd *fds, nfds_t count, nsec_t until) {
    unsigned futile = 0;

    for (;;) {
        int rc = count == 1 && fds->fd >= 0 ? patch_wait(p, fds, until)
                                            : patch_wait_all(p, fds, count, until);
        int found;

        if (rc < 0 && rc != -ETIMEDOUT)
            return rc;
        if (rc == 0 && count == 1 && fds->fd >= 0 && fds->revents != 0)
            return 1;
        found = original_poll()(fds, count, 0);
        if (found != 0 || rc == -ETIMEDOUT)
            return found < 0 ? -errno : found;
        rc = calm(p, &futile, until);
        if (rc < 0 && rc != -ETIMEDOUT)
            return rc;
    }
}

int poll(struct pollfd *fds, nfds_t count, int timeout) {
    struct patch *p = PATCH_HERE;
    int rc = original_poll()(fds, count, p == NULL ? timeout : 0);
    nsec_t until;

    if (p == NULL || timeout == 0 || rc != 0)
        return rc;
    until = end_of_ms(timeout);
    patch_begin(p, "poll", count == 1 ? fds->fd : -1);
    return (int)patch_end(p, poll_parked(p, fds, count, until));
}

/* --- sleeping -------------------------------------------------------------------------------- */

/* One that is cut short says that it was not: code that sleeps again and again until the time has
 * come would never end. */
static void sleep_parked(struct patch *p, const char *call, nsec_t span) {
    int rc;

    patch_begin(p, call, -1);
    rc = patch_sleep(p, deadline_after(clock_now(), span));
    (void)rc; /* the request knows */
    patch_end(p, 0);
}

int usleep(useconds_t usec) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_usleep()(usec);
    sleep_parked(p, "usleep", usec * NSEC_PER_USEC);
    return 0;
}
