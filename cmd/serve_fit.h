/* SPDX-License-Identifier: MIT */
/* Whether the options of srv serve fit each other, and the model: none is ignored in silence. */
#ifndef CMD_SERVE_FIT_H
#define CMD_SERVE_FIT_H

#include "base/option.h"
#include "server/config.h"

/* Of options that stand in `argv`; a default from the environment is for whoever can use it. 0 or
 * -EINVAL with the option, and why it has no effect. */
NODISCARD int serve_fit_check(const struct option_spec *spec, int argc, char **argv,
                              const struct serve_config *config, struct error *err);

#endif
