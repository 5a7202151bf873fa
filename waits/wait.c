/* SPDX-License-Identifier: MIT */
/* Names waits, and counts equal ones. */
#include "waits/wait.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `words` come before the other end or the thing; with none of these `alone` is said. */
static const struct kind_row {
    const char *name, *words, *alone;
} kinds[WAIT_KINDS] = {
    [WAIT_RUNNING] = { "running", "", "running" },
    [WAIT_RECV] = { "recv", "recv from ", "recv from a socket" },
    [WAIT_SEND] = { "send", "send to ", "send to a socket" },
    [WAIT_ACCEPT] = { "accept", "accept on ", "accept" },
    [WAIT_CONNECT] = { "connect", "connect to ", "connect" },
    [WAIT_EPOLL] = { "epoll", "epoll on ", "epoll" },
    [WAIT_POLL] = { "poll", "poll on ", "poll" },
    [WAIT_LOCK] = { "lock", "lock ", "lock" },
    [WAIT_CONDITION] = { "condition", "condition ", "condition or semaphore" },
    [WAIT_THREAD] = { "thread", "end of ", "end of a thread" },
    [WAIT_SLEEP] = { "sleep", "", "sleep" },
    [WAIT_SLOT] = { "slot", "", "queue, for a slot" },
    [WAIT_CHILD] = { "child", "", "child process" },
    [WAIT_READ] = { "read", "read ", "read" },
    [WAIT_WRITE] = { "write", "write ", "write" },
    [WAIT_FILE_LOCK] = { "file_lock", "lock of ", "lock of a file" },
    [WAIT_SIGNAL] = { "signal", "", "signal" },
    [WAIT_DISK] = { "disk", "disk: ", "disk" },
    [WAIT_FAULT] = { "fault", "", "page fault" },
    [WAIT_STOPPED] = { "stopped", "", "stopped" },
    [WAIT_ENDED] = { "ended", "", "ended, not waited for" },
    [WAIT_OTHER] = { "other", "in ", "other waits" },
    [WAIT_UNKNOWN] = { "unknown", "", "not permitted to look" },
};

const char *wait_kind_name(enum wait_kind kind) {
    return kinds[kind].name;
}

static bool waits_for_several(const struct wait *w) {
    return (w->kind == WAIT_EPOLL || w->kind == WAIT_POLL) && w->descriptors > 0;
}

/* "20 descriptors", "18 to 20 descriptors". */
static void put_descriptors(const struct wait_group *g, char *text, size_t size) {
    uint32_t most = g->wait.descriptors;
    if (g->descriptors_min < most)
        snprintf(text, size, "%" PRIu32 " to %" PRIu32 " descriptors", g->descriptors_min, most);
    else
        snprintf(text, size, "%" PRIu32 " descriptor%s", most, most == 1 ? "" : "s");
}

/* The address of a client would be another for each: what stands there is where it came to. */
static const char *between(const struct wait *w, const char *object) {
    if (w->role[0] == '\0' || object[0] == '\0')
        return "";
    return strcmp(w->role, WAIT_ROLE_CLIENT) == 0 ? " of " : " ";
}

const char *wait_text(const struct wait_group *group, char text[static WAIT_TEXT_BYTES]) {
    const struct wait *w = &group->wait;
    const struct kind_row *row = &kinds[w->kind];
    char object[WAIT_OBJECT_BYTES];

    snprintf(object, sizeof(object), "%s", w->object);
    if (waits_for_several(w))
        put_descriptors(group, object, sizeof(object));
    if (object[0] == '\0' && w->role[0] == '\0')
        snprintf(text, WAIT_TEXT_BYTES, "%s%s", row->alone, w->polled ? " (poll)" : "");
    else
        snprintf(text, WAIT_TEXT_BYTES, "%s%s%s%s%s", row->words, w->role, between(w, object),
                 object, w->polled ? " (poll)" : "");
    return text;
}

struct wait_group wait_brief(const struct wait_group *group) {
    struct wait_group brief = *group;
    if (brief.wait.role[0] != '\0' || brief.wait.kind == WAIT_ACCEPT)
        memset(brief.wait.object, 0, sizeof(brief.wait.object));
    return brief;
}

json_t *wait_json(const struct wait_group *group, const char *noun) {
    const struct wait *w = &group->wait;
    char text[WAIT_TEXT_BYTES];
    bool ok = true;
    struct json_draft o = { json_object(), &ok };

    json_put_text(o, "kind", slice_str(wait_kind_name(w->kind)));
    json_put_text(o, "text", slice_str(wait_text(group, text)));
    json_put_count(o, noun, group->threads);
    if (w->role[0] != '\0')
        json_put_text(o, "role", slice_str(w->role));
    if (w->object[0] != '\0')
        json_put_text(o, "object", slice_str(w->object));
    if (w->polled)
        json_put(o, "polled", json_true());
    if (waits_for_several(w))
        json_put_count(o, "descriptors", w->descriptors);
    if (ok)
        return o.json;
    json_decref(o.json);
    return NULL;
}

/* --- counting -------------------- */

bool wait_is_same(const struct wait *a, const struct wait *b) {
    return a->kind == b->kind && a->polled == b->polled && strcmp(a->role, b->role) == 0 &&
           strcmp(a->object, b->object) == 0;
}

static void group_add(struct wait_group *g, const struct wait_group *more) {
    if (more->wait.descriptors > g->wait.descriptors)
        g->wait.descriptors = more->wait.descriptors;
    if (more->descriptors_min < g->descriptors_min)
        g->descriptors_min = more->descriptors_min;
    g->threads += more->threads;
}

size_t tally_find(const struct wait_tally *t, const struct wait *wait) {
    size_t at = 0;

    while (at < t->count && !wait_is_same(&t->groups[at].wait, wait))
        at++;
    return at;
}

/* The last place is kept for what finds none. */
void tally_add_group(struct wait_tally *t, const struct wait_group *more) {
    static const struct wait_group others = { .wait = { .kind = WAIT_OTHER } };
    size_t at = tally_find(t, &more->wait);

    t->threads += more->threads;
    if (at == t->count && t->count < TALLY_GROUPS_MAX - 1) {
        t->groups[t->count++] = *more;
        return;
    }
    if (at == t->count)
        at = tally_find(t, &others.wait);
    if (at == t->count)
        t->groups[t->count++] = others;
    group_add(&t->groups[at], more);
}

void tally_add(struct wait_tally *tally, const struct wait *wait) {
    struct wait_group one = { .wait = *wait, .descriptors_min = wait->descriptors, .threads = 1 };
    tally_add_group(tally, &one);
}

static int by_threads(const void *a, const void *b) {
    const struct wait_group *x = a, *y = b;
    if (x->threads != y->threads)
        return x->threads < y->threads ? 1 : -1;
    if (x->wait.kind != y->wait.kind)
        return x->wait.kind > y->wait.kind ? 1 : -1;
    return strcmp(x->wait.object, y->wait.object);
}

void tally_sort(struct wait_tally *tally) {
    qsort(tally->groups, tally->count, sizeof(tally->groups[0]), by_threads);
}

json_t *tally_json(const struct wait_tally *tally, const char *noun) {
    json_t *list = json_array();
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < tally->count; i++)
        rc = json_array_append_new(list, wait_json(&tally->groups[i], noun));
    if (rc == 0)
        return list;
    json_decref(list);
    return NULL;
}

const char *tally_text(const struct wait_tally *tally, char *text, size_t size) {
    enum { REST_BYTES = 26 }; /* "; 4294967295: other waits" */
    size_t used = 0;
    uint32_t told = 0;

    text[0] = '\0';
    for (size_t i = 0; i < tally->count; i++) {
        char what[WAIT_TEXT_BYTES], one[WAIT_TEXT_BYTES + 16];
        int len = snprintf(one, sizeof(one), "%s%" PRIu32 ": %s", i > 0 ? "; " : "",
                           tally->groups[i].threads, wait_text(&tally->groups[i], what));
        bool is_last = i + 1 == tally->count;
        if (used + (size_t)len + (is_last ? 1 : REST_BYTES) > size) {
            snprintf(text + used, size - used, "%s%" PRIu32 ": other waits", i > 0 ? "; " : "",
                     tally->threads - told);
            break;
        }
        memcpy(text + used, one, (size_t)len + 1);
        used += (size_t)len;
        told += tally->groups[i].threads;
    }
    return text;
}
