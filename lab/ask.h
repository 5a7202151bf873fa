/* SPDX-License-Identifier: MIT */
/* A client of a control endpoint on the loop: one request at a time, over a connection that stays.
 *
 *   asker_init(&a, loop, on_answer, arg)
 *   asker_ask(&a, url, "GET", "/stats", SLICE(""))     -EBUSY while one is on its way
 *   on_answer(arg, status, body)                       status 0: no answer came
 *   asker_close(&a)                                    forgets what is on its way
 */
#ifndef LAB_ASK_H
#define LAB_ASK_H

#include "base/buf.h"
#include "http/conn.h"
#include "net/watch.h"

struct asker {
    struct loop *loop;
    struct watch watch;
    struct http_conn http;
    struct buf out, in, body;
    void (*answered)(void *arg, int status, struct slice body);
    void *arg;
    nsec_t asked_at;
    int fd, status;
    bool is_open, is_busy;
};

void asker_init(struct asker *a, struct loop *loop,
                void (*answered)(void *arg, int status, struct slice body), void *arg);

/* Asks http://HOST:PORT with a numeric host. 0, -EBUSY, or another -errno: no answer will come. */
NODISCARD int asker_ask(struct asker *a, const char *url, const char *method, const char *path,
                        struct slice body);

/* Gives a request up that has waited for longer than `span`: answered with the status 0. */
void asker_give_up(struct asker *a, nsec_t span);

/* Ends the connection without a word; it can be asked again. Idempotent. */
void asker_close(struct asker *a);

#endif
