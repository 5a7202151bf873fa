/* SPDX-License-Identifier: MIT */
/* The server's side of a WebSocket that sends back what it gets (RFC 6455), without its socket.
 *
 *   websocket_accept(key, text)            the handshake's answer
 *   websocket_init(&ws, message, fragment)
 *   rc = websocket_echo(&ws, input, &out)  send what is in `out`; rc 1: that was the last
 *   websocket_free(&ws)
 */
#ifndef HTTP_WEBSOCKET_H
#define HTTP_WEBSOCKET_H

#include "base/buf.h"

#define WEBSOCKET_ACCEPT_BYTES  29 /* with its NUL */
#define WEBSOCKET_CONTROL_BYTES 125
#define WEBSOCKET_HEAD_BYTES    14 /* the longest head of a frame */

enum websocket_code {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_NO_UTF8 = 1007,
    WEBSOCKET_TOO_BIG = 1009,
};

struct websocket {
    struct buf message;                      /* the frames of a message that is not complete */
    uint64_t fragment_bytes_max, left_bytes; /* left of the frame that comes */
    uint8_t head[WEBSOCKET_HEAD_BYTES];
    uint8_t head_len;
    uint8_t opcode;         /* the frame's */
    uint8_t message_opcode; /* 0: no message has begun */
    uint8_t mask_at;        /* byte of the mask that is next */
    uint8_t control_len;
    char control[WEBSOCKET_CONTROL_BYTES];
    bool is_in_frame, is_final, is_closed;
};

/* Writes Sec-WebSocket-Accept for that key. False: the key is not 16 bytes in base64. */
NODISCARD bool websocket_accept(struct slice key, char ret[static WEBSOCKET_ACCEPT_BYTES]);

/* Limits of a message and of one frame of it, in bytes. */
void websocket_init(struct websocket *ws, size_t message_bytes_max, uint64_t fragment_bytes_max);
void websocket_free(struct websocket *ws);

/* Takes all of `input`, any part of a stream of frames, and appends the answers to `out`: no more
 * than a message and the input hold. 0; 1: a Close is among them, and the connection is to end
 * when it is sent; or as buf_append. */
NODISCARD int websocket_echo(struct websocket *ws, struct slice input, struct buf *out);

/* Appends a Close of our own. As websocket_echo. */
NODISCARD int websocket_close(struct websocket *ws, enum websocket_code code, struct buf *out);

#endif
