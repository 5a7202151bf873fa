/* SPDX-License-Identifier: MIT */
/* Drives a connection over some input, split in a given way, and writes down what happened. Two
 * splits of the same input must give the same text. For unit tests and fuzz targets. */
#ifndef TESTS_HTTP_DRIVE_H
#define TESTS_HTTP_DRIVE_H

#include "http/conn.h"

struct drive {
    enum http_role role;
    const struct http_limits *limits;
    struct slice methods; /* client: the enum http_method of each request, one by byte */
    struct slice steps;   /* bytes that arrive at a time, minus one, in turn; empty: all at once */
    bool eof_at_once;     /* the eof comes with the last bytes, not after them */
    struct slice (*place)(void *arg, struct slice unread); /* copies what is fed; NULL: no need,
                                                              which lenient limits do have */
    void *place_arg;
    /* results, fresh in each run */
    size_t sent;     /* client: requests */
    const char *why; /* of the first BAD */
    size_t len;
    char text[1024]; /* cut at its end */
};

/* Feeds all of `input`, then an eof; a server answers each request, a client sends its next one. */
void drive_run(struct drive *d, struct slice input);

#endif
