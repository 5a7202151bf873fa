/* SPDX-License-Identifier: MIT */
/* A mix: requests that differ, from the lines of a file or from templates.
 *
 *   mix_open(&m, config, base, err)     maps the file, reads every line once, and refuses bad ones
 *     mix_next(m, &turn)                  any thread: which line is next in the run, and for whom
 *     mix_fill(m, &turn, &request)        its bytes
 *   mix_free(m)
 *
 * A line is read again for each request, for a file may have more of them than fit into memory:
 * eight bytes are kept per line, and eight more when the lines have weights. The choice depends on
 * the seed and on the number of the request in the run, so that it is the same for any number of
 * workers. */
#ifndef LOADGEN_MIX_H
#define LOADGEN_MIX_H

#include "loadgen/config.h"
#include "loadgen/input.h"
#include "loadgen/intern.h"
#include "loadgen/mix_line.h"
#include "loadgen/names.h"
#include "loadgen/replay.h"
#include "loadgen/request.h"
#include "loadgen/target.h"
#include "loadgen/template.h"
#include <stdatomic.h>

#define MIX_TARGETS_MAX 64   /* hosts, or ports of them */
#define MIX_FILES_MAX   1000 /* files of bodies */
#define MIX_TEXTS_MAX   1000 /* different texts that are expected in bodies */

struct load_mix;

/* The line that a request of the run is made from. */
struct mix_turn {
    uint64_t number; /* in the run, from 0 */
    size_t line;     /* the number among the requests, from 0 */
    size_t target;
};

/* A request that is filled anew for every exchange of a connection. All zero before the first. */
struct mix_request {
    struct request request;
    struct request_expect expect;
    struct buf body, text; /* expanded; unescaped */
};

/* Makes a mix when the configuration asks for one; *ret is NULL otherwise. `base` is the target of
 * the URL that is loaded; it stays, and is target 0. 0 or -errno with the reason: -EINVAL for
 * what the lines say. */
NODISCARD int mix_open(struct load_mix **ret, const struct loadgen_config *c, struct target *base,
                       struct error *err);
void mix_free(struct load_mix *m);

/* The targets: target 0 is `base`. */
size_t mix_target_count(const struct load_mix *m);
struct target *mix_target(const struct load_mix *m, size_t target);

/* The names that results are counted by; none: 0. */
char *const *mix_names(const struct load_mix *m, size_t *ret_count);

/* The number of lines that are requests. */
size_t mix_line_count(const struct load_mix *m);

/* The schedule of a log, whose line n is the n-th to be sent; NULL: it is no log. */
const struct replay *mix_replay(const struct load_mix *m);

/* The next request of the run. Any thread. */
void mix_next(struct load_mix *m, struct mix_turn *ret);

/* The bytes of a turn, in r->request. 0; -ENOMEM or -ENOBUFS; -ESTALE: a file is no longer what it
 * was when it was checked. Any thread. */
NODISCARD int mix_fill(const struct load_mix *m, const struct mix_turn *turn,
                       struct mix_request *r);
void mix_request_free(struct mix_request *r); /* and itself; takes NULL */

/* Copies the first URL of a file of requests, for runs that are given no other. 0, or -errno with
 * the reason. */
NODISCARD int mix_first_url(const char *path, char *url, size_t size, struct error *err);

extern const struct section mix_section;

/* --- between mix.c and mix_open.c ------------------------------------------------------------- */

enum {
    MIX_HEADERS_MAX = 64,               /* fields of one line */
    MIX_TEXT_BYTES_MAX = 64 << 20,      /* unescaped or expanded */
    MIX_URLS_MAX = 4 * MIX_TARGETS_MAX, /* spellings of hosts */
    MIX_NO_NAME = (1 << 15) - 1,
};

/* A line that is a request: where it begins, and the numbers of its target and name. */
struct mix_entry {
    uint64_t offset : 42;
    uint64_t target : 7;
    uint64_t name : 15;
};

/* Walker's alias method: a line, or the other one if a random number is not below `cutoff`. */
struct mix_alias {
    uint32_t cutoff, other;
};

/* A host that is loaded, with the fields that the options ask for: Host first. */
struct mix_host {
    struct target *target;
    struct slice prefix; /* before a path: a proxy is told the whole URL */
    char *prefix_text;
    struct buf tail;    /* " HTTP/1.1", these fields and the empty line, each with its CRLF */
    bool has_type;      /* the options name a Content-Type */
    bool close;         /* the options ask for it */
    bool has_templates; /* in the fields */
};

struct load_mix {
    const struct loadgen_config *config;
    struct input input;
    struct templates *templates; /* NULL: braces are braces */
    struct mix_entry *entries;
    size_t count, cap;
    struct mix_alias *aliases; /* NULL: without weights */
    bool is_random;
    struct replay replay;
    struct mix_line single; /* without a file: the request of the options */
    struct buf single_bytes;
    struct mix_host hosts[MIX_TARGETS_MAX];
    size_t host_count;
    struct intern urls; /* schemes and authorities as lines spell them */
    uint8_t url_hosts[MIX_URLS_MAX];
    struct intern names, files, texts;
    struct buf *bodies; /* by the number of the file */
    struct expect_body *expects;
    atomic_uint_fast64_t next;
};

/* One request in the making. */
struct mix_filling {
    const struct load_mix *m;
    const struct mix_host *host;
    struct mix_request *r;
    struct template_request values;
};

/* A text as it is meant; until the next call for that request. 0 or -ENOMEM. */
NODISCARD int mix_plain_of(struct mix_filling *f, struct mix_text text, struct slice *ret);

/* Where the host of a URL ends, and its path begins; 0: the URL is a path. */
size_t mix_path_at(struct slice url);

/* The target of a URL: behind its host, and before a fragment, which is not sent. */
struct slice mix_target_of(struct slice url);

/* A line that was read before, and had no fault then. 0, or -ESTALE: there is another text now. */
NODISCARD int mix_read_line(const struct load_mix *m, size_t number, struct mix_line *ret);

/* Fills a request from a line, as mix_fill does. */
NODISCARD int mix_fill_line(struct mix_filling *f, const struct mix_line *line);
void mix_request_init(struct mix_request *r);

#endif
