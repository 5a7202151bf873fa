/* SPDX-License-Identifier: MIT */
/* Reads the lines of a load's requests. */
#include "playground/latencies.h"
#include "base/alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 256

/* start_us,outcome,status,total_us,... False for the heading and for what is no such line. */
static bool parse(const char *line, struct latency *ret) {
    char outcome[32];
    int64_t start_usec;
    int status;

    if (sscanf(line, "%" SCNd64 ",%31[^,],%d,%" SCNd64, &start_usec, outcome, &status,
               &ret->total_usec) != 4 ||
        ret->total_usec < 0)
        return false;
    ret->end_usec = start_usec + ret->total_usec;
    ret->failed = strcmp(outcome, "ok") != 0;
    return true;
}

static bool next(FILE *lines, struct latency *ret) {
    char line[LINE_BYTES];

    while (fgets(line, sizeof(line), lines) != NULL)
        if (parse(line, ret))
            return true;
    return false;
}

static void count(struct latencies *l, const struct latency *one) {
    size_t bin = l->slowest_usec == 0
                     ? 0
                     : (size_t)(one->total_usec * LATENCIES_BINS / (l->slowest_usec + 1));
    l->bins[bin]++;
}

/* The slowest has to be known before anything can be counted: the lines are read twice. */
static int read_twice(struct latencies *l, FILE *lines) {
    struct latency one;
    size_t seen = 0;

    for (; next(lines, &one); l->requests++)
        l->slowest_usec = one.total_usec > l->slowest_usec ? one.total_usec : l->slowest_usec;
    if (l->requests == 0)
        return 0;
    size_t stride = (size_t)(l->requests + LATENCIES_POINTS_MAX - 1) / LATENCIES_POINTS_MAX;
    l->points = mem_calloc(LATENCIES_POINTS_MAX, sizeof(*l->points));
    if (l->points == NULL)
        return -ENOMEM;
    rewind(lines);
    while (next(lines, &one)) {
        count(l, &one);
        if (seen++ % stride == 0)
            l->points[l->count++] = one;
    }
    return ferror(lines) ? -EIO : 0;
}

int latencies_read(struct latencies *l, int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    FILE *lines = copy < 0 ? NULL : fdopen(copy, "r");
    int rc;

    *l = (struct latencies){ .count = 0 };
    if (lines == NULL) {
        if (copy >= 0)
            close(copy);
        return -EIO;
    }
    rewind(lines);
    rc = read_twice(l, lines);
    fclose(lines);
    return rc;
}

void latencies_free(struct latencies *l) {
    mem_free(l->points);
    *l = (struct latencies){ .count = 0 };
}
