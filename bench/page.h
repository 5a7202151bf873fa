/* SPDX-License-Identifier: MIT */
/* A report as a page for a browser: one file, without network and scripts. */
#ifndef BENCH_PAGE_H
#define BENCH_PAGE_H

#include "base/attr.h"
#include <jansson.h>
#include <stdio.h>

/* Writes the page of a report of schema "srv-bench/1", with another one beside it unless `against`
 * is NULL. All figures are those of the reports; members that the page does not know become
 * tables. 0, -ENOMEM, or the -errno of what could not be written. */
NODISCARD int page_write(FILE *out, json_t *report, json_t *against);

#endif
