/* SPDX-License-Identifier: MIT */
/* The built-in applications. They use include/srv/handler.h and nothing else of the server. */
#ifndef SERVER_APP_H
#define SERVER_APP_H

#include "srv/handler.h"

extern const struct srv_app app_cpu;
extern const struct srv_app app_db;
extern const struct srv_app app_echo;
extern const struct srv_app app_index;
extern const struct srv_app app_self;

/* By name; NULL when there is none. */
const struct srv_app *app_find(const char *name);

#endif
