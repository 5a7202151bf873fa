/* SPDX-License-Identifier: MIT */
/* `srv serve --new NAME`: a folder to begin an application with. */
#ifndef CMD_SERVE_NEW_H
#define CMD_SERVE_NEW_H

/* Makes the folder NAME with an application, its build, its test and what to read, and prints what
 * to type next. The exit code; the reason of a failure goes to stderr. */
int serve_new(const char *name);

#endif
