/* SPDX-License-Identifier: MIT */
/* Says what calls of an object, and of the libraries that it loads, patching covers: which park,
 * which get a thread, which block. From what their dynamic symbol tables ask for, and from where
 * the dynamic linker has bound that. elf(5), dlinfo(3). */
#ifndef FIBER_PATCH_REPORT_H
#define FIBER_PATCH_REPORT_H

#include "base/attr.h"
#include <stdio.h>

/* Prints that for `object`, which dlopen returned and users know as `name`; 80 columns. 0, or
 * -ENOMEM; -EINVAL: that is no object. */
NODISCARD int patch_report(FILE *out, void *object, const char *name);

#endif
