/* SPDX-License-Identifier: MIT */
/* The texts of all refusals, and the status that a server answers for each. */
#include "http/error.h"
#include "base/attr.h"
#include <stddef.h>

#define HTTP_ERROR_DEFINE(name, status, text) const char http_err_##name[] = text;
HTTP_ERRORS(HTTP_ERROR_DEFINE)
#undef HTTP_ERROR_DEFINE

struct error_row {
    const char *why;
    uint16_t status;
};

#define HTTP_ERROR_ROW(name, status, text) { http_err_##name, status },
static const struct error_row error_rows[] = { HTTP_ERRORS(HTTP_ERROR_ROW) };
#undef HTTP_ERROR_ROW

uint16_t http_err_status(const char *why) {
    for (size_t i = 0; i < ARRAY_LEN(error_rows); i++) {
        if (error_rows[i].why == why)
            return error_rows[i].status;
    }
    return 400;
}
