/* SPDX-License-Identifier: MIT */
/* The table of built-in applications. */
#include "server/app.h"

static const struct srv_app *const apps[] = { &app_index, &app_db, &app_echo };

const struct srv_app *app_at(size_t i) {
    return i < ARRAY_LEN(apps) ? apps[i] : NULL;
}

const struct srv_app *app_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(apps); i++)
        if (strcmp(apps[i]->name, name) == 0)
            return apps[i];
    return NULL;
}
