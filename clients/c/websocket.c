/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * A WebSocket (RFC 6455) for one question and one answer at a time, over a connection that
 * libcurl opens, TLS included. libcurl's own WebSockets are too young to rely on.
 */
#define _POSIX_C_SOURCE 200809L

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "internal.h"

enum {
    ROOM_IN = 1 << 16,
    CONTINUATION = 0,
    TEXT = 1,
    BINARY = 2,
    CLOSE = 8,
    PING = 9,
    PONG = 10,
    FINAL = 0x80,
    RESERVED = 0x70,
    MASKED = 0x80,
    LONGEST_CONTROL = 125
};

/* Wait until the connection can be read or written. */
static CURLcode wait_for(struct pstn_socket *socket, short event)
{
    const double left_s = socket->deadline_s - pstn_now_s();
    curl_socket_t descriptor = CURL_SOCKET_BAD;
    struct pollfd polled;

    if (left_s <= 0.0)
        return CURLE_OPERATION_TIMEDOUT;
    curl_easy_getinfo(socket->curl, CURLINFO_ACTIVESOCKET, &descriptor);
    if (descriptor == CURL_SOCKET_BAD)
        return CURLE_RECV_ERROR;
    polled.fd = descriptor;
    polled.events = event;
    polled.revents = 0;
    poll(&polled, 1, (int)(1e3 * (left_s < 1e6 ? left_s : 1e6)) + 1);
    return CURLE_OK;
}

static CURLcode send_all(struct pstn_socket *socket, const unsigned char *bytes, size_t n)
{
    while (n > 0) {
        size_t n_sent = 0;
        CURLcode code = curl_easy_send(socket->curl, bytes, n, &n_sent);

        if (code == CURLE_AGAIN)
            code = wait_for(socket, POLLOUT);
        if (code != CURLE_OK)
            return code;
        bytes += n_sent;
        n -= n_sent;
    }
    return CURLE_OK;
}

/* Some bytes, at least one. */
static CURLcode receive_some(struct pstn_socket *socket, unsigned char *into, size_t room, size_t *n)
{
    for (;;) {
        CURLcode code = curl_easy_recv(socket->curl, into, room, n);

        if (code == CURLE_OK && *n == 0)
            return CURLE_GOT_NOTHING;
        if (code == CURLE_AGAIN)
            code = wait_for(socket, POLLIN);
        else
            return code;
        if (code != CURLE_OK)
            return code;
    }
}

/* Exactly so many bytes. */
static CURLcode receive_all(struct pstn_socket *socket, unsigned char *into, size_t n)
{
    while (n > 0) {
        size_t n_held = socket->last - socket->first, n_now = 0;

        if (n_held > 0) {
            n_now = n < n_held ? n : n_held;
            memcpy(into, socket->in + socket->first, n_now);
            socket->first += n_now;
        } else if (n >= ROOM_IN) {
            CURLcode code = receive_some(socket, into, n, &n_now);

            if (code != CURLE_OK)
                return code;
        } else {
            CURLcode code = receive_some(socket, socket->in, ROOM_IN, &n_now);

            if (code != CURLE_OK)
                return code;
            socket->first = 0;
            socket->last = n_now;
            continue;
        }
        into += n_now;
        n -= n_now;
    }
    return CURLE_OK;
}

int pstn_socket_room(posterion *handle, size_t n_bytes)
{
    struct pstn_socket *socket = &handle->socket;
    unsigned char *larger;

    if (PSTN_HEAD_BYTES + n_bytes <= socket->room)
        return 1;
    larger = realloc(socket->out, 2 * (PSTN_HEAD_BYTES + n_bytes));
    if (larger == NULL)
        return 0;
    socket->out = larger;
    socket->room = 2 * (PSTN_HEAD_BYTES + n_bytes);
    return 1;
}

/* Write the head of a frame so that it ends at `end`; returns where it begins. */
static unsigned char *put_head(unsigned char *end, int opcode, size_t n, const unsigned char mask[4])
{
    const int n_length = n < 126 ? 0 : n < 65536 ? 2 : 8;
    unsigned char *head = end - 6 - n_length;

    head[0] = (unsigned char)(FINAL | opcode);
    head[1] = (unsigned char)(MASKED | (n_length == 0 ? (int)n : n_length == 2 ? 126 : 127));
    for (int i = 0; i < n_length; i++)
        head[2 + i] = (unsigned char)((uint64_t)n >> (8 * (n_length - 1 - i)));
    memcpy(end - 4, mask, 4);
    return head;
}

static CURLcode send_frame(posterion *handle, int opcode, unsigned char *payload, size_t n)
{
    const uint32_t chance = (uint32_t)(pstn_chance(handle) >> 16);
    unsigned char mask[4], *head;

    memcpy(mask, &chance, sizeof mask);
    head = put_head(payload, opcode, n, mask);
    for (size_t i = 0; i < n; i++)
        payload[i] ^= mask[i % 4];
    return send_all(&handle->socket, head, (size_t)(payload + n - head));
}

CURLcode pstn_socket_send(posterion *handle, int is_text, size_t n_bytes)
{
    return send_frame(handle, is_text ? TEXT : BINARY, handle->socket.out + PSTN_HEAD_BYTES,
                      n_bytes);
}

/* A ping, a pong or a goodbye. */
static CURLcode control(posterion *handle, int opcode, size_t n)
{
    unsigned char frame[PSTN_HEAD_BYTES + LONGEST_CONTROL];
    CURLcode code = receive_all(&handle->socket, frame + PSTN_HEAD_BYTES, n);

    if (code != CURLE_OK || opcode == PONG)
        return code;
    if (opcode == PING)
        return send_frame(handle, PONG, frame + PSTN_HEAD_BYTES, n);
    handle->socket.closed_code = 1005;
    if (n >= 2)
        handle->socket.closed_code = frame[PSTN_HEAD_BYTES] << 8 | frame[PSTN_HEAD_BYTES + 1];
    return CURLE_GOT_NOTHING;
}

CURLcode pstn_socket_receive(posterion *handle)
{
    struct pstn_socket *socket = &handle->socket;
    struct pstn_answer *answer = &handle->answer;
    int begun = 0, final = 0;

    answer->n_bytes = 0;
    while (!final) {
        unsigned char head[10];
        CURLcode code = receive_all(socket, head, 2);
        int opcode = head[0] & 15, n_length = 0;
        uint64_t n = head[1] & 127;

        if (code != CURLE_OK)
            return code;
        n_length = n == 126 ? 2 : n == 127 ? 8 : 0;
        if ((code = receive_all(socket, head + 2, (size_t)n_length)) != CURLE_OK)
            return code;
        for (int i = 0; i < n_length; i++)
            n = (i == 0 ? 0 : n << 8) | head[2 + i];
        if ((head[0] & RESERVED) != 0 || (head[1] & MASKED) != 0)
            return CURLE_WEIRD_SERVER_REPLY;
        if (opcode >= CLOSE) {
            if (opcode > PONG || n > LONGEST_CONTROL || (head[0] & FINAL) == 0)
                return CURLE_WEIRD_SERVER_REPLY;
            if ((code = control(handle, opcode, (size_t)n)) != CURLE_OK)
                return code;
            continue;
        }
        if (opcode > BINARY || (opcode == CONTINUATION) != begun)
            return CURLE_WEIRD_SERVER_REPLY;
        if (!begun)
            socket->is_text = opcode == TEXT;
        begun = 1;
        if (n > answer->limit) {
            answer->too_long = 1;
            return CURLE_WRITE_ERROR;
        }
        if (!pstn_answer_room(answer, (size_t)n))
            return CURLE_WRITE_ERROR;
        if ((code = receive_all(socket, answer->body + answer->n_bytes, (size_t)n)) != CURLE_OK)
            return code;
        answer->n_bytes += (size_t)n;
        final = (head[0] & FINAL) != 0;
    }
    return CURLE_OK;
}

/* Read the head of an answer, ended by 0; what follows it stays for the messages. */
static CURLcode receive_head(struct pstn_socket *socket)
{
    socket->first = socket->last = 0;
    for (;;) {
        const char *end;
        size_t n = 0;
        CURLcode code = socket->last < ROOM_IN - 1
                            ? receive_some(socket, socket->in + socket->last,
                                           ROOM_IN - 1 - socket->last, &n)
                            : CURLE_WEIRD_SERVER_REPLY;

        if (code != CURLE_OK)
            return code;
        socket->last += n;
        socket->in[socket->last] = '\0';
        end = strstr((char *)socket->in, "\r\n\r\n");
        if (end != NULL) {
            socket->first = (size_t)(end + 4 - (char *)socket->in);
            socket->in[socket->first - 2] = '\0';
            return CURLE_OK;
        }
    }
}

/* Whether a header of the head has a value. */
static int says(const char *head, const char *name, const char *value)
{
    const size_t n_name = strlen(name), n_value = strlen(value);

    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, n_name) != 0 || line[n_name] != ':')
            continue;
        line += n_name + 1;
        line += strspn(line, " \t");
        if (strncmp(line, value, n_value) == 0 && strcspn(line + n_value, "\r") == 0)
            return 1;
    }
    return 0;
}

static CURLcode upgrade(posterion *handle, const char *path, long *http)
{
    struct pstn_socket *socket = &handle->socket;
    const char *authorization = handle->options.authorization;
    const char *host = strstr(handle->url, "://") + 3;
    const char *below = host + strcspn(host, "/"), *user = memchr(host, '@', (size_t)(below - host));
    char key[25], accept[PSTN_ACCEPT_BYTES], *request;
    uint64_t chances[2] = {pstn_chance(handle), pstn_chance(handle)};
    const size_t room = strlen(handle->url) + strlen(path) + 4 * PSTN_NAME_BYTES + 512;
    CURLcode code;

    pstn_base64((const unsigned char *)chances, sizeof chances, key);
    pstn_accept(key, accept);
    if (user != NULL)
        host = user + 1;
    request = malloc(room);
    if (request == NULL)
        return CURLE_OUT_OF_MEMORY;
    snprintf(request, room,
             "GET %s%s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: " PSTN_USER_AGENT
             "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Protocol: posterion.session.v1\r\nSec-WebSocket-Key: %s\r\n%s%s%s\r\n",
             below, path, (int)(below - host), host, key,
             authorization != NULL ? "Authorization: " : "",
             authorization != NULL ? authorization : "", authorization != NULL ? "\r\n" : "");
    code = send_all(socket, (unsigned char *)request, strlen(request));
    free(request);
    if (code == CURLE_OK)
        code = receive_head(socket);
    if (code != CURLE_OK)
        return code;
    *http = 0;
    if (sscanf((char *)socket->in, "HTTP/1.%*1d %3ld", http) != 1)
        return CURLE_WEIRD_SERVER_REPLY;
    if (*http == 101
        && !says((char *)socket->in, "Sec-WebSocket-Accept", accept))
        *http = 0;
    return CURLE_OK;
}

CURLcode pstn_socket_open(posterion *handle, const char *path, long *http)
{
    struct pstn_socket *socket = &handle->socket;
    CURLcode code;

    if (socket->in == NULL)
        socket->in = malloc(ROOM_IN);
    socket->curl = curl_easy_init();
    if (socket->in == NULL || socket->curl == NULL)
        return CURLE_OUT_OF_MEMORY;
    pstn_curl_common(handle, socket->curl);
    curl_easy_setopt(socket->curl, CURLOPT_URL, handle->url);
    curl_easy_setopt(socket->curl, CURLOPT_CONNECT_ONLY, 1L);
    code = curl_easy_perform(socket->curl);
    return code == CURLE_OK ? upgrade(handle, path, http) : code;
}

void pstn_socket_close(posterion *handle)
{
    struct pstn_socket *socket = &handle->socket;
    unsigned char goodbye[PSTN_HEAD_BYTES + 2];

    if (socket->curl == NULL)
        return;
    goodbye[PSTN_HEAD_BYTES] = 1000 >> 8;
    goodbye[PSTN_HEAD_BYTES + 1] = 1000 & 255;
    socket->deadline_s = 0.0; /* it is sent if that is possible at once */
    send_frame(handle, CLOSE, goodbye + PSTN_HEAD_BYTES, 2);
    curl_easy_cleanup(socket->curl);
    socket->curl = NULL;
}
