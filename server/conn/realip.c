/* SPDX-License-Identifier: MIT */
/* Follows the chain of trusted proxies back to the client. */
#include "server/conn/realip.h"
#include "http/forwarded.h"

#define LINES_MAX 8  /* field lines of one name that are looked at, the last ones */
#define HOPS_MAX  32 /* proxies in a row */

/* The lines of one field, from which elements are taken from the end. */
struct lines {
    struct slice items[LINES_MAX];
    size_t count;
};

static struct lines lines_of(const struct session *s, struct slice wanted) {
    struct lines lines = { .count = 0 };
    struct slice rest = s->head.fields, name, value;

    while (http_field_next(&rest, &name, &value)) {
        if (!slice_eq_nocase(name, wanted))
            continue;
        if (lines.count == LINES_MAX)
            memmove(lines.items, lines.items + 1, --lines.count * sizeof(lines.items[0]));
        lines.items[lines.count++] = value;
    }
    return lines;
}

/* The last line that has something left; NULL at the end. */
static struct slice *last_line(struct lines *lines) {
    while (lines->count > 0 && lines->items[lines->count - 1].len == 0)
        lines->count--;
    return lines->count > 0 ? &lines->items[lines->count - 1] : NULL;
}

static bool is_trusted(const struct session *s, const struct peer *peer) {
    return cidr_list_has(&s->worker->config->forwarded_allow, peer);
}

/* The client is at `node` then. False when that says nothing. */
static bool step_to(struct realip *origin, struct slice node) {
    struct ip ip;

    if (!ip_parse(forwarded_node_address(node), &ip))
        return false;
    origin->client = (struct peer){ .kind = PEER_IP, .ip = ip };
    return true;
}

/* How many hops were followed. */
static unsigned follow_x_forwarded_for(const struct session *s, struct lines *lines,
                                       struct realip *origin) {
    struct slice *line, node;
    unsigned hops = 0;

    while (hops < HOPS_MAX && is_trusted(s, &origin->client) && (line = last_line(lines)) != NULL) {
        if (!forwarded_for_pop(line, &node) || !step_to(origin, node))
            break;
        hops++;
    }
    return hops;
}

static void take_scheme(struct realip *origin, struct slice value) {
    struct slice scheme = forwarded_scheme(value);

    if (scheme.len > 0)
        origin->scheme = scheme;
}

/* Proxies that append to a list append one element each: the one of the hop that was reached, or
 * the first. */
static void follow_x_forwarded_proto(struct lines *lines, unsigned hops, struct realip *origin) {
    struct slice *line, element = { "", 0 };

    do {
        line = last_line(lines);
    } while (line != NULL && forwarded_for_pop(line, &element) && hops-- > 1);
    take_scheme(origin, element);
}

static void follow_forwarded(const struct session *s, struct lines *lines, struct realip *origin) {
    struct forwarded_hop hop;
    struct slice *line;

    for (unsigned hops = 0; hops < HOPS_MAX; hops++) {
        if (!is_trusted(s, &origin->client) || (line = last_line(lines)) == NULL)
            return;
        if (!forwarded_pop(line, &hop))
            return;
        take_scheme(origin, hop.proto);
        if (!step_to(origin, hop.node))
            return;
    }
}

struct realip realip_of(const struct session *s) {
    struct realip origin = {
        .client = s->peer,
        .scheme = s->peer.secure ? SLICE("https") : SLICE("http"),
    };
    struct lines hops, protos, elements;
    struct slice real_ip;
    unsigned followed = 0;

    if (!is_trusted(s, &s->peer))
        return origin;
    hops = lines_of(s, SLICE("X-Forwarded-For"));
    protos = lines_of(s, SLICE("X-Forwarded-Proto"));
    elements = lines_of(s, SLICE("Forwarded"));
    if (hops.count > 0)
        followed = follow_x_forwarded_for(s, &hops, &origin);
    else if (elements.count > 0)
        follow_forwarded(s, &elements, &origin);
    else if (http_field_find(&s->head, SLICE("X-Real-IP"), &real_ip))
        step_to(&origin, real_ip);
    follow_x_forwarded_proto(&protos, followed, &origin);
    return origin;
}
