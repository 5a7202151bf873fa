/* SPDX-License-Identifier: MIT */
/* The real nginx, unprivileged, in a temporary folder, as the proxy of a playground. */
#ifndef PLAYGROUND_NGINX_H
#define PLAYGROUND_NGINX_H

#include "playground/program.h"

/* args: "nginx", the protocol towards the upstream (`http` or `uwsgi`), and the upstream's URL. */
extern const struct program program_nginx;

#endif
