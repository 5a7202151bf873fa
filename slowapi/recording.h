/* SPDX-License-Identifier: MIT */
/* Latencies in a file, read into samples. Its content tells what it is:
 *
 *   the JSON of srv bench            its histogram
 *   lines of JSON                    an access log: a time (request_time, duration_ms, ...), and
 *                                    maybe the path (url, uri, path, request) and the status
 *   ... "GET /path HTTP/1.1" 200 ... an access log in the combined format, with a time behind it:
 *                                    0.123 or rt=0.123 (seconds), 123 (microseconds, Apache's %D)
 *   #[... of HdrHistogram            a log of histograms (format 1.3, encodings V2, compressed)
 *   value[,count]                    durations; a line of names before them may say a unit
 */
#ifndef SLOWAPI_RECORDING_H
#define SLOWAPI_RECORDING_H

#include "base/clock.h"
#include "base/error.h"

struct recorded_latency {
    nsec_t value;
    uint64_t count;
    uint32_t path; /* place in `paths`; 0: none */
    uint16_t status;
};

/* Samples of one file; paths are known by a hash of what they decode to. */
struct recording {
    struct recorded_latency *samples;
    size_t count, room;
    uint64_t *paths; /* [0] stands for none */
    uint32_t path_count, path_room;
    uint32_t *places; /* of paths, by hash; 0: free */
    uint32_t place_bits;
};

/* 0, or -errno with a reason that names the file, and the line where there is one. Free it in any
 * case. */
NODISCARD int recording_read(const char *path, struct recording *ret, struct error *err);
void recording_free(struct recording *r);

#endif
