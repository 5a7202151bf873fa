/* SPDX-License-Identifier: MIT */
/* The servers whose job srv does, with the small apps of scripts/peers/: started as their users do,
 * loaded as ours are. */
#ifndef PLAYGROUND_PEER_H
#define PLAYGROUND_PEER_H

#include "playground/program.h"

/* args are the words of the server, as in a shell; {port} is its own port.
 * `package` lists, with blanks between, the Debian packages that it needs. It runs in the
 * folder of the apps, with PORT_APP and PORT_API in its environment. Its URL is http://, or
 * uwsgi:// when args have --uwsgi-socket.
 */
extern const struct program program_peer;

/* Takes the servers' own settings (FLASK_APP, WEB_CONCURRENCY, PYTHONPATH, ...) out of the
 * environment, which their playgrounds inherit. */
void peer_forget_settings(void);

/* Playgrounds in the order of the catalogue's rows that they belong to. */
extern const struct playground peers[];
extern const size_t peer_count;

#endif
