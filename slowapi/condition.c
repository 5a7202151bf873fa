/* SPDX-License-Identifier: MIT */
/* Takes conditions, and holds them against requests. */
#include "slowapi/condition.h"
#include "base/alloc.h"
#include "base/json.h"
#include "http/chars.h"
#include "http/url.h"
#include "slowapi/limits.h"
#include <errno.h>

/* --- taking ----------------------------------------------------------------------------------- */

static int bad(const char **why, const char *text) {
    *why = text;
    return -EINVAL;
}

static int take_text(const char **ret, json_t *value, const char *fault, const char **why) {
    *ret = json_string_value(value);
    return *ret != NULL && (*ret)[0] != '\0' ? 1 : bad(why, fault);
}

static int take_path(struct condition *c, json_t *value, const char **why) {
    if (!json_is_string(value))
        return bad(why, "has a path that is no text");
    *why = pattern_parse(slice_str(json_string_value(value)), &c->path);
    return *why == NULL ? 1 : -EINVAL;
}

static int take_method(struct condition *c, json_t *value, const char **why) {
    enum http_method method = http_method_of(slice_str(json_string_value(value)));

    if (!json_is_string(value))
        return bad(why, "has a method that is neither a text nor a list of texts");
    if (method == HTTP_METHOD_OTHER)
        return bad(why, "has an unknown method");
    c->methods |= UINT32_C(1) << method;
    return 1;
}

static int take_methods(struct condition *c, json_t *value, const char **why) {
    json_t *one;
    size_t i;
    int rc = 1;

    if (!json_is_array(value))
        return take_method(c, value, why);
    if (json_array_size(value) == 0)
        return bad(why, "has an empty list of methods");
    json_array_foreach(value, i, one) {
        if (rc == 1)
            rc = take_method(c, one, why);
    }
    return rc;
}

static int take_session(struct condition *c, json_t *value, const char **why) {
    c->session = json_string_value(value);
    *why = c->session != NULL ? condition_session_fault(slice_str(c->session))
                              : "has a session that is no text";
    return *why == NULL ? 1 : -EINVAL;
}

const char *condition_session_fault(struct slice name) {
    bool is_one = name.len > 0 && name.len <= SLOWAPI_LABEL_BYTES &&
                  http_span_value(name.ptr, name.len) == name.len &&
                  slice_trim(name).len == name.len;

    return is_one ? NULL : "has a session that no header can name, or of more than 128 bytes";
}

/* Names and values that no request can have would never match. */
static const char *header_fault(struct slice name, struct slice value) {
    if (name.len == 0 || http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) != name.len)
        return "has a header whose name is none";
    if (http_span_value(value.ptr, value.len) != value.len || slice_trim(value).len != value.len)
        return "has a header with a value that none can have";
    return NULL;
}

static const char *query_fault(struct slice name, struct slice value UNUSED) {
    return name.len == 0 ? "has an argument in query without a name" : NULL;
}

static const char *cookie_fault(struct slice name, struct slice value) {
    if (name.len == 0 || http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) != name.len)
        return "has a cookie whose name is none";
    return http_span_value(value.ptr, value.len) != value.len || slice_find(value, ';') < value.len
               ? "has a cookie with a value that none can have"
               : NULL;
}

struct place {
    const char *no_object, *no_value;
    const char *(*fault)(struct slice name, struct slice value);
};

static int take_values(struct condition_values *values, json_t *object, const struct place *place,
                       const char **why) {
    const char *name, *fault;
    json_t *value;

    if (!json_is_object(object))
        return bad(why, place->no_object);
    values->items = mem_calloc(json_object_size(object) + 1, sizeof(values->items[0]));
    if (values->items == NULL)
        return bad(why, "needs more memory than there is");
    json_object_foreach(object, name, value) {
        const char *text = json_string_value(value);
        if (text == NULL && !json_is_null(value))
            return bad(why, place->no_value);
        fault = place->fault(slice_str(name), slice_str(text));
        if (fault != NULL)
            return bad(why, fault);
        values->items[values->count++] = (struct condition_value){
            .name = name,
            .kind = text == NULL             ? VALUE_IS_ABSENT
                    : strcmp(text, "*") == 0 ? VALUE_IS_THERE
                                             : VALUE_IS,
            .value = text,
        };
    }
    return 1;
}

static int take_contains(struct condition *c, json_t *value, const char **why) {
    json_t *one;
    size_t i;

    c->contains = value;
    if (json_string_length(value) > 0)
        return 1;
    if (json_array_size(value) == 0)
        return bad(why, "has a body-contains that is neither a text nor a list of texts");
    json_array_foreach(value, i, one) {
        if (json_string_length(one) == 0)
            return bad(why, "has a body-contains with an element that is no text, or empty");
    }
    return 1;
}

static int take_json(struct condition *c, json_t *value, const char **why) {
    c->json = value;
    return json_object_size(value) > 0
               ? 1
               : bad(why, "has a json that is no object of paths and values");
}

int condition_take(struct condition *c, const char *name, json_t *value, const char **ret_why) {
    static const struct place
        query = { "has a query that is no object",
                  "has an argument in query whose value is no text, and not null", query_fault },
        header = { "has a header that is no object",
                   "has a header whose value is no text, and not null", header_fault },
        cookie = { "has a cookie that is no object",
                   "has a cookie whose value is no text, and not null", cookie_fault };

    if (strcmp(name, "path") == 0)
        return take_path(c, value, ret_why);
    if (strcmp(name, "method") == 0)
        return take_methods(c, value, ret_why);
    if (strcmp(name, "host") == 0)
        return take_text(&c->host, value, "has a host that is no text, or empty", ret_why);
    if (strcmp(name, "session") == 0)
        return take_session(c, value, ret_why);
    if (strcmp(name, "query") == 0)
        return take_values(&c->query, value, &query, ret_why);
    if (strcmp(name, "header") == 0)
        return take_values(&c->headers, value, &header, ret_why);
    if (strcmp(name, "cookie") == 0)
        return take_values(&c->cookies, value, &cookie, ret_why);
    if (strcmp(name, "body-contains") == 0)
        return take_contains(c, value, ret_why);
    return strcmp(name, "json") == 0 ? take_json(c, value, ret_why) : 0;
}

void condition_free(struct condition *c) {
    pattern_free(&c->path);
    mem_free(c->query.items);
    mem_free(c->headers.items);
    mem_free(c->cookies.items);
}

/* --- fitting: the head ------------------------------------------------------------------------ */

/* The values of a name among those of a request, one after the other. */
struct walk {
    const struct condition_view *view;
    struct slice name;
    struct http_cursor header;
    struct slice query;
    struct condition_cookies cookies;
};

static bool next_header(struct walk *w, struct slice *ret) {
    struct slice name;

    while (http_field_walk(w->view->head, &w->header, &name, ret))
        if (slice_eq_nocase(name, w->name))
            return true;
    return false;
}

static bool next_query(struct walk *w, struct slice *ret) {
    return http_query_walk(&w->query, w->name, ret);
}

bool condition_cookie_next(const struct http_head *head, struct condition_cookies *walk,
                           struct slice name, struct slice *ret_value) {
    struct slice field;

    for (;;) {
        while (walk->pairs.len > 0) {
            struct slice pair = slice_trim(slice_cut(&walk->pairs, ';'));
            if (slice_eq(slice_trim(slice_cut(&pair, '=')), name)) {
                *ret_value = slice_trim(pair);
                return true;
            }
        }
        do {
            if (!http_field_walk(head, &walk->at, &field, &walk->pairs))
                return false;
        } while (!slice_eq_nocase(field, SLICE("Cookie")));
    }
}

static bool next_cookie(struct walk *w, struct slice *ret) {
    return condition_cookie_next(w->view->head, &w->cookies, w->name, ret);
}

static bool text_is(struct slice text, const char *wanted) {
    return pattern_text_fits(slice_str(wanted), text);
}

/* A value that cannot be decoded is none. */
static bool encoded_text_is(struct slice raw, const char *wanted) {
    char *text = slice_dup(raw);
    long len = text != NULL ? http_percent_decode(raw, text) : -1;
    bool is_it = len >= 0 && text_is(slice_of(text, (size_t)len), wanted);

    mem_free(text);
    return is_it;
}

typedef bool next_fn(struct walk *w, struct slice *ret);
typedef bool is_fn(struct slice value, const char *wanted);

static bool values_fit(const struct condition_values *values, const struct condition_view *view,
                       next_fn *next, is_fn *is) {
    for (size_t i = 0; i < values->count; i++) {
        const struct condition_value *wanted = &values->items[i];
        struct walk walk = { .view = view, .name = slice_str(wanted->name), .query = view->query };
        struct slice value;
        bool found = false;

        while (!found && next(&walk, &value))
            found = wanted->kind != VALUE_IS || is(value, wanted->value);
        if (found == (wanted->kind == VALUE_IS_ABSENT))
            return false;
    }
    return true;
}

/* Without a port in the pattern that of the request does not matter. */
static bool host_fits(const char *wanted, struct slice host) {
    size_t name = slice_find(host, host.len > 0 && host.ptr[0] == '[' ? ']' : ':');
    struct slice bare = slice_take(host, host.len > 0 && host.ptr[0] == '[' ? name + 1 : name);

    return pattern_text_fits_nocase(slice_str(wanted), bare) ||
           pattern_text_fits_nocase(slice_str(wanted), host);
}

static bool session_fits(const char *wanted, const struct http_head *head) {
    struct slice rest = head->fields, name, value;

    while (http_field_next(&rest, &name, &value))
        if (slice_eq_nocase(name, SLICE(SLOWAPI_SESSION)) && slice_eq(value, slice_str(wanted)))
            return true;
    return false;
}

static bool head_fits(const struct condition *c, const struct condition_view *view) {
    const struct http_head *head = view->head;

    if (c->path.text != NULL && !pattern_fits(&c->path, view->path))
        return false;
    if (c->methods != 0 && (c->methods >> head->method & 1) == 0)
        return false;
    if (c->session != NULL && !session_fits(c->session, head))
        return false;
    return (c->host == NULL || host_fits(c->host, head->host)) &&
           (c->headers.count == 0 || values_fit(&c->headers, view, next_header, text_is)) &&
           (c->query.count == 0 || values_fit(&c->query, view, next_query, encoded_text_is)) &&
           (c->cookies.count == 0 || values_fit(&c->cookies, view, next_cookie, text_is));
}

/* --- fitting: the body ------------------------------------------------------------------------ */

json_t *condition_view_json(struct condition_view *view) {
    if (!view->is_parsed && view->knows_body == CONDITION_BODY_HERE)
        view->json = json_parse(view->body);
    view->is_parsed = true;
    return view->json;
}

void condition_view_free(struct condition_view *view) {
    json_decref(view->json);
    view->json = NULL;
}

static bool has_text(struct slice body, json_t *text) {
    return body.len > 0 &&
           memmem(body.ptr, body.len, json_string_value(text), json_string_length(text)) != NULL;
}

static bool contains_fits(json_t *wanted, struct slice body) {
    json_t *one;
    size_t i;

    if (json_is_string(wanted))
        return has_text(body, wanted);
    json_array_foreach(wanted, i, one) {
        if (!has_text(body, one))
            return false;
    }
    return true;
}

static bool json_fits(json_t *wanted, json_t *there);

static bool object_fits(json_t *wanted, json_t *there) {
    const char *name;
    json_t *value;

    if (!json_is_object(there))
        return false;
    json_object_foreach(wanted, name, value) {
        if (!json_fits(value, json_object_get(there, name)))
            return false;
    }
    return true;
}

static bool list_fits(json_t *wanted, json_t *there) {
    json_t *value;
    size_t i;

    if (!json_is_array(there) || json_array_size(wanted) != json_array_size(there))
        return false;
    json_array_foreach(wanted, i, value) {
        if (!json_fits(value, json_array_get(there, i)))
            return false;
    }
    return true;
}

static bool number_fits(json_t *wanted, json_t *there) {
    if (json_is_integer(wanted) && json_is_integer(there))
        return json_integer_value(wanted) == json_integer_value(there);
    return json_is_number(there) && json_number_value(wanted) == json_number_value(there);
}

static bool string_fits(json_t *wanted, json_t *there) {
    struct slice text = slice_of(json_string_value(there), json_string_length(there));

    if (strcmp(json_string_value(wanted), "*") == 0)
        return there != NULL && !json_is_null(there);
    return json_is_string(there) && text_is(text, json_string_value(wanted));
}

/* Objects may have more members than are wanted; lists are compared as a whole. */
static bool json_fits(json_t *wanted, json_t *there) {
    switch (json_typeof(wanted)) {
    case JSON_OBJECT:
        return object_fits(wanted, there);
    case JSON_ARRAY:
        return list_fits(wanted, there);
    case JSON_STRING:
        return string_fits(wanted, there);
    case JSON_INTEGER:
    case JSON_REAL:
        return number_fits(wanted, there);
    case JSON_TRUE:
        return json_is_true(there);
    case JSON_FALSE:
        return json_is_false(there);
    case JSON_NULL:
        break;
    }
    return there == NULL || json_is_null(there);
}

static bool body_fits(const struct condition *c, struct condition_view *view) {
    const char *path;
    json_t *wanted, *json;

    if (c->contains != NULL && !contains_fits(c->contains, view->body))
        return false;
    json = c->json != NULL ? condition_view_json(view) : NULL;
    if (c->json != NULL && json == NULL)
        return false;
    json_object_foreach(c->json, path, wanted) {
        if (!json_fits(wanted, json_at(json, slice_str(path))))
            return false;
    }
    return true;
}

enum condition_fit condition_fits(const struct condition *c, struct condition_view *view) {
    if (!head_fits(c, view))
        return FITS_NOT;
    if (!condition_needs_body(c))
        return FITS;
    if (view->knows_body == CONDITION_BODY_LATER)
        return FITS_PERHAPS;
    return view->knows_body == CONDITION_BODY_HERE && body_fits(c, view) ? FITS : FITS_NOT;
}
