/* SPDX-License-Identifier: MIT */
/* The parameters, as rows: queries, options, rules and the request header are all read by them.
 * Of a parameter that is repeated within a layer (param_begin_layer) the first counts, but headers
 * add up. */
#ifndef SLOWAPI_PARAM_H
#define SLOWAPI_PARAM_H

#include "base/error.h"
#include "slowapi/spec.h"
#include <stdio.h>

/* Parameters that are parsed from now on belong to the next layer. Within one, the first value of a
 * parameter that is repeated counts, and explicit values win over those of a profile. */
void param_begin_layer(struct spec *spec);

/* Names for a header and the log: control characters escaped, `, ` between them; what does not fit
 * is left out. */
struct param_names {
    char text[200];
    size_t len; /* 0: none; at least sizeof(text) when it was cut */
};
void param_names_add(struct param_names *names, struct slice name);

/* Parses a query, which is a layer and percent-encoded. Names that are no parameters, and those
 * without a value, which leaves the parameter as it was, are added to `unknown` (may be NULL); but
 * an empty `delay` asks for the default. 0, or -EINVAL with a line that names the parameter, the
 * value and what is allowed. */
NODISCARD int param_parse_query(struct spec *spec, struct slice query, struct param_names *unknown,
                                struct error *why);

/* `delay=2s&fault=rst@50%:10`, as options, rules and X-Slowapi spell it: nothing is encoded, and an
 * unknown name is an error. */
NODISCARD int param_parse_text(struct spec *spec, struct slice text, struct error *why);

/* One parameter by its name, whether or not the layer has given it before. */
NODISCARD int param_set(struct spec *spec, struct slice name, struct slice value,
                        struct error *why);

/* Whether there is such a parameter; whether the layer at hand has given it. */
bool param_exists(struct slice name);
bool param_is_given(const struct spec *spec, struct slice name);

/* Adds those of `given` (as spec->given) to `idle` that change nothing: the path takes none but the
 * words of `takes` of those that belong to paths, or says itself what `said` is (empty: none), or
 * what they need was not given. */
void param_name_idle(const struct spec *spec, uint64_t given, struct slice takes, struct slice said,
                     struct param_names *idle);

/* One line "KIND|NAME|VALUE|HELP" per row: parameters, faults, profiles; what docs compare with. */
void param_print_rows(FILE *out);

#endif
