/* SPDX-License-Identifier: MIT */
/* The parameters, as rows: queries, options, rules and the request header are all read by them. */
#ifndef SLOWAPI_PARAM_H
#define SLOWAPI_PARAM_H

#include "base/error.h"
#include "slowapi/spec.h"
#include <stdio.h>

/* Of a query: percent-encoded, unknown names are ignored, of a repeated one the first counts. 0, or
 * -EINVAL with a line that names the parameter, the value and what is allowed. */
NODISCARD int param_parse_query(struct spec *spec, struct slice query, struct error *why);

/* `delay=2s&fault=rst@50%:10`, as options, rules and X-Slowapi spell it: nothing is encoded, and an
 * unknown name is an error. */
NODISCARD int param_parse_text(struct spec *spec, struct slice text, struct error *why);

/* One parameter by its name, from a path. */
NODISCARD int param_set(struct spec *spec, struct slice name, struct slice value,
                        struct error *why);

/* One line "KIND|NAME|VALUE|HELP" per row: parameters, faults, profiles; what docs compare with. */
void param_print_rows(FILE *out);

#endif
