/* SPDX-License-Identifier: MIT */
/* The options of `srv serve`. */
#ifndef CMD_SERVE_ROWS_H
#define CMD_SERVE_ROWS_H

#include "base/option.h"
#include "server/app/app.h"
#include "server/config.h"

/* Values that the rows fill: the configuration, and raw ones that are looked up or checked before
 * they become part of it. */
struct serve_options {
    struct serve_config config;
    int64_t request_line, request_fields, field_size;
    uint64_t request_body;
    int log_level, protocol;
    bool check_config;
    const struct model *threads_model; /* chosen by THREADS=with or =without; or NULL */
    bool print_header;
    const char *new_name; /* name of an application to begin; or NULL */
    char *object_path;    /* object.object; or NULL */
    struct app object;    /* APP, when that is a file */
    char bind_default[32], upstream_default[48];
};

extern const struct option_spec serve_spec;

#endif
