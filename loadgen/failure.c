/* SPDX-License-Identifier: MIT */
/* The table of failure reasons. */
#include "loadgen/failure.h"

const struct failure_info failure_infos[FAILURE_COUNT] = {
#define FAILURE_ROW(name, key, column, text) { key, text, FAILURE_COLUMN_##column },
    FAILURES(FAILURE_ROW)
#undef FAILURE_ROW
};
