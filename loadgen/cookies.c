/* SPDX-License-Identifier: MIT */
/* Keeps cookies, by the rules of RFC 6265 section 5. */
#include "loadgen/cookies.h"
#include "base/alloc.h"
#include "http/select.h"
#include <errno.h>
#include <stdlib.h>

static struct slice path_of(const struct cookie *c) {
    return slice_str(c->text + c->len + 1);
}

static void drop(struct cookies *k, size_t i) {
    mem_free(k->items[i].text);
    memmove(&k->items[i], &k->items[i + 1], (--k->count - i) * sizeof(k->items[0]));
}

void cookies_free(struct cookies *k) {
    while (k->count > 0)
        drop(k, k->count - 1);
}

/* --- Set-Cookie ------------------------------------------------------------------------------- */

struct attributes {
    struct slice path, domain;
    int64_t expires;
    bool is_secure, has_max_age, has_domain;
};

/* Section 5.2.2: digits, or a minus sign, which means now. */
static void take_max_age(struct attributes *a, struct slice value, int64_t now) {
    char text[20] = "";
    if (value.len == 0 || strchr("-0123456789", value.ptr[0]) == NULL)
        return;
    memcpy(text, value.ptr, value.len < sizeof(text) - 1 ? value.len : sizeof(text) - 1);
    long long span = strtoll(text, NULL, 10);
    a->has_max_age = true;
    a->expires = span <= 0 ? 0 : span < INT64_MAX - now ? now + span : INT64_MAX;
}

/* A date as servers of old write it, `01-Jan-2030`, becomes the form of today. */
static int64_t date_of(struct slice value) {
    char text[64];
    if (value.len >= sizeof(text))
        return -1;
    for (size_t i = 0; i < value.len; i++)
        text[i] = value.ptr[i] == '-' ? ' ' : value.ptr[i];
    return http_date_parse(slice_of(text, value.len));
}

static void take_attribute(struct attributes *a, struct slice value, int64_t now) {
    struct slice name = slice_trim(slice_cut(&value, '='));
    value = slice_trim(value);
    if (slice_eq_nocase(name, SLICE("Max-Age"))) {
        take_max_age(a, value, now);
    } else if (slice_eq_nocase(name, SLICE("Expires")) && !a->has_max_age) {
        int64_t date = date_of(value);
        a->expires = date >= 0 ? date : a->expires;
    } else if (slice_eq_nocase(name, SLICE("Path"))) {
        a->path = value.len > 0 && value.ptr[0] == '/' ? value : slice_of(NULL, 0);
    } else if (slice_eq_nocase(name, SLICE("Domain"))) {
        a->has_domain = value.len > 0;
        a->domain = value.len > 0 && value.ptr[0] == '.' ? slice_drop(value, 1) : value;
    } else if (slice_eq_nocase(name, SLICE("Secure"))) {
        a->is_secure = true;
    }
}

/* Section 5.1.3: the host itself, or a name above it; an address has none above. */
static bool domain_matches(struct slice host, struct slice domain) {
    if (slice_eq_nocase(host, domain))
        return true;
    if (host.len <= domain.len || host.ptr[host.len - domain.len - 1] != '.' ||
        slice_find(domain, '.') == domain.len)
        return false;
    char last = host.ptr[host.len - 1];
    return slice_eq_nocase(slice_drop(host, host.len - domain.len), domain) &&
           slice_find(host, ':') == host.len && (last < '0' || last > '9');
}

/* Section 5.1.4: up to the last slash. */
static struct slice default_path(struct slice path) {
    size_t end = path.len;
    while (end > 0 && path.ptr[end - 1] != '/')
        end--;
    return end > 1 ? slice_take(path, end - 1) : SLICE("/");
}

static bool path_matches(struct slice path, struct slice cookie) {
    if (!slice_starts_with(path, cookie))
        return false;
    return path.len == cookie.len || cookie.ptr[cookie.len - 1] == '/' ||
           path.ptr[cookie.len] == '/';
}

/* The cookie of the same name and path is replaced. */
static int keep(struct cookies *k, struct slice pair, size_t name_len, const struct attributes *a) {
    struct slice name = slice_take(pair, name_len);
    for (size_t i = 0; i < k->count; i++)
        if (slice_eq(slice_of(k->items[i].text, k->items[i].name_len), name) &&
            slice_eq(path_of(&k->items[i]), a->path))
            drop(k, i--);
    if (a->expires == 0)
        return 1;
    if (k->count == COOKIES_MAX)
        drop(k, 0);
    char *text = mem_alloc(pair.len + a->path.len + 2);
    if (text == NULL)
        return -ENOMEM;
    memcpy(text, pair.ptr, pair.len);
    text[pair.len] = '\0';
    memcpy(text + pair.len + 1, a->path.ptr, a->path.len);
    text[pair.len + 1 + a->path.len] = '\0';
    k->items[k->count++] = (struct cookie){ .text = text,
                                            .len = pair.len,
                                            .name_len = name_len,
                                            .expires = a->expires,
                                            .is_secure = a->is_secure };
    return 1;
}

static void forget_expired(struct cookies *k, int64_t now) {
    for (size_t i = k->count; i-- > 0;)
        if (k->items[i].expires <= now)
            drop(k, i);
}

int cookies_take(struct cookies *k, struct slice value, struct cookie_place place, int64_t now) {
    struct attributes a = { .expires = INT64_MAX };
    struct slice pair = slice_trim(slice_cut(&value, ';'));
    size_t name_len = slice_find(pair, '=');
    if (name_len == pair.len || name_len == 0 || pair.len > COOKIE_BYTES_MAX)
        return 0;
    while (value.len > 0)
        take_attribute(&a, slice_trim(slice_cut(&value, ';')), now);
    if (a.path.len == 0)
        a.path = default_path(place.path);
    if ((a.has_domain && !domain_matches(place.host, a.domain)) || (a.is_secure && !place.is_tls) ||
        a.path.len > COOKIE_BYTES_MAX)
        return 0;
    if (a.expires <= now)
        a.expires = 0;
    return keep(k, pair, name_len, &a);
}

/* --- Cookie ----------------------------------------------------------------------------------- */

int cookies_append(struct cookies *k, struct cookie_place place, int64_t now, struct buf *out,
                   size_t *ret_count) {
    uint8_t order[COOKIES_MAX];
    size_t count = 0;
    int rc = 0;
    forget_expired(k, now);
    for (size_t i = 0; i < k->count; i++) {
        const struct cookie *c = &k->items[i];
        if (!path_matches(place.path, path_of(c)) || (c->is_secure && !place.is_tls))
            continue;
        size_t at = count++;
        for (; at > 0 && path_of(&k->items[order[at - 1]]).len < path_of(c).len; at--)
            order[at] = order[at - 1];
        order[at] = (uint8_t)i;
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct cookie *c = &k->items[order[i]];
        rc = i > 0 ? buf_append(out, SLICE("; ")) : 0;
        if (rc == 0)
            rc = buf_append(out, slice_of(c->text, c->len));
    }
    *ret_count = count;
    return rc;
}
