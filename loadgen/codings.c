/* SPDX-License-Identifier: MIT */
/* Decodes bodies of connections. */
#include "loadgen/codings.h"
#include "base/alloc.h"
#include <assert.h>

enum { ROOM_BYTES = 65536 };

struct coded_body {
    struct http_decoder decoder;
    uint8_t coding; /* enum answers_coding */
    bool is_bad;
};

struct codings {
    char room[ROOM_BYTES];
    size_t count;
    struct coded_body bodies[];
};

struct codings *codings_new(size_t clients) {
    struct codings *k = mem_calloc(1, sizeof(*k) + clients * sizeof(k->bodies[0]));
    if (k != NULL)
        k->count = clients;
    return k;
}

void codings_free(struct codings *k) {
    for (size_t i = 0; k != NULL && i < k->count; i++)
        codings_drop(k, i);
    mem_free(k);
}

/* Several codings, one over the other, are told as another one and not decoded. */
void codings_head(struct codings *k, size_t client, const struct http_head *head) {
    static_assert((int)ANSWERS_CODING_BR == (int)HTTP_CODING_BR, "the first of them are the same");
    struct coded_body *body = &k->bodies[client];
    enum http_coding coding = HTTP_CODING_IDENTITY;
    struct slice value;
    codings_drop(k, client);
    if (!http_field_find(head, SLICE("Content-Encoding"), &value))
        return;
    bool is_known = http_coding_find(slice_trim(value), &coding);
    body->coding = is_known ? (uint8_t)coding : ANSWERS_CODING_OTHER;
    if (is_known && coding != HTTP_CODING_IDENTITY)
        body->is_bad = http_decoder_begin(&body->decoder, coding) != 0;
}

bool codings_next(struct codings *k, size_t client, struct slice *data, struct slice *ret) {
    struct coded_body *body = &k->bodies[client];
    if (body->coding == ANSWERS_CODING_IDENTITY || body->coding == ANSWERS_CODING_OTHER) {
        *ret = *data;
        *data = slice_drop(*data, data->len);
        return ret->len > 0;
    }
    int rc =
        body->is_bad ? 0 : http_decoder_next(&body->decoder, data, k->room, sizeof(k->room), ret);
    body->is_bad |= rc < 0;
    return rc > 0;
}

bool codings_end(struct codings *k, size_t client, struct answers_codings *counts) {
    struct coded_body *body = &k->bodies[client];
    bool ok = !body->is_bad && http_decoder_is_done(&body->decoder);
    counts->responses[body->coding]++;
    codings_drop(k, client);
    return ok;
}

void codings_drop(struct codings *k, size_t client) {
    struct coded_body *body = &k->bodies[client];
    http_decoder_end(&body->decoder);
    body->coding = ANSWERS_CODING_IDENTITY;
    body->is_bad = false;
}
