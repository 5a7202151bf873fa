/* SPDX-License-Identifier: MIT */
/* Takes answers from JSON, and makes parameters of them. */
#include "slowapi/answer.h"
#include "base/json.h"
#include "base/units.h"
#include "http/chars.h"
#include "slowapi/param.h"
#include <errno.h>
#include <stdlib.h>

#define TIMES_MAX 1000000

static int bad(struct error *err, const char *what) {
    return error_set(err, -EINVAL, "%s", what);
}

/* --- taking ----------------------------------------------------------------------------------- */

/* A text as it is; anything else as JSON, with its numbers as they were written. */
static int take_body(struct answer *answer, json_t *value, struct error *err) {
    answer->body = json_string_value(value);
    if (answer->body != NULL)
        return 1;
    free(answer->dumped);
    answer->dumped = json_dump_short(value, JSON_ENCODE_ANY | JSON_COMPACT);
    answer->body = answer->dumped;
    return answer->body != NULL ? 1 : bad(err, "needs more memory than there is");
}

static int take_times(struct answer *answer, json_t *value, struct error *err) {
    json_int_t n = json_integer_value(value);

    if (n < 1 || n > TIMES_MAX)
        return error_set(err, -EINVAL, "has times that are no whole number from 1 to %d",
                         TIMES_MAX);
    answer->times = (uint32_t)n;
    return 1;
}

int answer_take_span(uint64_t *usec, const char *name, json_t *value, struct error *err) {
    struct slice text = slice_str(json_string_value(value));
    nsec_t span = 0;

    if (text.len == 0 || units_parse_duration(text, &span) < 0 || span < NSEC_PER_MSEC)
        return error_set(err, -EINVAL,
                         "has a time in \"%s\" that is none such as \"1.5s\", or below 1ms", name);
    *usec = (uint64_t)span / 1000;
    return 1;
}

int answer_take(struct answer *answer, const char *name, json_t *value, struct error *err) {
    const char **text = strcmp(name, "params") == 0      ? &answer->params
                        : strcmp(name, "type") == 0      ? &answer->type
                        : strcmp(name, "body-file") == 0 ? &answer->file
                                                         : NULL;

    if (text != NULL) {
        *text = json_string_value(value);
        return *text != NULL ? 1 : error_set(err, -EINVAL, "has \"%s\" that is no text", name);
    }
    if (strcmp(name, "body") == 0)
        return take_body(answer, value, err);
    if (strcmp(name, "times") == 0)
        return take_times(answer, value, err);
    if (strcmp(name, "for") == 0)
        return answer_take_span(&answer->usec, name, value, err);
    if (strcmp(name, "status") != 0)
        return 0;
    answer->status = value;
    return json_is_integer(value) ? 1 : bad(err, "has a status that is no whole number");
}

/* One line, or a list of them. */
static int check_header(const char *name, json_t *value, struct error *err) {
    json_t *one;
    size_t i;

    if (name[0] == '\0' || http_span(name, strlen(name), HTTP_CHAR_TOKEN) != strlen(name))
        return bad(err, "has a name in headers that is none");
    json_array_foreach(value, i, one) {
        if (!json_is_string(one))
            return bad(err, "has a value in headers that is no text");
    }
    return json_is_string(value) || json_array_size(value) > 0
               ? 1
               : bad(err, "has a value in headers that is neither a text nor a list of texts");
}

static int take_headers(struct answer *answer, json_t *headers, struct error *err) {
    const char *name;
    json_t *value;
    int rc = json_is_object(headers) ? 1 : bad(err, "has headers that are no object");

    answer->headers = headers;
    json_object_foreach(headers, name, value) {
        if (rc > 0)
            rc = check_header(name, value, err);
    }
    return rc;
}

static int take_of_sequence(struct answer *answer, const char *name, json_t *value,
                            struct error *err) {
    if (strcmp(name, "headers") == 0)
        return take_headers(answer, value, err);
    if (strcmp(name, "pass") != 0)
        return answer_take(answer, name, value, err);
    answer->passes = json_is_true(value);
    return json_is_boolean(value) ? 1 : bad(err, "has \"pass\" that is neither true nor false");
}

int answer_parse(struct answer *answer, json_t *json, struct error *err) {
    const char *name;
    json_t *value;

    if (!json_is_object(json))
        return bad(err, "is not an object");
    json_object_foreach(json, name, value) {
        int rc = take_of_sequence(answer, name, value, err);
        if (rc == 0)
            rc = error_set(err, -EINVAL, "allowed are " ANSWER_SEQUENCE_MEMBERS ", not \"%s\"",
                           name);
        if (rc < 0)
            return rc;
    }
    return answer_check(answer, err);
}

int answer_check(const struct answer *answer, struct error *err) {
    if (answer->body != NULL && answer->file != NULL)
        return bad(err, "has both body and body-file");
    if (answer->times > 0 && answer->usec > 0)
        return bad(err, "has both \"times\" and \"for\"");
    if (answer->passes && answer_does_something(answer))
        return bad(err, "passes the request on, and can do nothing else");
    return 0;
}

void answer_free(struct answer *answer) {
    free(answer->dumped);
    answer->dumped = NULL;
}

/* --- applying --------------------------------------------------------------------------------- */

static int set_one(struct spec *spec, const char *name, const char *value, struct error *why) {
    return value != NULL ? param_set(spec, slice_str(name), slice_str(value), why) : 0;
}

static int set_status(struct spec *spec, json_t *status, struct error *why) {
    char text[32];

    if (status == NULL)
        return 0;
    snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(status));
    if (!param_is_given(spec, SLICE("seq"))) /* one of an earlier layer would win */
        spec->seq_count = 0;
    return set_one(spec, "status", text, why);
}

static int set_header(struct spec *spec, const char *name, json_t *value, struct error *why) {
    char line[SPEC_FIELDS_BYTES + 1];
    int len = snprintf(line, sizeof(line), "%s:%s", name, json_string_value(value));

    if ((size_t)len >= sizeof(line))
        return error_set(why, -EINVAL, "has headers of more than %d bytes", SPEC_FIELDS_BYTES);
    return set_one(spec, "header", line, why);
}

static int set_headers(struct spec *spec, json_t *headers, struct error *why) {
    json_t *value, *one;
    const char *name;
    int rc = 0;
    size_t i;

    json_object_foreach(headers, name, value) {
        if (rc == 0 && json_is_string(value))
            rc = set_header(spec, name, value, why);
        json_array_foreach(value, i, one) {
            if (rc == 0)
                rc = set_header(spec, name, one, why);
        }
    }
    return rc;
}

int answer_apply(const struct answer *answer, struct spec *spec, struct error *why) {
    const char *type = answer->type;

    param_begin_layer(spec);
    int rc = answer->params != NULL ? param_parse_text(spec, slice_str(answer->params), why) : 0;
    if (type == NULL && answer->dumped != NULL && !param_is_given(spec, SLICE("type")))
        type = "application/json";
    if (rc == 0)
        rc = set_status(spec, answer->status, why);
    if (rc == 0 && answer->headers != NULL)
        rc = set_headers(spec, answer->headers, why);
    if (rc == 0)
        rc = set_one(spec, "body", answer->body, why);
    if (rc == 0)
        rc = set_one(spec, "body-file", answer->file, why);
    return rc == 0 ? set_one(spec, "type", type, why) : rc;
}
