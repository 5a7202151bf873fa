/* SPDX-License-Identifier: MIT */
/* The tables of built-in applications. */
#include "server/app/app.h"
#include "base/attr.h"
#include <string.h>

/* Each is a file of examples/, compiled with another name for its srv_app. */
extern const struct srv_app srv_app_cpu, srv_app_db, srv_app_echo, srv_app_index, srv_app_self;

const struct app app_cpu = { .name = "cpu", .built_in = &srv_app_cpu };
const struct app app_db = { .name = "db", .built_in = &srv_app_db };
const struct app app_echo = { .name = "echo", .built_in = &srv_app_echo };
const struct app app_index = { .name = "index", .built_in = &srv_app_index };
const struct app app_self = { .name = "self", .built_in = &srv_app_self };

const struct app *app_find(const char *name) {
    static const struct app *const apps[] = { &app_index, &app_db, &app_cpu, &app_self, &app_echo };

    for (size_t i = 0; i < ARRAY_LEN(apps); i++)
        if (strcmp(apps[i]->name, name) == 0)
            return apps[i];
    return NULL;
}
