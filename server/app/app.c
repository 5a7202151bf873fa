/* SPDX-License-Identifier: MIT */
/* The tables of built-in applications. */
#include "server/app/app.h"
#include "server/app/event_app.h"

static const struct srv_app *const apps[] = { &app_index, &app_db, &app_cpu, &app_self, &app_echo };

const struct srv_app *app_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(apps); i++)
        if (strcmp(apps[i]->name, name) == 0)
            return apps[i];
    return NULL;
}

const struct event_app *event_app_find(const struct srv_app *app) {
    static const struct event_app echo = { .app = &app_echo };
    static const struct event_app *const event_apps[] = { &event_app_index, &echo };

    for (size_t i = 0; i < ARRAY_LEN(event_apps); i++)
        if (event_apps[i]->app == app)
            return event_apps[i];
    return NULL;
}
