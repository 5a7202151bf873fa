/* SPDX-License-Identifier: MIT */
/* When a process that died is started again: at once, unless those before it died young, too. */
#ifndef PROC_RESPAWN_H
#define PROC_RESPAWN_H

#include "base/clock.h"

/* Dying before this age is not normal. */
#define RESPAWN_YOUNG_NSEC NSEC_PER_SEC

#define RESPAWN_PAUSE_MIN_NSEC (100 * NSEC_PER_MSEC)
#define RESPAWN_PAUSE_MAX_NSEC (5 * NSEC_PER_SEC)

/* The pause after so many early deaths in a row: none after the first, then doubled each time. */
static inline nsec_t respawn_pause(unsigned early_deaths) {
    if (early_deaths <= 1)
        return 0;
    if (early_deaths > 8) /* the shift below has passed the most by then */
        return RESPAWN_PAUSE_MAX_NSEC;
    return nsec_min(RESPAWN_PAUSE_MIN_NSEC << (early_deaths - 2), RESPAWN_PAUSE_MAX_NSEC);
}

#endif
