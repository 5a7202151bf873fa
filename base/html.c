/* SPDX-License-Identifier: MIT */
/* Writes text into pages. */
#include "base/html.h"
#include "base/assert.h"
#include <string.h>

void html_text(FILE *out, const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        if (strchr("&<>\"'", *c) != NULL)
            fprintf(out, "&#%d;", *c);
        else
            fputc((unsigned char)*c < ' ' && *c != '\n' ? ' ' : *c, out);
    }
}

void html_template(const char **at, const char *name, FILE *out) {
    const char *gap = strstr(*at, name);
    ASSERT(gap != NULL);
    fwrite(*at, 1, (size_t)(gap - *at), out);
    *at = gap + strlen(name);
}
