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

static struct lines lines_of(const struct http_head *head, struct slice wanted) {
    struct lines lines = { .count = 0 };
    struct slice rest = head->fields, name, value;

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
    struct lines hops, protos, elements;
    struct slice real_ip;
    unsigned followed = 0;

    if (!cidr_list_has(trusted, peer))
        return realip;
    hops = lines_of(head, SLICE("X-Forwarded-For"));
    protos = lines_of(head, SLICE("X-Forwarded-Proto"));
    elements = lines_of(head, SLICE("Forwarded"));
    if (hops.count > 0)
        followed = follow_x_forwarded_for(trusted, &hops, &realip);
    else if (elements.count > 0)
        follow_forwarded(trusted, &elements, &realip);
    else if (http_field_find(head, SLICE("X-Real-IP"), &real_ip))
        step_to(&realip, real_ip);
    follow_x_forwarded_proto(&protos, followed, &realip);
    return realip;
}
