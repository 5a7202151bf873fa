/* SPDX-License-Identifier: MIT */
/* A server's side of a connection. */
#include "tests/fuzz/connection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_of((const char *)data, size);
    struct slice steps = fuzz_cut_steps(&input);
    struct drive plan = { .role = HTTP_SERVER };
    connection_check(&plan, steps, input);
    return 0;
}
