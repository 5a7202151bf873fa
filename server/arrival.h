/* SPDX-License-Identifier: MIT */
/* A connection as it came in: from whom, to which address, and what it may send. */
#ifndef SERVER_ARRIVAL_H
#define SERVER_ARRIVAL_H

#include "net/peer.h"

struct arrival {
    struct peer peer;
    int fd;
    unsigned listener; /* index of the address it came to, among those of the configuration */
};

/* How requests come, when not just as HTTP: bits of session->road. */
enum session_road {
    SESSION_ROAD_PROXY = 1, /* a PROXY header, which has not come yet, before the rest */
    SESSION_ROAD_UWSGI = 2, /* one uwsgi packet, one answer */
};

#endif
