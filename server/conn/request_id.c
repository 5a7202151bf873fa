/* SPDX-License-Identifier: MIT */
/* Makes ids from a key and a count: no system call for any of them. */
#include "server/conn/request_id.h"
#include "base/clock.h"
#include <sys/random.h>
#include <unistd.h>

void request_ids_open(struct request_ids *ids, const char *field, const struct cidr_list *trusted) {
    *ids = (struct request_ids){ .field = slice_str(field), .trusted = trusted };
    if (getrandom(ids->key, sizeof(ids->key), 0) != (ssize_t)sizeof(ids->key)) {
        ids->key[0] = (uint64_t)clock_wall();
        ids->key[1] = (uint64_t)clock_now() ^ (uint64_t)getpid() << 32;
    }
}

/* The finaliser of SplitMix64, a bijection: Steele, Lea, Flood, "Fast splittable pseudorandom
 * number generators", 2014. */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static struct request_id make(struct request_ids *ids) {
    uint64_t count = atomic_fetch_add_explicit(&ids->count, 1, memory_order_relaxed) + 1;
    struct request_id id = { .high = mix(ids->key[0] + count * 0x9e3779b97f4a7c15U) };

    id.low = mix(ids->key[1] ^ id.high);
    return id;
}

/* Puts the digits into `text`, of REQUEST_ID_BYTES, with a NUL. */
static struct slice format(struct request_id id, char *text) {
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < 16; i++) {
        text[i] = digits[id.high >> (60 - 4 * i) & 15];
        text[16 + i] = digits[id.low >> (60 - 4 * i) & 15];
    }
    text[32] = '\0';
    return slice_of(text, 32);
}

static bool is_plain(char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != '\0' && strchr("-._~+/=:@", c) != NULL);
}

static bool find(const struct http_head *head, struct slice field, struct slice *ret) {
    struct slice value;

    if (!http_field_find(head, field, &value) || value.len == 0 || value.len > REQUEST_ID_LEN_MAX)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (!is_plain(value.ptr[i]))
            return false;
    *ret = value;
    return true;
}

struct slice request_id_text(struct request_id *own, struct request_ids *ids,
                             const struct http_head *head, const struct peer *peer,
                             char text[REQUEST_ID_BYTES]) {
    struct slice given;

    if (ids->field.len > 0 && cidr_list_has(ids->trusted, peer) && find(head, ids->field, &given))
        return given;
    if (own->high == 0 && own->low == 0)
        *own = make(ids);
    return format(*own, text);
}
