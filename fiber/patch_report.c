/* SPDX-License-Identifier: MIT */
/* Reads the symbol tables of loaded objects, and prints which of their calls wait how. */
#include "fiber/patch_report.h"
#include "base/alloc.h"
#include "base/path.h"
#include "fiber/patch_calls.h" /* made by fiber/meson.build */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { LIBRARIES_MAX = 256, COLUMNS = 80, INDENT = 13 };

/* Bounds of the program's own code. */
extern const char __executable_start[], etext[];

/* --- the table -------------------------------------------------------------------------------- */

/* Columns of the table of calls in fiber/meson.build, in the order of the report. */
enum way { PARKS, RETRIES, THREAD, WAKES, STREAMS, USERS, BLOCKS, FORKS, STARTS, OPENS, WAYS };

static const struct {
    const char *label; /* "": not told */
    const char *meaning;
} ways[] = {
    [PARKS] = { "parks", "the request waits, and others run meanwhile" },
    [RETRIES] = { "retries", "tried again every 1 to 10 ms, and others run in between (of fcntl: "
                             "F_SETLKW, of syscall: SYS_futex)" },
    [THREAD] = { "thread", "made on a thread, and others run meanwhile" },
    [WAKES] = { "", "" },
    [STREAMS] = { "streams", "block all requests of the worker when the stream is a pipe, a "
                             "terminal or a socket; files do not wait" },
    [USERS] = { "users", "block when /etc/nsswitch.conf names a server for users and groups" },
    [BLOCKS] = { "blocks", "holds up all requests of the worker: use srv_offload, or --model "
                           "pool" },
    [FORKS] = { "forks", "in the child nothing is patched" },
    [STARTS] = { "threads", "threads of its own are not patched, and hold nobody up" },
    [OPENS] = { "opens", "libraries that it opens later are not in this report; those opened with "
                         "RTLD_DEEPBIND or dlmopen are not patched" },
};

#define ROW(name, way)       { #name, way, true },
#define OTHER_ROW(name, way) { #name, way, false },
static const struct {
    const char *name;
    enum way way;
    bool hooked; /* by the program */
} calls[] = { PATCH_CALLS(ROW) PATCH_OTHERS(OTHER_ROW) };
#undef ROW
#undef OTHER_ROW

/* True if the program defines the call, and it is found there first. */
static bool is_ours(const void *address) {
    return (const char *)address >= __executable_start && (const char *)address < etext;
}

/* --- one library ------------------------------------------------------------------------------ */

struct library {
    const struct link_map *map;
    const ElfW(Sym) * symbols;
    const char *names;
    size_t count;
    const char *soname; /* or the name of its file */
    const char *user;   /* name of the library that needs it; NULL: it was opened by name */
    bool system;        /* libc and what belongs to it, or to a sanitizer */
};

/* glibc has relocated the addresses in the dynamic section, but where that is read-only. */
static const void *pointer_of(const struct link_map *map, ElfW(Addr) value) {
    return (const void *)(value < map->l_addr ? map->l_addr + value : value);
}

static const ElfW(Dyn) * find_entry(const struct link_map *map, ElfW(Sxword) tag) {
    for (const ElfW(Dyn) *at = map->l_ld; at->d_tag != DT_NULL; at++)
        if (at->d_tag == tag)
            return at;
    return NULL;
}

static const void *find_table(const struct link_map *map, ElfW(Sxword) tag) {
    const ElfW(Dyn) *entry = find_entry(map, tag);

    return entry != NULL ? pointer_of(map, entry->d_un.d_ptr) : NULL;
}

/* The number of symbols up to the last that the table knows, whose hash is odd. Those that are only
 * asked for stand before the first. */
static size_t count_gnu(const uint32_t *table) {
    uint32_t buckets = table[0], first = table[1], bloom = table[2], last = 0;
    const uint32_t *bucket = table + 4 + bloom * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
    const uint32_t *chain = bucket + buckets;

    for (uint32_t i = 0; i < buckets; i++)
        if (bucket[i] > last)
            last = bucket[i];
    if (last < first)
        return first;
    while ((chain[last - first] & 1) == 0)
        last++;
    return last + 1;
}

/* One of the two tables of relocations, DT_JMPREL or DT_RELA, and the number of its rows. */
static size_t find_relocations(const struct link_map *map, ElfW(Sxword) table, ElfW(Sxword) size,
                               const ElfW(Rela) * *ret) {
    const ElfW(Dyn) *bytes = find_entry(map, size);

    *ret = find_table(map, table);
    return *ret != NULL && bytes != NULL ? bytes->d_un.d_val / sizeof(**ret) : 0;
}

/* The number of symbols that relocations name: of all that calls are bound to. */
static size_t count_bound(const struct link_map *map, ElfW(Sxword) table, ElfW(Sxword) size) {
    const ElfW(Rela) * rows;
    size_t count = find_relocations(map, table, size, &rows), ret = 0;

    for (size_t i = 0; i < count; i++)
        if (ELF64_R_SYM(rows[i].r_info) >= ret)
            ret = ELF64_R_SYM(rows[i].r_info) + 1;
    return ret;
}

static size_t count_symbols(const struct link_map *map) {
    const uint32_t *plain = find_table(map, DT_HASH), *gnu = find_table(map, DT_GNU_HASH);
    size_t hashed = gnu != NULL ? count_gnu(gnu) : 0;
    size_t jumps = count_bound(map, DT_JMPREL, DT_PLTRELSZ);
    size_t others = count_bound(map, DT_RELA, DT_RELASZ);

    if (plain != NULL)
        return plain[1];
    if (jumps > hashed)
        hashed = jumps;
    return others > hashed ? others : hashed;
}

static void open_library(struct library *l, const struct link_map *map) {
    const ElfW(Dyn) *soname = find_entry(map, DT_SONAME);

    *l = (struct library){ .map = map,
                           .symbols = find_table(map, DT_SYMTAB),
                           .names = find_table(map, DT_STRTAB),
                           .count = count_symbols(map) };
    l->soname =
        soname != NULL && l->names != NULL ? l->names + soname->d_un.d_val : basename(map->l_name);
    l->system = path_is_system_library(l->soname) || path_is_system_library(basename(map->l_name));
    if (l->symbols == NULL || l->names == NULL)
        l->count = 0;
}

/* --- where a call is bound -------------------------------------------------------------------- */

#if defined(__x86_64__)
static bool is_address(uint64_t info) {
    uint64_t type = ELF64_R_TYPE(info);

    return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT || type == R_X86_64_64;
}
#elif defined(__aarch64__)
static bool is_address(uint64_t info) {
    uint64_t type = ELF64_R_TYPE(info);

    return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT || type == R_AARCH64_ABS64;
}
#else
static bool is_address(uint64_t info) {
    (void)info;
    return false;
}
#endif

/* Finds the place that the dynamic linker has filled in for a symbol, among relocations. NULL:
 * there is none. */
static const void *const *find_slot(const struct library *l, ElfW(Sxword) table, ElfW(Sxword) size,
                                    size_t symbol) {
    const ElfW(Rela) * rows;
    size_t count = find_relocations(l->map, table, size, &rows);

    for (size_t i = 0; i < count; i++)
        if (ELF64_R_SYM(rows[i].r_info) == symbol && is_address(rows[i].r_info))
            return (const void *const *)(l->map->l_addr + rows[i].r_offset);
    return NULL;
}

/* Where calls of a hooked name go; NULL: to the program, as they should. One that was not bound yet
 * (lazy binding) leads into the library itself, and will. */
static const char *bound_elsewhere(const struct library *l, size_t i) {
    const void *const *slot = find_slot(l, DT_JMPREL, DT_PLTRELSZ, i);
    bool defined = l->symbols[i].st_shndx != SHN_UNDEF;
    Dl_info info;

    if (slot == NULL)
        slot = find_slot(l, DT_RELA, DT_RELASZ, i);
    if (slot == NULL)
        return defined ? "itself" : NULL;
    if (is_ours(*slot) || dladdr(*slot, &info) == 0)
        return NULL;
    if (info.dli_fbase == (void *)l->map->l_addr)
        return defined ? "itself" : NULL;
    return basename(info.dli_fname);
}

/* --- the calls of a library ------------------------------------------------------------------- */

/* One of them, in the order of the table; zeroed before the first. */
struct call {
    size_t next; /* in the table */
    const char *name;
    enum way way;
    const char *elsewhere; /* bound_elsewhere, of a call that is hooked */
};

/* Index of a symbol that the library asks others for, or that it has itself; 0: none. */
static size_t find_symbol(const struct library *l, const char *name) {
    for (size_t i = 1; i < l->count; i++)
        if (ELF64_ST_BIND(l->symbols[i].st_info) != STB_LOCAL &&
            strcmp(l->names + l->symbols[i].st_name, name) == 0)
            return i;
    return 0;
}

static bool next_call(const struct library *l, struct call *c) {
    while (c->next < ARRAY_LEN(calls)) {
        bool hooked = calls[c->next].hooked;

        c->name = calls[c->next].name;
        c->way = calls[c->next++].way;
        size_t symbol = find_symbol(l, c->name);
        if (symbol == 0 || ways[c->way].label[0] == '\0' ||
            (!hooked && l->symbols[symbol].st_shndx != SHN_UNDEF))
            continue;
        c->elsewhere = hooked ? bound_elsewhere(l, symbol) : NULL;
        return true;
    }
    return false;
}

static bool waits_in_nothing(const struct library *l) {
    struct call call = { .next = 0 };

    return !next_call(l, &call);
}

/* --- printing --------------------------------------------------------------------------------- */

struct report_line {
    FILE *out;
    size_t column; /* 0: nothing stands there yet */
};

static void begin_line(struct report_line *l, const char *label) {
    l->column = (size_t)fprintf(l->out, "    %-*s", INDENT - 4, label);
}

static void put_word(struct report_line *l, const char *word) {
    size_t len = strlen(word);

    if (l->column > INDENT && l->column + 1 + len > COLUMNS)
        l->column = (size_t)fprintf(l->out, "\n%*s", INDENT, "") - 1;
    else if (l->column > INDENT)
        l->column += (size_t)fprintf(l->out, " ");
    l->column += (size_t)fprintf(l->out, "%s", word);
}

static void put_text(struct report_line *l, const char *text) {
    char word[64];

    for (; *text != '\0'; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");

        snprintf(word, sizeof(word), "%.*s", (int)len, text);
        put_word(l, word);
        text += len;
    }
}

static void end_line(struct report_line *l) {
    if (l->column > 0)
        fputc('\n', l->out);
    l->column = 0;
}

/* --- the report ------------------------------------------------------------------------------- */

struct coverage {
    FILE *out;
    size_t count;
    struct library libraries[LIBRARIES_MAX];
    unsigned used[WAYS]; /* calls of that way, in all libraries */
    unsigned elsewhere;  /* calls that would park, and are bound elsewhere */
};

static void print_way(struct coverage *r, const struct library *l, enum way way) {
    struct report_line line = { .out = r->out };

    for (struct call c = { .next = 0 }; next_call(l, &c);) {
        if (c.way != way || c.elsewhere != NULL)
            continue;
        if (line.column == 0)
            begin_line(&line, ways[way].label);
        put_word(&line, c.name);
        r->used[way]++;
    }
    end_line(&line);
}

static bool is_bound_to(const struct call *c, const char *where) {
    return c->elsewhere != NULL && strcmp(c->elsewhere, where) == 0;
}

/* True if a call before that one is bound to the same place. */
static bool is_grouped(const struct library *l, const struct call *c) {
    for (struct call before = { .next = 0 }; next_call(l, &before) && before.next < c->next;)
        if (is_bound_to(&before, c->elsewhere))
            return true;
    return false;
}

static void print_elsewhere(struct coverage *r, const struct library *l) {
    for (struct call c = { .next = 0 }; next_call(l, &c);) {
        struct report_line line = { .out = r->out };
        char text[100];

        if (c.elsewhere == NULL || is_grouped(l, &c))
            continue;
        begin_line(&line, "not ours");
        for (struct call same = { .next = 0 }; next_call(l, &same);)
            if (is_bound_to(&same, c.elsewhere))
                put_word(&line, same.name);
        snprintf(text, sizeof(text), "(bound to %s)", c.elsewhere);
        put_text(&line, text);
        end_line(&line);
        r->elsewhere++;
    }
}

static void print_library(struct coverage *r, const struct library *l) {
    if (l == &r->libraries[0])
        fprintf(r->out, "%s\n", l->soname);
    else if (l->user != NULL)
        fprintf(r->out, "\n%s, which %s needs\n", l->soname, l->user);
    else
        fprintf(r->out, "\n%s, opened while loading\n", l->soname);
    if (waits_in_nothing(l))
        fprintf(r->out, "    calls none of libc's waits itself\n");
    for (unsigned way = 0; way < WAYS; way++)
        print_way(r, l, (enum way)way);
    print_elsewhere(r, l);
}

/* The names of those that are not told on their own. */
static void print_rest(struct coverage *r, const char *label, bool system, const char *why) {
    struct report_line line = { .out = r->out };

    for (size_t i = 1; i < r->count; i++) {
        struct library *l = &r->libraries[i];

        if (l->system != system || (!system && !waits_in_nothing(l)))
            continue;
        if (line.column == 0)
            fprintf(r->out, "\n%s\n", label);
        if (line.column == 0)
            begin_line(&line, "");
        put_word(&line, l->soname);
    }
    if (line.column == 0)
        return;
    end_line(&line);
    if (why == NULL)
        return;
    begin_line(&line, "");
    put_text(&line, why);
    end_line(&line);
}

static void print_meanings(const struct coverage *r) {
    struct report_line line = { .out = r->out };

    fputc('\n', r->out);
    for (unsigned way = 0; way < WAYS; way++) {
        if (r->used[way] == 0)
            continue;
        begin_line(&line, ways[way].label);
        put_text(&line, ways[way].meaning);
        end_line(&line);
    }
    if (r->elsewhere > 0) {
        begin_line(&line, "not ours");
        put_text(&line, "not patched, since the call does not reach srv's: the library has its own "
                        "(-Bsymbolic), or was opened with RTLD_DEEPBIND");
        end_line(&line);
    }
}

/* --- which libraries -------------------------------------------------------------------------- */

static struct library *find_library(struct coverage *r, const struct link_map *map) {
    for (size_t i = 0; i < r->count; i++)
        if (r->libraries[i].map == map)
            return &r->libraries[i];
    return NULL;
}

static void add_library(struct coverage *r, const struct link_map *map, const char *user) {
    if (r->count == LIBRARIES_MAX || find_library(r, map) != NULL)
        return;
    open_library(&r->libraries[r->count], map);
    r->libraries[r->count++].user = user;
}

static bool is_named(const struct link_map *map, const char *name) {
    const ElfW(Dyn) *soname = find_entry(map, DT_SONAME);
    const char *names = find_table(map, DT_STRTAB);

    return strcmp(basename(map->l_name), basename(name)) == 0 ||
           (soname != NULL && names != NULL && strcmp(names + soname->d_un.d_val, name) == 0);
}

/* Adds what the library at that place needs: the list grows while it is walked. */
static void add_needed(struct coverage *r, size_t at, const struct link_map *all) {
    struct library *l = &r->libraries[at];

    for (const ElfW(Dyn) *d = l->map->l_ld; l->names != NULL && d->d_tag != DT_NULL; d++) {
        const struct link_map *map = all;

        if (d->d_tag != DT_NEEDED)
            continue;
        while (map != NULL && !is_named(map, l->names + d->d_un.d_val))
            map = map->l_next;
        if (map != NULL)
            add_library(r, map, l->soname);
    }
}

static void add_all_needed(struct coverage *r, const struct link_map *all) {
    for (size_t i = 0; i < r->count; i++)
        if (!r->libraries[i].system)
            add_needed(r, i, all);
}

/* Libraries that neither the object nor the program needs were opened by name. */
static int add_opened(struct coverage *r, const struct link_map *all) {
    struct coverage *program = mem_calloc(1, sizeof(*program));

    if (program == NULL)
        return -ENOMEM;
    add_library(program, all, NULL);
    for (size_t i = 0; i < program->count; i++)
        add_needed(program, i, all);
    for (const struct link_map *map = all->l_next; map != NULL; map = map->l_next)
        if (find_library(program, map) == NULL)
            add_library(r, map, NULL);
    mem_free(program);
    add_all_needed(r, all);
    return 0;
}

int patch_report(FILE *out, void *object, const char *name) {
    struct coverage *r = mem_calloc(1, sizeof(*r));
    const struct link_map *all;
    struct link_map *map;
    int rc = r != NULL ? 0 : -ENOMEM;

    if (rc == 0 && dlinfo(object, RTLD_DI_LINKMAP, &map) != 0)
        rc = -EINVAL;
    if (rc == 0) {
        r->out = out;
        for (all = map; all->l_prev != NULL;)
            all = all->l_prev;
        add_library(r, map, NULL);
        r->libraries[0].soname = basename(name);
        add_all_needed(r, all);
        rc = add_opened(r, all);
    }
    if (rc == 0) {
        for (size_t i = 0; i < r->count; i++)
            if (i == 0 || (!r->libraries[i].system && !waits_in_nothing(&r->libraries[i])))
                print_library(r, &r->libraries[i]);
        print_rest(r, "These wait in nothing:", false, NULL);
        print_rest(r, "These are the system's, and not looked at:", true,
                   "What they wait for inside is told above, by the calls that lead there.");
        if (r->count == LIBRARIES_MAX)
            fprintf(out, "\nMore than %d libraries: the others are not in this report.\n",
                    LIBRARIES_MAX);
        print_meanings(r);
    }
    mem_free(r);
    return rc;
}
