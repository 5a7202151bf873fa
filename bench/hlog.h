/* SPDX-License-Identifier: MIT */
/* The log of HdrHistogram: the latencies of each second, for the tools that read such logs.
 *
 *   "Tag=...",offset and length in seconds,max in milliseconds,base64(histogram)
 *
 * Histograms are in encoding V2, compressed, in microseconds with three significant digits. Such a
 * histogram has just the buckets of base/hist.h, so that counts are carried over one by one, and
 * nothing is rounded again. */
#ifndef BENCH_HLOG_H
#define BENCH_HLOG_H

#include "loadgen/live.h"
#include <stdio.h>

struct hlog {
    struct live_watcher watcher; /* for live_watch */
    FILE *out;
    bool has_header;
    int rc; /* 0, or the -errno that a row met; the log then lacks it */
};

/* Prepares a log into a file that is open, and stays the caller's. */
void hlog_init(struct hlog *h, FILE *out);

#endif
