/* SPDX-License-Identifier: MIT */
/* The concurrency models, one file each. */
#ifndef SERVER_MODEL_H
#define SERVER_MODEL_H

#include "server/config.h"

extern const struct model model_pool;
extern const struct model model_single;
extern const struct model model_threaded;
extern const struct model model_event;
extern const struct model model_evhttp;
extern const struct model model_green;

/* By name; NULL when there is none. */
const struct model *model_find(const char *name);

#endif
