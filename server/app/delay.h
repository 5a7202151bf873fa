/* SPDX-License-Identifier: MIT */
/* The common part of the applications of the workload: the `delay` parameter and the slow API. */
#ifndef SERVER_APP_DELAY_H
#define SERVER_APP_DELAY_H

#include "srv/handler.h"

struct app_delay {
    struct slice text; /* unchanged, "1" when absent */
    nsec_t span;
};

/* Reads `delay` of `GET /?delay=S`. 0; 1 after it answered 404 (another path) or 400 (bad value);
 * -errno. */
NODISCARD int app_delay_read(struct srv_request *rq, struct app_delay *ret);

/* Reads a value that was found already, whatever the path. Results as app_delay_read. */
NODISCARD int app_delay_parse(struct srv_request *rq, struct slice value, struct app_delay *ret);

/* Half of the delay as a decimal number without exponent: what the slow API and PostgreSQL both
 * take. NULL when out of memory. */
NODISCARD const char *app_delay_half(struct srv_request *rq, const struct app_delay *delay);

/* Asks the slow API for `seconds` of delay (digits, as its grammar wants them). 0 with what it
 * said; 1 after it answered 502, because that was not a 200; -errno. */
NODISCARD int app_delay_ask(struct srv_request *rq, struct slice seconds, struct slice *ret);

/* The two halves of that, around the wait: the suffix of the upstream's URL, in memory of the
 * request (0 or -ENOMEM); and what came back, as app_delay_ask. */
NODISCARD int app_delay_suffix(struct srv_request *rq, struct slice seconds, struct slice *ret);
NODISCARD int app_delay_take(struct srv_request *rq, const struct srv_answer *answer,
                             struct slice *ret);

/* Answers "Hi there! " and the text. 0 or -errno. */
NODISCARD int app_delay_greet(struct srv_request *rq, struct slice text);

NODISCARD int app_reply_text(struct srv_request *rq, uint16_t status, struct slice text);

#endif
