/* SPDX-License-Identifier: MIT */
/* Every limit of slowapi that is not an option. The codec's own are in http/limits.h. */
#ifndef SLOWAPI_LIMITS_H
#define SLOWAPI_LIMITS_H

#include "base/clock.h"

#define SLOWAPI_RECV_BYTES     16384 /* the receive buffer that all connections of a loop share */
#define SLOWAPI_READS_PER_TURN 8     /* of one connection, then the others have their turn */
#define SLOWAPI_ACCEPT_BURST   64
#define SLOWAPI_BODY_BYTES     (UINT64_C(1) << 30) /* drained, never stored */
#define SLOWAPI_ANSWER_BYTES   4096                /* of a plain answer; of others as below */
#define SLOWAPI_OUT_BYTES      (2u << 20)          /* the hugest header, and a piece */
#define SLOWAPI_VALUE_BYTES    256                 /* of a parameter, encoded */
#define SLOWAPI_NAME_BYTES     64                  /* of a parameter's name, encoded */
#define SLOWAPI_SIZE_MAX       (UINT64_C(1) << 30) /* of a body that was asked for */
#define SLOWAPI_PIECE_BYTES    16384               /* of such a body, made at once */
#define SLOWAPI_STEPS_PER_TURN 64 /* pieces of one answer, then the others have their turn */

#define SLOWAPI_BODY_IDLE    (30 * NSEC_PER_SEC) /* without a byte of the body: 408 */
#define SLOWAPI_SEND_TIMEOUT (30 * NSEC_PER_SEC) /* a client that does not take its answer */

/* After a final answer to a client that may still be sending: what comes is thrown away, so that no
 * reset overtakes the answer (RFC 9112 section 9.6). */
#define SLOWAPI_LINGER_TIME  (2 * NSEC_PER_SEC)
#define SLOWAPI_LINGER_BYTES (4u << 20)

#endif
