/* SPDX-License-Identifier: MIT */
/* The last requests, for tests that ask what was called: what came, and what was answered.
 *
 *   number = journal_begin(j, head, fd, rule)     the head is read
 *   journal_body(j, number, data)                its body, as it comes
 *   journal_end(j, number, &end)                 however it ends
 *
 * They lie in memory that the workers share, which is as large as --journal says. The oldest one
 * goes when there is no room for the newest. */
#ifndef SLOWAPI_JOURNAL_H
#define SLOWAPI_JOURNAL_H

#include "base/clock.h"
#include "base/error.h"
#include "http/head.h"
#include <jansson.h>

#define JOURNAL_ENTRIES_MAX 100000
#define JOURNAL_BYTES       8192 /* target, header lines and body of a request; more is cut */

struct journal;

/* Room for so many requests, 1..JOURNAL_ENTRIES_MAX; what is never used costs no memory. To be
 * called before fork. NULL with a reason. */
NODISCARD struct journal *journal_new(uint32_t entries, struct error *err);
void journal_free(struct journal *j); /* NULL-safe */

/* Takes a request down that came over the socket `fd` (-1: none); `rule` is the name of the one
 * that matched, or NULL. Returns its number, from 1. */
uint64_t journal_begin(struct journal *j, const struct http_head *head, int fd, const char *rule);

/* The three that follow do nothing when the request has had to make room. */
void journal_body(struct journal *j, uint64_t number, struct slice data);

/* Notes the rule of a request whose body had to come first. */
void journal_rule(struct journal *j, uint64_t number, const char *rule);

struct journal_end {
    const char *outcome; /* the access log says the same */
    uint16_t status;     /* 0: nothing went out */
    bool has_begun;      /* the answer has, `late` after the planned `delay` */
    nsec_t delay, late;
    nsec_t upstream; /* from the request to the head of the upstream's answer; -1: none */
    uint64_t bytes;  /* bytes of the answer's body, as in the access log */
    uint64_t faults; /* kinds of those that struck, as bits */
};
void journal_end(struct journal *j, uint64_t number, const struct journal_end *end);

/* --- searching -------------------------------------------------------------------------------- */

/* The searches take what is asked for as a query: path (a pattern), method, rule, status, outcome,
 * fault, client, session, header=NAME:VALUE, arg=NAME=VALUE, body (a part of it), after=NUMBER. All
 * that are given must fit, of several faults one; header and arg may be given several times. */

/* The newest `limit` (100 unless given) of those that fit, the oldest of them first: an object with
 * `requests`, and `count` of all that fit. 0, -ENOMEM, or -EINVAL with a reason. */
NODISCARD int journal_list(struct journal *j, struct slice query, json_t **ret, struct error *err);

/* Counts those that fit, and compares with times, at-least and at-most, those that are given.
 * Errors as above. */
struct journal_verdict {
    uint64_t count;
    bool holds;
    char wanted[96]; /* "exactly 2", "at least 1 and at most 3", or "" */
};
NODISCARD int journal_count(struct journal *j, struct slice query, struct journal_verdict *ret,
                            struct error *err);

/* Sums up those that fit: how many there are, by their statuses, outcomes, rules, faults and paths.
 * Errors as above. */
NODISCARD int journal_summarize(struct journal *j, struct slice query, json_t **ret,
                                struct error *err);

/* Forgets those that fit; all without a query. */
NODISCARD int journal_forget(struct journal *j, struct slice query, struct error *err);

#endif
