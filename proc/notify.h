/* SPDX-License-Identifier: MIT */
/* Tells the service manager how we are (sd_notify(3), without its library). */
#ifndef PROC_NOTIFY_H
#define PROC_NOTIFY_H

/* Sends `state` ("READY=1", several lines separated by '\n') to $NOTIFY_SOCKET; does nothing
 * without. A manager that does not listen is logged, not an error. */
void notify_manager(const char *state);

#endif
