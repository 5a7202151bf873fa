/* SPDX-License-Identifier: MIT */
/* A whole connection over fuzzed bytes, for both roles. */
#ifndef TESTS_FUZZ_CONNECTION_H
#define TESTS_FUZZ_CONNECTION_H

#include "tests/fuzz/fuzz.h"
#include "tests/unit/http/drive.h"

/* Runs `plan` over the input at once, in the pieces the input asks for and byte by byte, under wide
 * and narrow limits, with the eof early and late: the story must be the same. */
void connection_check(struct drive *plan, struct slice steps, struct slice input);

#endif
