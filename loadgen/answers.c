/* SPDX-License-Identifier: MIT */
/* Counts what responses were like. */
#include "loadgen/answers.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

const struct answers_lenience answers_leniences[HTTP_LENIENCE_COUNT] = {
#define LENIENCE_ROW(name, key, text) { key, text },
    HTTP_LENIENCES(LENIENCE_ROW)
#undef LENIENCE_ROW
};

const char *const answers_coding_names[ANSWERS_CODINGS] = { "identity", "gzip", "deflate", "br",
                                                            "other" };

static void add_reason(struct answers *a, const char *text, uint64_t count) {
    size_t i = 0;
    while (i < ANSWERS_REASONS - 1 && a->reasons[i].count > 0 &&
           strcmp(a->reasons[i].text, text) != 0)
        i++;
    if (a->reasons[i].count == 0)
        snprintf(a->reasons[i].text, sizeof(a->reasons[i].text), "%s", text);
    a->reasons[i].count += count;
}

static void keep_first(struct answers *a, struct slice bytes) {
    if (a->first_len > 0 || bytes.len == 0)
        return;
    a->first_len = bytes.len < sizeof(a->first) ? bytes.len : sizeof(a->first);
    memcpy(a->first, bytes.ptr, a->first_len);
}

void answers_add_malformed(struct answers *a, const char *why, struct slice bytes) {
    add_reason(a, why, 1);
    keep_first(a, bytes);
}

uint64_t answers_count(const struct answers *a, int first, int last) {
    uint64_t sum = 0;
    for (int i = first; i <= last; i++)
        sum += a->statuses[i];
    return sum;
}

static uint64_t count_2xx(const struct answers *a) {
    return answers_count(a, 200, 299);
}

void answers_add_length(struct answers *a, uint64_t body_bytes) {
    if (body_bytes < a->shortest || count_2xx(a) == 1)
        a->shortest = body_bytes;
    if (body_bytes > a->longest)
        a->longest = body_bytes;
}

void answers_add_lenient(struct answers *a, unsigned noted) {
    a->lenient++;
    for (unsigned i = 0; i < HTTP_LENIENCE_COUNT; i++)
        a->leniences[i] += noted >> i & 1;
}

void answers_add_handshake(struct answers *a, const struct tls *tls) {
    struct answers_tls *t = &a->tls;
    struct tls_facts facts;
    t->handshakes++;
    t->resumed += tls_is_resumed(tls);
    if (t->protocol[0] != '\0')
        return;
    tls_describe(tls, &facts);
    snprintf(t->protocol, sizeof(t->protocol), "%s,%s,%d,%d", facts.version, facts.cipher,
             facts.key_bits, facts.cipher_bits);
    snprintf(t->temp_key, sizeof(t->temp_key), "%s", facts.temp_key);
    snprintf(t->server_name, sizeof(t->server_name), "%s",
             facts.server_name != NULL ? facts.server_name : "");
}

void answers_add_words(struct answers *a, enum failure reason, const char *words) {
    char *text = a->tls.reasons[reason];
    if (text[0] == '\0')
        snprintf(text, ANSWERS_WORDS_BYTES, "%s", words);
}

static void merge_tls(struct answers *to, const struct answers_tls *from) {
    uint64_t handshakes = to->tls.handshakes + from->handshakes;
    uint64_t resumed = to->tls.resumed + from->resumed;
    for (int i = 0; i < FAILURE_COUNT; i++)
        if (from->reasons[i][0] != '\0')
            answers_add_words(to, (enum failure)i, from->reasons[i]);
    if (to->tls.protocol[0] == '\0') {
        memcpy(to->tls.protocol, from->protocol, sizeof(from->protocol));
        memcpy(to->tls.temp_key, from->temp_key, sizeof(from->temp_key));
        memcpy(to->tls.server_name, from->server_name, sizeof(from->server_name));
    }
    to->tls.handshakes = handshakes;
    to->tls.resumed = resumed;
}

/* Before the statuses are added. */
static void merge_lengths(struct answers *to, uint64_t shortest, uint64_t longest) {
    if (shortest < to->shortest || count_2xx(to) == 0)
        to->shortest = shortest;
    if (longest > to->longest)
        to->longest = longest;
}

static void merge_codings(struct answers_codings *to, const struct answers_codings *from) {
    to->asked |= from->asked;
    for (int i = 0; i < ANSWERS_CODINGS; i++)
        to->responses[i] += from->responses[i];
    to->coded_bytes += from->coded_bytes;
    to->decoded_bytes += from->decoded_bytes;
    to->spent += from->spent;
}

static void merge_users(struct answers_users *to, const struct answers_users *from) {
    to->follows |= from->follows;
    to->keeps_cookies |= from->keeps_cookies;
    to->hops += from->hops;
    to->elsewhere += from->elsewhere;
    to->cookies_kept += from->cookies_kept;
    to->cookies_refused += from->cookies_refused;
}

void answers_merge(struct answers *to, const struct answers *from) {
    merge_codings(&to->codings, &from->codings);
    merge_users(&to->users, &from->users);
    if (count_2xx(from) > 0)
        merge_lengths(to, from->shortest, from->longest);
    for (int i = 0; i < ANSWERS_STATUSES; i++)
        to->statuses[i] += from->statuses[i];
    to->lenient += from->lenient;
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        to->leniences[i] += from->leniences[i];
    to->overrun += from->overrun;
    for (int i = 0; i < ANSWERS_REASONS; i++)
        if (from->reasons[i].count > 0)
            add_reason(to, from->reasons[i].text, from->reasons[i].count);
    keep_first(to, slice_of(from->first, from->first_len));
    merge_tls(to, &from->tls);
    for (int i = 0; i < RESOLVE_MAX; i++) {
        to->addresses[i].connections += from->addresses[i].connections;
        to->addresses[i].responses += from->addresses[i].responses;
        if (to->addresses[i].left_out == 0)
            to->addresses[i].left_out = from->addresses[i].left_out;
    }
}

void answers_restart(struct answers *a) {
    memset(a, 0, offsetof(struct answers, addresses));
    memset(a->tls.reasons, 0, sizeof(a->tls.reasons));
    a->codings = (struct answers_codings){ .asked = a->codings.asked };
    a->users = (struct answers_users){ .follows = a->users.follows,
                                       .keeps_cookies = a->users.keeps_cookies };
    for (int i = 0; i < RESOLVE_MAX; i++)
        a->addresses[i].responses = 0;
}
