/* SPDX-License-Identifier: MIT */
/* The table of concurrency models. */
#include "server/model/model.h"
#include <string.h>

static const struct model *const models[] = { &model_green,  &model_pool,  &model_threaded,
                                              &model_single, &model_event, &model_evhttp };

const struct model *model_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (strcmp(models[i]->name, name) == 0)
            return models[i];
    return NULL;
}
