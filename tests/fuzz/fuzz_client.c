/* SPDX-License-Identifier: MIT */
/* A client's side of a connection: up to three requests, the first with a method that the input
 * chooses. */
#include "tests/fuzz/connection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_of((const char *)data, size);
    struct slice steps = fuzz_cut_steps(&input);
    char methods[] = { HTTP_METHOD_GET, HTTP_METHOD_HEAD, HTTP_METHOD_GET };
    if (steps.len > 0)
        methods[0] = (char)((uint8_t)steps.ptr[0] % (HTTP_METHOD_OTHER + 1));
    struct drive plan = { .role = HTTP_CLIENT, .methods = slice_of(methods, sizeof(methods)) };
    connection_check(&plan, steps, input);
    return 0;
}
