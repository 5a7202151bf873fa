/* SPDX-License-Identifier: MIT */
/* The paths that exist and the parameters they take, as rows. */
#include "slowapi/plan.h"
#include "base/escape.h"
#include "base/units.h"
#include "http/url.h"
#include "slowapi/limits.h"
#include <errno.h>

const struct slice plan_allow = SLICE_INIT("GET, HEAD, POST, PUT");

struct param {
    struct slice name;
    const char *allowed;
    /* Of a value that is not empty. 0, or -EINVAL with a static text in *ret_why. */
    int (*parse)(struct plan *plan, struct slice value, const char **ret_why);
};

static int parse_delay(struct plan *plan, struct slice value, const char **ret_why) {
    return units_parse_seconds(value, &plan->delay, ret_why);
}

static const struct param params[] = {
    { SLICE_INIT("delay"), "seconds as a decimal number, 0 or more, such as 2 or 0.25",
      parse_delay },
};

static bool method_is_allowed(enum http_method method) {
    return method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD || method == HTTP_METHOD_POST ||
           method == HTTP_METHOD_PUT;
}

static int parse_value(const struct param *param, struct slice raw, struct plan *plan,
                       const char **ret_why) {
    char decoded[SLOWAPI_VALUE_BYTES];

    *ret_why = "is too long";
    if (raw.len > sizeof(decoded))
        return -EINVAL;

    *ret_why = "has a bad percent-escape";
    long len = http_percent_decode(raw, decoded);
    if (len < 0)
        return -EINVAL;
    return len == 0 ? 0 : param->parse(plan, slice_of(decoded, (size_t)len), ret_why);
}

static int parse_query(struct slice query, struct plan *plan, struct error *why) {
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        const struct param *param = &params[i];
        struct slice raw;
        const char *reason;

        if (!http_query_find(query, param->name, &raw) ||
            parse_value(param, raw, plan, &reason) == 0)
            continue;

        char shown[64];
        escape_text(shown, sizeof(shown), raw);
        return error_set(why, -EINVAL, "%s=%s %s; allowed: %s", param->name.ptr, shown, reason,
                         param->allowed);
    }
    return 0;
}

static struct plan refuse(struct error *why, uint16_t status, const char *text) {
    error_set(why, 0, "%s", text);
    return (struct plan){ .status = status };
}

struct plan plan_make(const struct http_head *head, const struct slowapi_config *config,
                      struct error *why) {
    struct plan plan = { .status = 200, .delay = config->delay };
    struct slice path, query;

    if (head->method == HTTP_METHOD_OTHER)
        return refuse(why, 501, "unknown method");

    http_target_split(head->target, &path, &query);
    if (!slice_eq(path, SLICE("/")))
        return refuse(why, 404, "not found; try /?delay=0.5");
    if (!method_is_allowed(head->method))
        return refuse(why, 405, "method not allowed on /; use GET, HEAD, POST or PUT");
    if (query.len > 0 && parse_query(query, &plan, why) < 0)
        return (struct plan){ .status = 400 };
    return plan;
}
