/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Carries questions as steps of a session: the atoms are told once, then their positions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { MOST_DIGITS = 32, UPGRADED = 101 };

/* A text that grows in the buffer of outgoing messages. */
struct text {
    char *at;
};

static void put(struct text *text, const char *words)
{
    const size_t n = strlen(words);

    memcpy(text->at, words, n);
    text->at += n;
}

static void put_integer(struct text *text, long long number)
{
    text->at += snprintf(text->at, MOST_DIGITS, "%lld", number);
}

/* To 1e-9, without a decimal point, which some locales write as a comma. */
static void put_length(struct text *text, double value)
{
    put_integer(text, (long long)(1e9 * value + (value < 0.0 ? -0.5 : 0.5)));
    put(text, "e-9");
}

/* Three numbers in brackets, several times. */
static void put_vectors(struct text *text, const unsigned char *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        put(text, i == 0 ? "[[" : ",[");
        for (size_t axis = 0; axis < 3; axis++) {
            double value;

            memcpy(&value, from + (3 * i + axis) * sizeof value, sizeof value);
            if (axis > 0)
                put(text, ",");
            put_length(text, value);
        }
        put(text, "]");
    }
    put(text, "]");
}

/* Write the text that opens a session; returns its bytes, or 0 without memory. */
static size_t write_opening(posterion *handle)
{
    const posterion_options *options = &handle->options;
    const char *digest = handle->pinned ? handle->digest : options->digest;
    const size_t n = (size_t)handle->n_atoms;
    const unsigned char *cell = handle->request + PSTN_CELL_OFFSET;
    const unsigned char *numbers = cell + 9 * sizeof(double) + 3 * n * sizeof(double);
    struct text text;

    if (!pstn_socket_room(handle, (4 * n + 16) * MOST_DIGITS + 4 * PSTN_NAME_BYTES))
        return 0;
    text.at = (char *)handle->socket.out + PSTN_HEAD_BYTES;
    put(&text, "{\"structure\":{\"numbers\":[");
    for (size_t i = 0; i < n; i++) {
        int32_t number;

        memcpy(&number, numbers + i * sizeof number, sizeof number);
        put(&text, i > 0 ? "," : "");
        put_integer(&text, number);
    }
    put(&text, "],\"positions\":");
    put_vectors(&text, cell + 9 * sizeof(double), n);
    put(&text, ",\"cell\":");
    if (handle->periodic)
        put_vectors(&text, cell, 3);
    else
        put(&text, "null");
    put(&text, ",\"pbc\":[");
    for (int axis = 0; axis < 3; axis++) {
        put(&text, axis > 0 ? "," : "");
        put(&text, handle->periodic >> axis & 1 ? "true" : "false");
    }
    put(&text, "],\"charge\":");
    put_integer(&text, options->charge);
    put(&text, ",\"spin_multiplicity\":");
    put_integer(&text, options->spin_multiplicity);
    put(&text, "},\"outputs\":[\"energy\",\"forces\"");
    put(&text, handle->outputs & 4u ? ",\"stress\"" : "");
    put(&text, handle->outputs & 8u ? ",\"uncertainty\"" : "");
    put(&text, "],\"precision\":");
    put(&text, options->double_precision ? "\"float64\"" : "\"float32\"");
    put(&text, ",\"n_samples\":");
    if (options->n_samples > 0)
        put_integer(&text, options->n_samples);
    else
        put(&text, "null");
    if (digest != NULL) {
        put(&text, ",\"digest\":\"");
        put(&text, digest);
        put(&text, "\"");
    }
    put(&text, "}");
    return (size_t)(text.at - (char *)handle->socket.out) - PSTN_HEAD_BYTES;
}

/* What a failure of the connection is called. */
static posterion_status cut(posterion *handle, CURLcode code, int *again)
{
    if (code == CURLE_WEIRD_SERVER_REPLY)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "%s sent what is no frame of a WebSocket", handle->url);
    if (handle->socket.closed_code != 0)
        snprintf(handle->curl_said, sizeof handle->curl_said, "it closed the session (%d)",
                 handle->socket.closed_code);
    else if (code == CURLE_GOT_NOTHING)
        snprintf(handle->curl_said, sizeof handle->curl_said, "it was cut");
    return pstn_transfer_failure(handle, code, again);
}

/* What a text instead of a reply says. */
static posterion_status told(posterion *handle, int *again)
{
    const struct pstn_answer *answer = &handle->answer;
    struct pstn_problem problem;

    if (!pstn_problem_read(answer->body, answer->n_bytes, &problem) || problem.status < 400)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "%s answered with a text that is no problem document", handle->url);
    return pstn_refusal(handle, problem.status, again);
}

/* What an answer to the handshake means that is none of a WebSocket. */
static posterion_status no_upgrade(posterion *handle, long http, int *again)
{
    const int busy = http == 429 || (http >= 500 && http <= 504 && http != 501);
    char line[PSTN_MESSAGE_BYTES];

    snprintf(line, sizeof line, "%.400s answered %ld to a WebSocket's handshake", handle->url, http);
    if (busy || handle->options.transport == POSTERION_WEBSOCKET) {
        *again = busy;
        return pstn_fail(handle, busy ? POSTERION_UNAVAILABLE : POSTERION_INVALID_REPLY, NULL, "%s",
                         line);
    }
    handle->no_sessions = 1;
    if (handle->options.notice != NULL) {
        strcat(line, "; every step is a request of its own now");
        handle->options.notice(line, handle->options.notice_context);
    }
    return pstn_http_attempt(handle, again);
}

static posterion_status open_session(posterion *handle, int *again)
{
    char *route = pstn_route(handle, "session");
    struct pstn_opening opening;
    long http = 0;
    size_t n;
    CURLcode code;

    handle->cell_is_told = 0;
    handle->socket.closed_code = 0;
    code = route == NULL ? CURLE_OUT_OF_MEMORY : pstn_socket_open(handle, route, &http);
    free(route);
    if (code != CURLE_OK)
        return cut(handle, code, again);
    if (http != UPGRADED) {
        pstn_socket_close(handle);
        return no_upgrade(handle, http, again);
    }
    n = write_opening(handle);
    code = n == 0 ? CURLE_OUT_OF_MEMORY : pstn_socket_send(handle, 1, n);
    if (code == CURLE_OK)
        code = pstn_socket_receive(handle);
    if (code != CURLE_OK)
        return cut(handle, code, again);
    if (!handle->socket.is_text)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "%s opened the session with a frame", handle->url);
    if (!pstn_opening_read(handle->answer.body, handle->answer.n_bytes, &opening))
        return told(handle, again);
    return pstn_hold(handle, opening.model, opening.digest);
}

static posterion_status step(posterion *handle, int *again)
{
    const unsigned char *cell = handle->request + PSTN_CELL_OFFSET;
    const int with_cell = handle->periodic
                          && (!handle->cell_is_told
                              || memcmp(cell, handle->cell_told, sizeof handle->cell_told) != 0);
    CURLcode code = CURLE_OUT_OF_MEMORY;

    handle->step++;
    if (pstn_socket_room(handle, pstn_step_bytes(handle)))
        code = pstn_socket_send(handle, 0,
                                pstn_frame_step(handle, handle->step, with_cell,
                                                handle->socket.out + PSTN_HEAD_BYTES));
    if (code == CURLE_OK)
        code = pstn_socket_receive(handle);
    if (code != CURLE_OK)
        return cut(handle, code, again);
    if (handle->socket.is_text)
        return told(handle, again);
    if (pstn_frame_number(handle) != handle->step)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "asked about step %llu, the reply is about %llu",
                         (unsigned long long)handle->step,
                         (unsigned long long)pstn_frame_number(handle));
    memcpy(handle->cell_told, cell, sizeof handle->cell_told);
    handle->cell_is_told = 1;
    return POSTERION_OK;
}

posterion_status pstn_session_attempt(posterion *handle, int *again)
{
    const int kept = handle->socket.curl != NULL;
    posterion_status status = POSTERION_OK;

    handle->socket.deadline_s = pstn_now_s() + handle->options.timeout_s;
    if (!kept)
        status = open_session(handle, again);
    if (handle->no_sessions)
        return status; /* it was answered by a request */
    if (status == POSTERION_OK)
        status = step(handle, again);
    if (status == POSTERION_OK)
        return status;
    pstn_socket_close(handle);
    /* A kept session may have ended while the caller computed: that is no failure yet. */
    if (!kept || !*again
        || (status != POSTERION_CONNECTION_FAILED && strcmp(handle->code, "session-idle") != 0))
        return status;
    *again = 0;
    handle->answer.n_bytes = 0;
    handle->curl_said[0] = '\0';
    return pstn_session_attempt(handle, again);
}
