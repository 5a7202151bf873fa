/* SPDX-License-Identifier: MIT */
/* Follows the chain of trusted proxies back to the client. Makes ids from a key and a count, so
 * that an id costs no system call. */
#include "server/conn/proxied.h"
#include "base/clock.h"
#include "http/forwarded.h"
#include <sys/random.h>
#include <unistd.h>

#define LINES_MAX 8  /* field lines of one name that are looked at, the last ones */
#define HOPS_MAX  32 /* proxies in a row */

/* --- the client ---------------------------------------------------------- */

/* The lines of one field, from which elements are taken from the end. */
struct lines {
    struct slice items[LINES_MAX];
    size_t count;
};

/* All that proxies have said. */
struct forwarding {
    struct lines hops, protos, elements;
    struct slice real_ip; /* of the first X-Real-IP */
    bool has_real_ip;
};

static void add_line(struct lines *lines, struct slice value) {
    if (lines->count == LINES_MAX)
        memmove(lines->items, lines->items + 1, --lines->count * sizeof(lines->items[0]));
    lines->items[lines->count++] = value;
}

static void note_field(struct forwarding *f, struct slice name, struct slice value) {
    if (slice_eq_nocase(name, SLICE("X-Forwarded-For"))) {
        add_line(&f->hops, value);
    } else if (slice_eq_nocase(name, SLICE("X-Forwarded-Proto"))) {
        add_line(&f->protos, value);
    } else if (slice_eq_nocase(name, SLICE("Forwarded"))) {
        add_line(&f->elements, value);
    } else if (!f->has_real_ip && slice_eq_nocase(name, SLICE("X-Real-IP"))) {
        f->real_ip = value;
        f->has_real_ip = true;
    }
}

/* The last line that has something left; NULL at the end. */
static struct slice *last_line(struct lines *lines) {
    while (lines->count > 0 && lines->items[lines->count - 1].len == 0)
        lines->count--;
    return lines->count > 0 ? &lines->items[lines->count - 1] : NULL;
}

/* Takes the client to be at `node`. False when that says nothing. */
static bool step_to(struct realip *realip, struct slice node) {
    struct ip ip;

    if (!ip_parse(forwarded_node_address(node), &ip))
        return false;
    realip->client = (struct peer){ .kind = PEER_IP, .ip = ip };
    return true;
}

/* Returns how many hops were followed. */
static unsigned follow_x_forwarded_for(const struct cidr_list *trusted, struct lines *lines,
                                       struct realip *realip) {
    struct slice *line, node;
    unsigned hops = 0;

    while (hops < HOPS_MAX && cidr_list_has(trusted, &realip->client) &&
           (line = last_line(lines)) != NULL) {
        if (!forwarded_for_pop(line, &node) || !step_to(realip, node))
            break;
        hops++;
    }
    return hops;
}

static void take_scheme(struct realip *realip, struct slice value) {
    struct slice scheme = forwarded_scheme(value);

    if (scheme.len > 0)
        realip->scheme = scheme;
}

/* Proxies that append to a list append one element each: the one of the hop that was reached, or
 * the first. */
static void follow_x_forwarded_proto(struct lines *lines, unsigned hops, struct realip *realip) {
    struct slice *line, element = { "", 0 };

    do {
        line = last_line(lines);
    } while (line != NULL && forwarded_for_pop(line, &element) && hops-- > 1);
    take_scheme(realip, element);
}

static void follow_forwarded(const struct cidr_list *trusted, struct lines *lines,
                             struct realip *realip) {
    struct forwarded_hop hop;
    struct slice *line;

    for (unsigned hops = 0; hops < HOPS_MAX; hops++) {
        if (!cidr_list_has(trusted, &realip->client) || (line = last_line(lines)) == NULL)
            return;
        if (!forwarded_pop(line, &hop))
            return;
        take_scheme(realip, hop.proto);
        if (!step_to(realip, hop.node))
            return;
    }
}

struct realip realip_of(const struct http_head *head, const struct peer *peer,
                        const struct cidr_list *trusted) {
    struct realip realip = {
        .client = *peer,
        .scheme = peer->secure ? SLICE("https") : SLICE("http"),
    };
    struct slice rest = head->fields, name, value;
    struct forwarding f;
    unsigned followed = 0;

    if (!cidr_list_has(trusted, peer))
        return realip;
    f.hops.count = f.protos.count = f.elements.count = 0;
    f.has_real_ip = false;
    while (http_field_next(&rest, &name, &value))
        note_field(&f, name, value);
    if (f.hops.count > 0)
        followed = follow_x_forwarded_for(trusted, &f.hops, &realip);
    else if (f.elements.count > 0)
        follow_forwarded(trusted, &f.elements, &realip);
    else if (f.has_real_ip)
        step_to(&realip, f.real_ip);
    follow_x_forwarded_proto(&f.protos, followed, &realip);
    return realip;
}

/* --- the id of a request ------------------------------------------------- */

void request_ids_open(struct request_ids *ids, const char *field, const struct cidr_list *trusted) {
    *ids = (struct request_ids){ .field = slice_str(field), .trusted = trusted };
    if (getrandom(ids->key, sizeof(ids->key), 0) != (ssize_t)sizeof(ids->key)) {
        ids->key[0] = (uint64_t)clock_wall();
        ids->key[1] = (uint64_t)clock_now() ^ (uint64_t)getpid() << 32;
    }
}

/* The finaliser of SplitMix64, a bijection: Steele, Lea, Flood, "Fast splittable pseudorandom
 * number generators", 2014. */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static struct request_id make(struct request_ids *ids) {
    uint64_t count = atomic_fetch_add_explicit(&ids->count, 1, memory_order_relaxed) + 1;
    struct request_id id = { .high = mix(ids->key[0] + count * 0x9e3779b97f4a7c15U) };

    id.low = mix(ids->key[1] ^ id.high);
    return id;
}

/* Puts the digits into `text`, of REQUEST_ID_BYTES, with a NUL. */
static struct slice format(struct request_id id, char *text) {
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < 16; i++) {
        text[i] = digits[id.high >> (60 - 4 * i) & 15];
        text[16 + i] = digits[id.low >> (60 - 4 * i) & 15];
    }
    text[32] = '\0';
    return slice_of(text, 32);
}

static bool is_plain(char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != '\0' && strchr("-._~+/=:@", c) != NULL);
}

static bool find(const struct http_head *head, struct slice field, struct slice *ret) {
    struct slice value;

    if (!http_field_find(head, field, &value) || value.len == 0 || value.len > REQUEST_ID_LEN_MAX)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (!is_plain(value.ptr[i]))
            return false;
    *ret = value;
    return true;
}

struct slice request_id_text(struct request_id *own, struct request_ids *ids,
                             const struct http_head *head, const struct peer *peer,
                             char text[REQUEST_ID_BYTES]) {
    struct slice given;

    if (ids->field.len > 0 && cidr_list_has(ids->trusted, peer) && find(head, ids->field, &given))
        return given;
    if (own->high == 0 && own->low == 0)
        *own = make(ids);
    return format(*own, text);
}
