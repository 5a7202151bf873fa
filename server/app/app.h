/* SPDX-License-Identifier: MIT */
/* What `srv serve APP` serves: an application of examples/ that is compiled in, or an object. */
#ifndef SERVER_APP_H
#define SERVER_APP_H

#include "srv/app.h"

struct app {
    const char *name;               /* or the path of the object */
    const struct srv_app *built_in; /* NULL: an object */
};

extern const struct app app_cpu;
extern const struct app app_db;
extern const struct app app_echo;
extern const struct app app_index;
extern const struct app app_self;

/* A built-in one by name; NULL when there is none. */
const struct app *app_find(const char *name);

#endif
