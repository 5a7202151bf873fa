/* SPDX-License-Identifier: MIT */
/* A connection as it came in: from whom, to which address. */
#ifndef SERVER_ARRIVAL_H
#define SERVER_ARRIVAL_H

#include "net/peer.h"

struct arrival {
    struct peer peer;
    int fd;
    unsigned listener; /* index of the address it came to, among those of the configuration */
};

#endif
