/* SPDX-License-Identifier: MIT */
/* The protocol that each address of `srv serve` speaks. */
#ifndef CMD_SERVE_PROTOCOL_H
#define CMD_SERVE_PROTOCOL_H

#include "server/config.h"

/* Takes http://, https:// (or tls://) and uwsgi:// off the addresses and fills config->protocols;
 * `fallback` (enum protocol) is that of addresses without one, within TLS when there is a
 * certificate for http. 0, or -EINVAL with a line: too many addresses, or ones that do not fit the
 * certificates. */
NODISCARD int serve_protocol_apply(struct serve_config *config, int fallback, struct error *err);

#endif
