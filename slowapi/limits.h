/* SPDX-License-Identifier: MIT */
/* Every limit of slowapi that is not an option. The codec's own are in http/limits.h. */
#ifndef SLOWAPI_LIMITS_H
#define SLOWAPI_LIMITS_H

#include "base/clock.h"

#define SLOWAPI_SESSION "X-Slowapi-Session" /* the header that names a session */

#define SLOWAPI_RECV_BYTES     16384 /* the receive buffer that all connections of a loop share */
#define SLOWAPI_ACCEPT_BURST   64
#define SLOWAPI_SUPERVISE_TIME (1 * NSEC_PER_SEC)  /* between two looks after the logger process */
#define SLOWAPI_BODY_BYTES     (UINT64_C(1) << 30) /* drained, never stored */
#define SLOWAPI_ANSWER_BYTES   4096                /* a plain answer; others as below */
#define SLOWAPI_OUT_BYTES      (2u << 20)          /* the hugest header, and a piece */
#define SLOWAPI_VALUE_BYTES    256                 /* value of a parameter, encoded */
#define SLOWAPI_TEXT_BYTES     2048                /* value that is any text: 512 bytes as %XX */
#define SLOWAPI_LIST_BYTES     (4u << 20)          /* lists of a request, or of options */
#define SLOWAPI_NAME_BYTES     64                  /* name of a parameter, encoded */
#define SLOWAPI_LABEL_BYTES    128                 /* name of a rule, session, scenario or state */
#define SLOWAPI_SIZE_MAX       (UINT64_C(1) << 30) /* a body that was asked for */
#define SLOWAPI_PIECE_BYTES    16384               /* part of such a body that is made at once */

#define SLOWAPI_KEPT_BYTES     (1u << 20) /* a request body that the answer is made of */
#define SLOWAPI_KEPT_TOO_LONG  "the request body is longer than 1m, the most that is kept"
#define SLOWAPI_KEPT_ALL_BYTES (64u << 20) /* all of these, and made of them, in a worker */
#define SLOWAPI_KEPT_TOO_MANY  "too many bodies are kept at the same time"
#define SLOWAPI_TEXT_MAX       (8u << 20) /* a text that is made of a request */
#define SLOWAPI_CODED_BYTES    (1u << 20) /* a body that is coded */
#define SLOWAPI_MESSAGE_BYTES  (1u << 20) /* the longest message of a WebSocket */
#define SLOWAPI_LINE_BYTES     8192       /* a request that is told in each line of a stream */
#define SLOWAPI_FORM_FIELDS    1000       /* fields of a form that is told back */
#define SLOWAPI_MODEL_BYTES    256        /* the name of a chat model */
#define SLOWAPI_TOKENS_MAX     131072     /* tokens of an answer of a model */
#define SLOWAPI_TOKENS         16         /* tokens of an answer, unless a law says otherwise */
#define SLOWAPI_TOKENS_MAX     131072     /* the most that one may have */
#define SLOWAPI_BUDGET_MAX     INT64_C(1000000000000) /* a minute */
#define SLOWAPI_FILE_BYTES     65536                  /* a longer file is read as it is sent */

#define SLOWAPI_QUEUE_WORKERS  256     /* servers of a queue */
#define SLOWAPI_QUEUE_WAITING  10000   /* requests that wait in it */
#define SLOWAPI_LIMIT_MAX      1000000 /* requests in a window */
#define SLOWAPI_LIMIT_SPAN_MAX (24 * 3600 * NSEC_PER_SEC)

/* One connection may read and write that much, then the others have their turn. An answer, or a
 * piece of one, costs as much as that many bytes beside its own. */
#define SLOWAPI_TURN_BYTES 65536
#define SLOWAPI_STEP_COST  1024

/* A body with a bandwidth comes in so many portions, or in more when those were too large. */
#define SLOWAPI_PORTIONS_PER_SECOND 50
#define SLOWAPI_SHARES_PER_SECOND   100 /* portions of a link that is shared: turns are short */

#define SLOWAPI_UPLOAD_BUFFER \
    65536 /* bytes a paced upload may have unread; doubled by the kernel */

/* A body that has fallen behind its pace makes up for that much. */
#define SLOWAPI_PACE_DEBT (1 * NSEC_PER_SEC)

#define SLOWAPI_BODY_IDLE (30 * NSEC_PER_SEC) /* without a byte of the body: 408 */

/* The kernel is asked that often in the time of --send-timeout whether a client took something. */
#define SLOWAPI_SEND_LOOKS 8

/* A reset waits that long for a client to take what was sent before it. */
#define SLOWAPI_RST_PATIENCE (1 * NSEC_PER_SEC)

/* In front of a service: a connection is read from while less of it waits to be sent on; and the
 * longest head that is sent on, with that. */
#define SLOWAPI_FORWARD_BYTES     32768
#define SLOWAPI_FORWARD_OUT_BYTES (4u << 20)
#define SLOWAPI_AHEAD_BYTES       65536 /* of a body of no known length, for percentages */
#define SLOWAPI_UPSTREAM_IDLE_MAX 1024  /* connections that are kept, in each worker */

/* After TERM, for idle connections: a client may be sending the next request already. */
#define SLOWAPI_CLOSING_TIME (1 * NSEC_PER_SEC)

#endif
