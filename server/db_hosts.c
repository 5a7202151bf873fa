/* SPDX-License-Identifier: MIT */
/* Takes lists of hosts apart, looks names up without blocking, and puts the lists together again.
 */
#include "server/db_hosts.h"
#include "net/resolve.h"
#include <errno.h>
#include <netdb.h>

/* The lists as they grow. */
struct lists {
    struct arena *arena;
    struct db_hosts hosts;
    unsigned count;
};

static bool is_name(struct slice host) {
    struct endpoint e = { .host = host, .port = 1 };
    struct address numeric;

    if (host.len == 0 || host.ptr[0] == '/' || host.ptr[0] == '@')
        return false;
    return address_of_endpoint(&e, false, &numeric) != 0 || slice_eq(host, SLICE("localhost"));
}

static bool any_name(struct slice hosts) {
    while (hosts.len > 0)
        if (is_name(slice_cut(&hosts, ',')))
            return true;
    return false;
}

static int append(struct lists *l, struct slice host, const char *address, struct slice port) {
    const char *comma = l->count++ > 0 ? "," : "";
    struct db_hosts *h = &l->hosts;

    h->host = arena_printf(l->arena, "%s%s%.*s", h->host, comma, (int)host.len, host.ptr);
    h->hostaddr = arena_printf(l->arena, "%s%s%s", h->hostaddr, comma, address);
    h->port = arena_printf(l->arena, "%s%s%.*s", h->port, comma, (int)port.len, port.ptr);
    return h->host == NULL || h->hostaddr == NULL || h->port == NULL ? -ENOMEM : 0;
}

static int append_addresses(struct lists *l, struct slice host, struct slice port,
                            const struct resolved *found) {
    char text[NI_MAXHOST];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < found->count; i++) {
        const struct address *a = &found->addresses[i];

        if (getnameinfo(&a->any, a->len, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0)
            rc = append(l, host, text, port);
    }
    return rc;
}

static int append_name(struct lists *l, struct slice host, struct slice port, struct io *io,
                       nsec_t deadline, const char **ret_why) {
    struct endpoint e = { .host = host, .port = 1 };
    struct resolved *found = arena_alloc(l->arena, sizeof(*found));
    struct error *err = arena_alloc(l->arena, sizeof(*err));
    int rc;

    if (found == NULL || err == NULL)
        return -ENOMEM;
    rc = resolve(io, &e, deadline, found, err);
    if (rc == 0)
        return append_addresses(l, host, port, found);
    *ret_why = err->text;
    return rc;
}

int db_hosts_find(const char *hosts, const char *ports, struct io *io, struct arena *arena,
                  nsec_t deadline, struct db_hosts *ret, const char **ret_why) {
    struct lists l = { .arena = arena, .hosts = { "", "", "" } };
    struct slice host_rest = slice_str(hosts), port_rest = slice_str(ports), port = port_rest;
    bool many_ports = slice_find(port_rest, ',') < port_rest.len;
    int rc = 0;

    *ret = (struct db_hosts){ NULL, NULL, NULL };
    if (!any_name(host_rest))
        return 0;
    while (rc == 0 && host_rest.len > 0) {
        struct slice host = slice_cut(&host_rest, ',');

        if (many_ports && port_rest.len == 0)
            return -EINVAL;
        if (many_ports)
            port = slice_cut(&port_rest, ',');
        if (is_name(host))
            rc = append_name(&l, host, port, io, deadline, ret_why);
        else
            rc = append(&l, host, "", port);
    }
    if (rc == 0)
        *ret = l.hosts;
    return rc;
}
