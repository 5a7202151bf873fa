/* SPDX-License-Identifier: MIT */
/* Names what a thread waits for, and counts the threads that wait for one thing. */
#ifndef WAITS_WAIT_H
#define WAITS_WAIT_H

#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wait_kind {
    WAIT_RUNNING,   /* for nothing, or for a CPU */
    WAIT_RECV,      /* for bytes from the other end of a socket */
    WAIT_SEND,      /* for room in a socket */
    WAIT_ACCEPT,    /* for a connection */
    WAIT_CONNECT,   /* for one that it makes */
    WAIT_EPOLL,     /* for any of the descriptors of an epoll */
    WAIT_POLL,      /* for any of several descriptors, by poll or select */
    WAIT_LOCK,      /* for a mutex */
    WAIT_CONDITION, /* for a condition variable, a semaphore or the like */
    WAIT_THREAD,    /* for the end of a thread */
    WAIT_SLEEP,
    WAIT_SLOT,      /* for a slot of a server, in which a request may begin */
    WAIT_CHILD,     /* for a child process */
    WAIT_READ,      /* for bytes from what is no socket */
    WAIT_WRITE,     /* for room in what is no socket */
    WAIT_FILE_LOCK, /* for the lock of a file */
    WAIT_SIGNAL,
    WAIT_DISK,  /* for a call about files or folders */
    WAIT_FAULT, /* for a page of memory */
    WAIT_STOPPED,
    WAIT_ENDED,   /* for a parent that takes notice */
    WAIT_OTHER,   /* in another call */
    WAIT_UNKNOWN, /* the kernel does not tell */
    WAIT_KINDS,
};

#define WAIT_ROLE_BYTES   24
#define WAIT_OBJECT_BYTES 128
#define WAIT_ROLE_CLIENT  "client" /* `object` is the address that it came to */

/* Zeroed before it is filled: waits are compared as bytes, but for `descriptors`. */
struct wait {
    enum wait_kind kind;
    bool polled;                    /* by poll(2) or select(2), for one descriptor that counts */
    char role[WAIT_ROLE_BYTES];     /* name of the other end: "upstream"; empty: none is known */
    char object[WAIT_OBJECT_BYTES]; /* an address, a file, the name of a call; escaped */
    uint32_t descriptors;           /* number that WAIT_EPOLL or WAIT_POLL is for; other kinds: 0 */
};

/* The name that JSON has: "recv". */
const char *wait_kind_name(enum wait_kind kind);

struct wait_group {
    struct wait wait; /* with the most descriptors of any */
    uint32_t descriptors_min;
    uint32_t threads;
};

#define WAIT_TEXT_BYTES (WAIT_ROLE_BYTES + WAIT_OBJECT_BYTES + 64)

/* "recv from upstream 127.0.0.1:4000", "epoll on 20 descriptors". Returns `text`. */
const char *wait_text(const struct wait_group *group, char text[static WAIT_TEXT_BYTES]);

/* Whether they are for the same, whatever the number of descriptors. */
bool wait_is_same(const struct wait *a, const struct wait *b);

/* Returns the group without its address, where a role says enough. WAIT_ACCEPT loses its address in
 * any case. */
struct wait_group wait_brief(const struct wait_group *group);

/* The group as an object of JSON: kind, text, their number under the name `noun` ("threads",
 * "requests"), and role, object, polled and descriptors
 * where it has them. NULL when out of memory. */
NODISCARD json_t *wait_json(const struct wait_group *group, const char *noun);

/* --- counting -------------------- */

#define TALLY_GROUPS_MAX 64 /* waits beyond them are counted in one group, "other waits" */

/* Zeroed is empty. The threads of the groups add up to `threads`. */
struct wait_tally {
    struct wait_group groups[TALLY_GROUPS_MAX];
    size_t count;
    uint32_t threads;
};

void tally_add(struct wait_tally *tally, const struct wait *wait);

void tally_add_group(struct wait_tally *tally, const struct wait_group *more);

/* The group of that wait; the number of groups when there is none. */
size_t tally_find(const struct wait_tally *tally, const struct wait *wait);

/* Puts the groups in order: the most threads first. */
void tally_sort(struct wait_tally *tally);

/* The groups as a list of JSON. NULL when out of memory. */
NODISCARD json_t *tally_json(const struct wait_tally *tally, const char *noun);

/* "20: recv from upstream 127.0.0.1:4000; 1: epoll on 3 descriptors", of a sorted tally. Groups
 * that do not fit are told as a number. Returns `text`. */
const char *tally_text(const struct wait_tally *tally, char *text, size_t size);

#endif
