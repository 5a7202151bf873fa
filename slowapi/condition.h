/* SPDX-License-Identifier: MIT */
/* Conditions on requests: what a rule asks of method, host, path, query, header lines, cookies and
 * body.
 *
 *   "method": "POST", "path": "/orders/17", "host": "*.example.com", "session": "tests",
 *   "query": { "page": "2" }, "header": { "X-Tenant": "a*" }, "cookie": { "debug": null },
 *   "body-contains": "express", "json": { "order.id": 17 }
 *
 * A value is a pattern of slowapi/pattern.h, a lone star (there is any), or null (there is none).
 * Of values that come several times one has to fit. */
#ifndef SLOWAPI_CONDITION_H
#define SLOWAPI_CONDITION_H

#include "http/head.h"
#include "slowapi/pattern.h"
#include <jansson.h>

/* A request as conditions see it. Slices that the caller owns. */
struct condition_view {
    const struct http_head *head;
    struct slice path; /* decoded */
    struct slice query;
    struct slice body;
    enum { CONDITION_BODY_LATER, CONDITION_BODY_HERE, CONDITION_BODY_UNKNOWN } knows_body;
    bool is_parsed;
    json_t *json; /* owned: the body, once a condition has asked for it; NULL: it is none */
};
void condition_view_free(struct condition_view *view);

/* The body as JSON, parsed at most once; NULL: it is none, or not known. */
json_t *condition_view_json(struct condition_view *view);

struct condition_value {
    const char *name;
    enum { VALUE_IS, VALUE_IS_THERE, VALUE_IS_ABSENT } kind;
    const char *value; /* VALUE_IS: a pattern */
};

struct condition_values {
    size_t count;
    struct condition_value *items; /* owned */
};

/* The strings and JSON are of the JSON that it was taken from. */
struct condition {
    struct pattern path; /* text NULL: any */
    uint32_t methods;    /* 1 << enum http_method; 0: any */
    const char *host, *session;
    struct condition_values query, headers, cookies;
    json_t *contains, *json; /* a text or a list of them; names to values; or NULL */
};

/* The names of its members, for the error of a member that is unknown. */
#define CONDITION_MEMBERS \
    "method, path, host, session, query, header, cookie, body-contains and json"

/* Takes a member of a rule. 1; 0: it is no condition; -EINVAL with the end of a sentence in
 * *ret_why: "has a path that ...". */
NODISCARD int condition_take(struct condition *c, const char *name, json_t *value,
                             const char **ret_why);
void condition_free(struct condition *c);

static inline bool condition_needs_body(const struct condition *c) {
    return c->contains != NULL || c->json != NULL;
}

/* Whether the name of a session is one: NULL, or the end of a sentence. */
const char *condition_session_fault(struct slice name);

enum condition_fit { FITS_NOT, FITS, FITS_PERHAPS /* the body, which comes later, decides */ };

enum condition_fit condition_fits(const struct condition *c, struct condition_view *view);

/* --- parts of requests, which conditions look at ---------------------------------------------- */

/* The next value of that cookie; start with a zeroed walk. False at the end. */
struct condition_cookies {
    struct http_cursor at;
    struct slice pairs;
};
bool condition_cookie_next(const struct http_head *head, struct condition_cookies *walk,
                           struct slice name, struct slice *ret_value);

#endif
