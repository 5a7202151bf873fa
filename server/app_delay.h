/* SPDX-License-Identifier: MIT */
/* What the applications of the workload have in common: the `delay` parameter and the slow API. */
#ifndef SERVER_APP_DELAY_H
#define SERVER_APP_DELAY_H

#include "srv/handler.h"

struct app_delay {
    struct slice text; /* as it came, "1" when absent */
    nsec_t span;
};

/* Reads `delay` of `GET /?delay=S`. 0; 1 after it answered 404 (another path) or 400 (bad value);
 * -errno. */
NODISCARD int app_delay_read(struct srv_request *rq, struct app_delay *ret);

/* Asks the slow API for `seconds` of delay (digits, as its grammar wants them). 0 with what it
 * said; 1 after it answered 502, because that was not a 200; -errno. */
NODISCARD int app_delay_ask(struct srv_request *rq, struct slice seconds, struct slice *ret);

NODISCARD int app_reply_text(struct srv_request *rq, uint16_t status, struct slice text);

#endif
