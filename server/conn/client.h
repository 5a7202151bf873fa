/* SPDX-License-Identifier: MIT */
/* One client connection of the event-driven front (server/conn/front.h tells its states). */
#ifndef SERVER_CLIENT_H
#define SERVER_CLIENT_H

#include "net/linger.h"
#include "net/watch.h"
#include "server/conn/session.h"
#include <sys/queue.h>

struct front;

enum client_state {
    CLIENT_READING,
    CLIENT_QUEUED,
    CLIENT_BUSY,
    CLIENT_SENDING,
    CLIENT_LINGERING,
    CLIENT_GONE
};

struct client {
    struct session session;
    struct watch watch;
    struct timer timer; /* lazy: armed at `deadline` or earlier */
    nsec_t deadline;
    nsec_t ask_at;        /* when a half-closed client is to be asked; else NSEC_NEVER */
    nsec_t patient_until; /* so, though nobody needs its slot */
    struct front *front;
    void *task;                 /* the model's, while BUSY */
    enum session_end end;       /* for models that pass it from another thread */
    struct deferred later;      /* what is left to be read, or its own memory */
    TAILQ_ENTRY(client) link;   /* of all clients */
    TAILQ_ENTRY(client) queued; /* while QUEUED; and the model's while BUSY */
    enum client_state state;
    struct linger_state linger; /* while LINGERING */
    uint8_t asks;               /* so far, about this request */
    bool abandoned;             /* while BUSY: the request was cancelled */
    bool fresh; /* just accepted, no request yet: counted against the slots for a moment */
};

TAILQ_HEAD(client_list, client);

/* Takes over an accepted connection, which may send a request, or close, at once. */
void client_open(struct front *front, const struct accepted *accepted);

/* Not while BUSY. Its memory stays until the turn of the loop ends. */
void client_end(struct client *client);

/* As client_end, for one between two requests: what it has not taken of its answer is not cut off.
 */
void client_part(struct client *client);

/* Reads on after an answer, or does what `end` says: SEND writes the rest of it first. */
void client_resume(struct client *client, enum session_end end);

/* Answers a whole request that no slot has seen, and resumes: an error, or what --health-path is
 * told. */
void client_turn_down(struct client *client, uint16_t status, const char *why);
void client_tell_health(struct client *client);

/* Its time-out: what happens then depends on the state. */
void client_expect(struct client *client, nsec_t deadline);

/* It hung up while its request waits, or so it seems: finds out. */
void client_doubt(struct client *client);

/* It closed its sending side a moment ago, at least, and was not asked yet: while it stands in the
 * queue it does not fill it. */
static inline bool client_is_doubted(const struct client *client) {
    return client->asks == 0 && client->ask_at != NSEC_NEVER;
}

/* Nobody wants its answer any more: closes it, or cancels what serves it. */
void client_left(struct client *client);

#endif
