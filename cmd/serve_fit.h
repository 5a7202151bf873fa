/* SPDX-License-Identifier: MIT */
/* Refuses options of srv serve that have no effect: none is ignored in silence. */
#ifndef CMD_SERVE_FIT_H
#define CMD_SERVE_FIT_H

#include "base/option.h"
#include "server/config.h"

/* Checks the options that stand in `argv`. A default from the environment may be without effect,
 * for one environment serves several programs. 0, or -EINVAL with the option and the reason. */
NODISCARD int serve_fit_check(const struct option_spec *spec, int argc, char **argv,
                              const struct serve_config *config, struct error *err);

#endif
