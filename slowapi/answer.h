/* SPDX-License-Identifier: MIT */
/* Answers as rules spell them: what is done with a request, as a layer of parameters.
 *
 *   { "params": "delay=2s", "status": 503, "headers": { "Retry-After": "2" },
 *     "body": { "paid": false }, "times": 2 }
 *
 * "body" is a text or any other JSON, "body-file" a file, "type" the type of either; all may be
 * left out. An answer of a sequence holds for so many "times", or for a time ("for": "5s"), and
 * with "pass" the request goes on as if its rule did not match. */
#ifndef SLOWAPI_ANSWER_H
#define SLOWAPI_ANSWER_H

#include "base/error.h"
#include "slowapi/spec.h"
#include <jansson.h>

/* The strings and JSON are of the JSON that it was taken from. */
struct answer {
    const char *params, *body, *file, *type;
    char *dumped;    /* malloc'ed: what `body` points to when it is no text */
    json_t *headers; /* NULL: none */
    json_t *status;  /* NULL: not given */
    bool passes;
    uint32_t times; /* 0: any number */
    uint64_t usec;  /* 0: any time */
};

void answer_free(struct answer *answer);

/* Members that rules and answers have in common, and those of answers in sequences. */
#define ANSWER_MEMBERS          "params, status, body, body-file, type, times, for"
#define ANSWER_SEQUENCE_MEMBERS ANSWER_MEMBERS ", headers and pass"

/* Takes one of ANSWER_MEMBERS: 1; 0: it is none; -EINVAL with the end of a sentence: "has ...". */
NODISCARD int answer_take(struct answer *answer, const char *name, json_t *value,
                          struct error *err);

/* Takes all of an answer of a sequence. 0 or -EINVAL as above. answer_free in any case. */
NODISCARD int answer_parse(struct answer *answer, json_t *json, struct error *err);

/* Whether its members go together: 0 or -EINVAL as above. */
NODISCARD int answer_check(const struct answer *answer, struct error *err);

/* "1.5s" as microseconds, for the member of that name: 1 or -EINVAL as above. */
NODISCARD int answer_take_span(uint64_t *usec, const char *name, json_t *value, struct error *err);

static inline bool answer_is_limited(const struct answer *answer) {
    return answer->times > 0 || answer->usec > 0;
}

static inline bool answer_does_something(const struct answer *answer) {
    return answer->params != NULL || answer->body != NULL || answer->file != NULL ||
           answer->type != NULL || answer->status != NULL || answer->headers != NULL;
}

/* Whether it is an answer of its own, and no mere change of what would be answered anyway. */
static inline bool answer_is_whole(const struct answer *answer) {
    return answer->body != NULL || answer->file != NULL || answer->status != NULL;
}

/* Applies it as the next layer. 0 or -EINVAL, as param_parse_text. */
NODISCARD int answer_apply(const struct answer *answer, struct spec *spec, struct error *why);

#endif
