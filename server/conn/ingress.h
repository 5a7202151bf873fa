/* SPDX-License-Identifier: MIT */
/* The road that requests take over a connection: plain HTTP, behind a PROXY header, or as uwsgi
 * packets. All become the same events and the same head. Private to session.c. */
#ifndef SERVER_ROAD_H
#define SERVER_ROAD_H

#include "server/conn/session.h"

/* How requests come, when not just as HTTP: bits of session->ingress. */
enum session_road {
    SESSION_INGRESS_PROXY = 1, /* a PROXY header, which has not come yet, before the rest */
    SESSION_INGRESS_UWSGI = 2, /* one uwsgi packet, one answer */
};

/* Sets session->ingress for a connection to the i-th address of the configuration. */
void ingress_begin(struct session *s, size_t listener);

/* As http_conn_feed, and fills s->head. After the HEAD of a uwsgi packet nothing points into
 * `input`. */
size_t ingress_feed(struct session *s, struct slice input, struct http_event *ev);

/* Applies --header-map to the fields of a new head. NULL, or why it is refused. */
const char *ingress_map_fields(struct session *s);

#endif
