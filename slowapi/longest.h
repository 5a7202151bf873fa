/* SPDX-License-Identifier: MIT */
/* The longest time of an exchange that is asked for, which --max-delay bounds. */
#ifndef SLOWAPI_LONGEST_H
#define SLOWAPI_LONGEST_H

#include "slowapi/content.h"
#include "slowapi/spec.h"

/* Tells how long the exchange takes that is asked for: the longest delay that a law names (draws of
 * normal, exp, lognormal and pareto may be longer), hangs, pauses, and the pace of `body`, or of
 * the plain one when NULL. Time that depends on other requests is not counted. NSEC_NEVER: for
 * ever. */
nsec_t longest_exchange(const struct spec *spec, const struct body *body);

/* The part of it that begins with the answer: the pace of the body and the hangs. */
nsec_t longest_answer(const struct spec *spec, const struct body *body);

#endif
