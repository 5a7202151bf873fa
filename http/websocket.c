/* SPDX-License-Identifier: MIT */
/* Takes frames apart, puts messages together, and sends them back. */
#include "http/websocket.h"
#include "base/base64.h"
#include <errno.h>
#include <openssl/evp.h>

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

#define FIN       0x80
#define RESERVED  0x70
#define MASKED    0x80
#define KEY_BYTES 16
#define GUID      "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */

bool websocket_accept(struct slice key, char ret[static WEBSOCKET_ACCEPT_BYTES]) {
    char plain[32], joined[64];
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (key.len != base64_size(KEY_BYTES) || base64_decode(key, plain) != KEY_BYTES)
        return false;
    memcpy(joined, key.ptr, key.len);
    memcpy(joined + key.len, GUID, strlen(GUID));
    if (EVP_Digest(joined, key.len + strlen(GUID), hash, &size, EVP_sha1(), NULL) != 1)
        return false;
    ret[base64_encode(slice_of((const char *)hash, size), BASE64_STANDARD, ret)] = '\0';
    return true;
}

void websocket_init(struct websocket *ws, size_t message_bytes_max, uint64_t fragment_bytes_max) {
    *ws = (struct websocket){ .fragment_bytes_max = fragment_bytes_max };
    buf_init(&ws->message, message_bytes_max);
}

void websocket_free(struct websocket *ws) {
    buf_free(&ws->message);
}

/* --- text ------------------------------------------------------------------------------------- */

/* Bytes of the character that begins with `c`; 0: none does. */
static size_t char_bytes(unsigned char c) {
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c < 0xe0)
        return 2;
    if (c >= 0xe0 && c < 0xf0)
        return 3;
    return c >= 0xf0 && c < 0xf5 ? 4 : 0;
}

/* The second byte rules out overlong forms, surrogates and what is above U+10FFFF (RFC 3629). */
static bool is_second(unsigned char first, unsigned char c) {
    unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

    return c >= least && c <= most;
}

static bool is_utf8(struct slice text) {
    const unsigned char *p = (const unsigned char *)text.ptr;
    size_t bytes;

    for (size_t i = 0; i < text.len; i += bytes) {
        bytes = char_bytes(p[i]);
        if (bytes == 0 || bytes > text.len - i || (bytes > 1 && !is_second(p[i], p[i + 1])))
            return false;
        for (size_t k = 2; k < bytes; k++)
            if ((p[i + k] & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/* --- frames out ------------------------------------------------------------------------------- */

static int append_frame(struct buf *out, enum opcode opcode, struct slice payload) {
    char head[10] = { (char)(FIN | opcode), (char)payload.len };
    size_t len = 2;

    if (payload.len > UINT16_MAX) {
        head[1] = 127;
        for (unsigned i = 0; i < 8; i++)
            head[len++] = (char)(payload.len >> (56 - 8 * i));
    } else if (payload.len > WEBSOCKET_CONTROL_BYTES) {
        head[1] = 126;
        head[len++] = (char)(payload.len >> 8);
        head[len++] = (char)payload.len;
    }
    int rc = buf_reserve(out, len + payload.len);
    if (rc == 0)
        rc = buf_append(out, slice_of(head, len));
    return rc == 0 ? buf_append(out, payload) : rc;
}

int websocket_close(struct websocket *ws, enum websocket_code code, struct buf *out) {
    const char payload[] = { (char)(code >> 8), (char)code };

    ws->is_closed = true;
    int rc = append_frame(out, CLOSE, slice_of(payload, sizeof(payload)));
    return rc < 0 ? rc : 1;
}

/* --- frames in -------------------------------------------------------------------------------- */

/* RFC 6455 section 7.4: codes that may stand in a frame. */
static bool is_code(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static int answer_close(struct websocket *ws, struct buf *out) {
    struct slice payload = slice_of(ws->control, ws->control_len);
    unsigned code = payload.len < 2 ? WEBSOCKET_NORMAL
                                    : (unsigned)(unsigned char)ws->control[0] << 8 |
                                          (unsigned char)ws->control[1];

    if (payload.len == 1 || !is_code(code))
        return websocket_close(ws, WEBSOCKET_PROTOCOL_ERROR, out);
    if (!is_utf8(slice_drop(payload, 2)))
        return websocket_close(ws, WEBSOCKET_NO_UTF8, out);
    ws->is_closed = true;
    int rc = append_frame(out, CLOSE, slice_take(payload, 2));
    return rc < 0 ? rc : 1;
}

static int end_message(struct websocket *ws, struct buf *out) {
    enum opcode opcode = ws->message_opcode;
    struct slice message = buf_unread(&ws->message);

    ws->message_opcode = 0;
    if (opcode == TEXT && !is_utf8(message))
        return websocket_close(ws, WEBSOCKET_NO_UTF8, out);
    int rc = append_frame(out, opcode, message);
    buf_free(&ws->message);
    return rc;
}

static int end_frame(struct websocket *ws, struct buf *out) {
    ws->is_in_frame = false;
    ws->head_len = 0;
    if (ws->opcode == CLOSE)
        return answer_close(ws, out);
    if (ws->opcode == PING)
        return append_frame(out, PONG, slice_of(ws->control, ws->control_len));
    return ws->opcode != PONG && ws->is_final ? end_message(ws, out) : 0;
}

/* The head's length, once its first two bytes are there. */
static size_t head_bytes(const struct websocket *ws) {
    unsigned length = ws->head[1] & 127;

    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (ws->head[1] & MASKED ? 4 : 0);
}

static uint64_t payload_bytes(const struct websocket *ws) {
    unsigned length = ws->head[1] & 127, bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
    uint64_t sum = 0;

    if (bytes == 0)
        return length;
    for (unsigned i = 0; i < bytes; i++)
        sum = sum << 8 | ws->head[2 + i];
    return sum;
}

static bool is_head_right(const struct websocket *ws) {
    bool is_control = ws->opcode >= CLOSE;

    if ((ws->head[0] & RESERVED) != 0 || (ws->head[1] & MASKED) == 0)
        return false;
    if (is_control)
        return ws->opcode <= PONG && ws->is_final && ws->left_bytes <= WEBSOCKET_CONTROL_BYTES;
    if (ws->opcode > BINARY || ws->left_bytes >> 63 != 0)
        return false;
    return (ws->opcode == CONTINUATION) == (ws->message_opcode != 0);
}

/* The head of a frame is complete. */
static int begin_frame(struct websocket *ws, struct buf *out) {
    ws->opcode = ws->head[0] & 15;
    ws->is_final = (ws->head[0] & FIN) != 0;
    ws->left_bytes = payload_bytes(ws);
    ws->is_in_frame = true;
    ws->mask_at = 0;
    ws->control_len = 0;
    if (!is_head_right(ws))
        return websocket_close(ws, WEBSOCKET_PROTOCOL_ERROR, out);
    if (ws->opcode >= CLOSE)
        return 0;
    if (ws->left_bytes > ws->fragment_bytes_max ||
        ws->left_bytes > ws->message.max - buf_unread(&ws->message).len)
        return websocket_close(ws, WEBSOCKET_TOO_BIG, out);
    if (ws->opcode != CONTINUATION)
        ws->message_opcode = ws->opcode;
    return 0;
}

static void unmask(struct websocket *ws, const char *from, size_t count, char *to) {
    const uint8_t *mask = ws->head + head_bytes(ws) - 4;

    for (size_t i = 0; i < count; i++)
        to[i] = (char)((uint8_t)from[i] ^ mask[(ws->mask_at + i) & 3]);
    ws->mask_at = (uint8_t)((ws->mask_at + count) & 3);
    ws->left_bytes -= count;
}

/* Takes bytes of the payload. */
static int take_payload(struct websocket *ws, struct slice part) {
    if (ws->opcode >= CLOSE) {
        unmask(ws, part.ptr, part.len, ws->control + ws->control_len);
        ws->control_len = (uint8_t)(ws->control_len + part.len);
        return 0;
    }
    int rc = buf_reserve(&ws->message, part.len);
    if (rc < 0)
        return rc;
    unmask(ws, part.ptr, part.len, buf_tail(&ws->message));
    buf_added(&ws->message, part.len);
    return 0;
}

int websocket_echo(struct websocket *ws, struct slice input, struct buf *out) {
    int rc = 0;

    while (rc == 0 && !ws->is_closed) {
        if (!ws->is_in_frame) {
            if (input.len == 0)
                return 0;
            ws->head[ws->head_len++] = (uint8_t)input.ptr[0];
            input = slice_drop(input, 1);
            if (ws->head_len >= 2 && ws->head_len == head_bytes(ws))
                rc = begin_frame(ws, out);
            continue;
        }
        struct slice part = slice_take(input, ws->left_bytes);
        if (part.len > 0)
            rc = take_payload(ws, part);
        input = slice_drop(input, part.len);
        if (rc == 0 && ws->left_bytes == 0)
            rc = end_frame(ws, out);
        else if (rc == 0 && input.len == 0)
            return 0;
    }
    return rc < 0 ? rc : ws->is_closed;
}
