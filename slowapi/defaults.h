/* SPDX-License-Identifier: MIT */
/* Parameters that hold for requests that do not say otherwise: those of options, and of the
 * listening address. */
#ifndef SLOWAPI_DEFAULTS_H
#define SLOWAPI_DEFAULTS_H

#include "slowapi/config.h"
#include "slowapi/shared.h"
#include "slowapi/spec.h"

/* Takes the defaults of the address `bind`; spec->memory is there, for their lists. 0, or -EINVAL
 * with a reason. */
NODISCARD int defaults_take(struct spec *spec, const struct slowapi_config *config, size_t bind,
                            struct error *err);

/* Whether the defaults are parameters and keep to --max-delay: 0, or -EINVAL with a reason. */
NODISCARD int defaults_check(const struct slowapi_config *config, struct error *err);

/* For shared->check_rule. */
NODISCARD int defaults_check_rule(const struct shared *shared, const struct spec *spec,
                                  struct error *why);

/* Finds the first fault that only a connection with TLS can have; NULL: none. */
const struct fault_info *defaults_tls_fault(const struct spec *spec);

/* Whether they are nothing but a fixed delay. */
bool defaults_are_plain(const struct spec *spec);

#endif
