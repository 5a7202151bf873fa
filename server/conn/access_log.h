/* SPDX-License-Identifier: MIT */
/* The access log: one line per answer, in gunicorn's atoms or as JSON.
 *
 *   %(h)s client   %(l)s %(u)s -    %(t)s time               %(r)s request line
 *   %(m)s method   %(U)s path       %(q)s query              %(H)s protocol   %(s)s status
 *   %(B)s body bytes  %(b)s the same, - for 0                %(f)s referer    %(a)s user agent
 *   %(T)s seconds  %(M)s ms         %(D)s us                 %(L)s seconds.us %(p)s <pid>
 *   %({name}i)s a request field     %({name}e)s an environment variable
 *   and ours: %(queue)s %(upstream)s %(database)s milliseconds spent there, %(worker)s, %(model)s,
 *   %(id)s the id of the request
 */
#ifndef SERVER_ACCESS_LOG_H
#define SERVER_ACCESS_LOG_H

#include "base/clock.h"
#include "base/error.h"
#include "http/head.h"
#include "net/peer.h"
#include "proc/logger.h"
#include "server/worker.h"

#define ACCESS_LOG_FORMAT "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\""

struct access_log;
struct channel;

/* The facts for a line, about an answer, or about a request that gets none. */
struct access_entry {
    const struct worker *worker;
    const struct http_head *head; /* zeroed: none could be read */
    const struct peer *peer;
    const struct channel *channel; /* knows the certificate of the client */
    nsec_t ready_at, ended_at;
    struct access_spent {
        nsec_t queue, upstream, database; /* spans */
    } spent;
    struct slice request_id; /* written whole */
    uint64_t body_bytes;     /* in the answer */
    uint16_t status;
};

/* Whether the format can be understood: 0 or -EINVAL with the atom that cannot. */
NODISCARD int access_log_check(const char *format, struct error *err);

/* Opens the file, which is `owner`'s when it is new. *ret is NULL without a path. 0 or -errno with
 * a reason. */
NODISCARD int access_log_open(const struct access_log_config *config,
                              const struct privileges *owner, struct access_log **ret,
                              struct error *err);

/* The process that writes the file, for whoever starts, tends and reopens it. NULL for NULL. */
struct logger *access_log_logger(struct access_log *log);

void access_log_close(struct access_log *log); /* NULL-safe; in the process that opened it */

/* Writes a line, unless the entry took less than access_log_config.slow. */
void access_log_write(const struct access_log *log, const struct access_entry *entry);

/* --- the same for the client: --server-timing ------------------------------------------------- */

enum { ACCESS_TIMING_BYTES = 160 };

struct slice access_format_timing(const struct access_spent *spent, nsec_t ready_at,
                                  char text[ACCESS_TIMING_BYTES]);

/* The value of Server-Timing for an answer that is about to be written, in `text`; empty without
 * the option, and when no request was complete (`ready_at` 0). */
static inline struct slice access_timing(const struct worker *worker,
                                         const struct access_spent *spent, nsec_t ready_at,
                                         char text[ACCESS_TIMING_BYTES]) {
    bool tells = UNLIKELY(worker->config->server_timing) && ready_at != 0;
    return tells ? access_format_timing(spent, ready_at, text) : SLICE("");
}

#endif
