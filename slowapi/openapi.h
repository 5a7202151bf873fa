/* SPDX-License-Identifier: MIT */
/* The description of the control endpoint for programs: an OpenAPI document, out of
 * openapi.json. */
#ifndef SLOWAPI_OPENAPI_H
#define SLOWAPI_OPENAPI_H

#include "base/attr.h"
#include <jansson.h>

/* The document, with the counters and the kinds of faults that there are. The reference is the
 * caller's; NULL when out of memory. */
NODISCARD json_t *openapi_json(void);

#endif
