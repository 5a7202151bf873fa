/* SPDX-License-Identifier: MIT */
/* `srv serve`: opens the sockets, then runs the model in this process or in workers under a master.
 */
#ifndef SERVER_SERVE_H
#define SERVER_SERVE_H

#include "server/config.h"

/* Serves until told to stop. The exit code of the process; the reason of a failure goes to stderr.
 */
NODISCARD int serve_run(const struct serve_config *config);

/* Checks what serve_run needs before it binds, beyond what the parser of the options has checked:
 * the access log can be opened. 0 or -errno with a reason. */
NODISCARD int serve_check(const struct serve_config *config, struct error *err);

#endif
