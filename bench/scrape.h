/* SPDX-License-Identifier: MIT */
/* Reads the metrics of servers before and after a run, over connections of their own. */
#ifndef BENCH_SCRAPE_H
#define BENCH_SCRAPE_H

#include "loadgen/config.h"
#include "loadgen/server_metrics.h"

/* Reads all of --server-metrics. *ret is NULL when there is none. 0 or -errno with the reason. */
NODISCARD int scrape_before(const struct loadgen_config *c, struct server_metrics **ret,
                            struct error *err);

/* Reads them again, into what scrape_before has made; a source that fails says why. Servers count
 * an answer when it is on its way: as long as the first one has counted less than our `ended`
 * requests, which may be so for good, it is read again, for at most SCRAPE_PATIENCE. SIGINT and
 * SIGTERM end the reading: the number of the one that came, or 0. */
#define SCRAPE_PATIENCE (500 * NSEC_PER_MSEC)
int scrape_after(const struct loadgen_config *c, struct server_metrics *m, uint64_t ended);

/* Whether each URL can be asked: 0 or -EINVAL with the reason. */
NODISCARD int scrape_check(const struct loadgen_config *c, struct error *err);

#endif
