/* SPDX-License-Identifier: MIT */
/* Says which function of an object, on which request, has crashed a worker. */
#ifndef SERVER_CRASH_H
#define SERVER_CRASH_H

#include "http/head.h"
#include "srv/app.h"

/* Handles the signals of crashes from here on, in a worker that has loaded `app` from the object at
 * that path: a line on stderr with `name`, then the default action. Sanitizers have their own
 * report: nothing happens under them. `name` is not copied. Best effort: what fails is left out of
 * the line. */
void crash_watch(const char *name, const char *path, const struct srv_app *app);

/* The request that the calling thread runs from here on; NULL: none. */
void crash_runs(const struct http_head *head);

/* A thread whose requests are fibers asks `running` instead, in the signal handler. NULL: no more.
 */
void crash_ask(const struct http_head *(*running)(void *arg), void *arg);

#endif
