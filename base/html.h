/* SPDX-License-Identifier: MIT */
/* Pages in one file, that work without network and scripts: what those of all products share. */
#ifndef BASE_HTML_H
#define BASE_HTML_H

#include <stdio.h>

/* The style sheet, base/page.css made a string: colours for light and dark, cards, tables, facts,
 * axes. A page's own rules come behind it. */
extern const char html_style[];

/* Writes text, which is never markup: & < > " ' become references, control characters blanks. */
void html_text(FILE *out, const char *text);

/* Writes a template from `*at` up to the gap `name`, such as "<!--facts-->", and moves behind that.
 * The gap is there. */
void html_template(const char **at, const char *name, FILE *out);

#endif
