/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the files of the library share. Not for its users. */
#ifndef POSTERION_INTERNAL_H
#define POSTERION_INTERNAL_H

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

#include "posterion.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "frames are little-endian, and this code copies numbers as they lie in memory"
#endif

#define PSTN_MEDIA_TYPE "application/vnd.posterion.frame"
#define PSTN_USER_AGENT "posterion-c/1 libcurl/" LIBCURL_VERSION

/* PSTN_HEAD_BYTES: the longest head of a WebSocket's frame. PSTN_CELL_OFFSET: of a request. */
enum { PSTN_HEAD_BYTES = 14, PSTN_CELL_OFFSET = 64 + 16 };
enum { PSTN_NAME_BYTES = 256, PSTN_CODE_BYTES = 64, PSTN_MESSAGE_BYTES = 1024 };

/* What a problem document says. */
struct pstn_problem {
    char code[PSTN_CODE_BYTES];
    char detail[PSTN_MESSAGE_BYTES / 2];
    int status;    /* of HTTP; 0 where it does not say */
    int retryable; /* 0, 1, or -1 where it does not say */
};

/* Which sample set answers a session. */
struct pstn_opening {
    char model[PSTN_NAME_BYTES];
    char digest[PSTN_NAME_BYTES];
};

/* The body and the headers of one answer. */
struct pstn_answer {
    unsigned char *body;
    size_t n_bytes;
    size_t room;
    size_t limit; /* a longer body is no answer of a Posterion service */
    int too_long;
    int no_memory;
    long status;
    double retry_after_s; /* below 0 where the answer does not say */
    char media_type[PSTN_NAME_BYTES];
    char model[PSTN_NAME_BYTES]; /* "name@version" */
    char etag[PSTN_NAME_BYTES];
    char location[PSTN_NAME_BYTES];
};

/* A WebSocket: open where curl is not NULL. */
struct pstn_socket {
    CURL *curl;
    unsigned char *in; /* what was read beyond the last message */
    size_t first, last;
    unsigned char *out; /* a message that is being sent, behind room for the head of its frame */
    size_t room;
    double deadline_s; /* when the attempt has taken too long */
    int is_text;       /* the message that was received last */
    int closed_code;   /* why the service closed it; 0 = it did not */
};

struct posterion {
    posterion_options options; /* its strings are copies */
    char *strings[4];          /* those copies */
    char *url;                 /* without a trailing slash */
    int n_atoms;
    int periodic;              /* 1 + 2 + 4 */
    uint32_t outputs;
    unsigned char *request;    /* a whole frame; only cell and positions change */
    size_t n_request;
    CURL *curl;
    struct curl_slist *headers;
    char curl_said[CURL_ERROR_SIZE];
    struct pstn_answer answer;
    struct pstn_socket socket;
    int no_sessions;           /* something on the way does not speak WebSocket */
    uint64_t step;             /* number of the last step sent */
    double cell_told[9];       /* what the session knows */
    int cell_is_told;
    int pinned;                /* an answer came: `model` and `digest` are whom to ask */
    char model[PSTN_NAME_BYTES];
    char digest[PSTN_NAME_BYTES];
    int64_t n_answers;
    uint64_t chance;           /* of the delays between attempts */
    char code[PSTN_CODE_BYTES];
    char message[PSTN_MESSAGE_BYTES];
};

/* Note a failure: code NULL = the status' name. Returns the status. */
posterion_status pstn_fail(posterion *handle, posterion_status status, const char *code,
                           const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 4, 5)))
#endif
    ;

/* Write the parts of the request that never change. */
posterion_status pstn_frame_begin(posterion *handle, const int *numbers);

/* Write positions and cell into the request. */
void pstn_frame_fill(posterion *handle, const double *positions, const double *cell);

/* Read the answer as a reply about the atoms; writes nothing unless it is a sound one. */
posterion_status pstn_frame_read(posterion *handle, double *forces, double *force_epistemic,
                                 posterion_result *result);

/* Bytes of a reply that holds everything that was asked for. */
size_t pstn_reply_bytes(const posterion *handle);

/* Write a step of a session from the request; returns its bytes. */
size_t pstn_frame_step(const posterion *handle, uint64_t step, int with_cell, unsigned char *frame);

/* Most bytes of a step. */
size_t pstn_step_bytes(const posterion *handle);

/* Number of the step that a reply is about. */
uint64_t pstn_frame_number(const posterion *handle);

/* Make room for a longer body of the answer; 0 = none. */
int pstn_answer_room(struct pstn_answer *answer, size_t n_bytes);

/* Seconds on a clock that never goes back. */
double pstn_now_s(void);

/* A number from 0 to 2^64 - 1 by chance; not for secrets. */
uint64_t pstn_chance(posterion *handle);

/* Path of a route below the address, e.g. "predict": that of the pinned sample set, if there is
 * one. To be freed; NULL = no memory. */
char *pstn_route(const posterion *handle, const char *name);

/* What every connection needs. */
void pstn_curl_common(posterion *handle, CURL *curl);

/* Check, and at first remember, who answered. */
posterion_status pstn_hold(posterion *handle, const char *model, const char *digest);

/* What a failed transfer is called; `again` says whether another attempt may succeed. */
posterion_status pstn_transfer_failure(posterion *handle, CURLcode code, int *again);

/* What a refusal with a status of HTTP, and the body of the answer, is called. */
posterion_status pstn_refusal(posterion *handle, long http, int *again);

/* Prepare requests. */
posterion_status pstn_http_begin(posterion *handle);

/* Choose route and headers: those of the pinned sample set once there is one. */
posterion_status pstn_http_aim(posterion *handle);

/* Send the request once; the body of the answer is a frame where the status is POSTERION_OK. */
posterion_status pstn_http_attempt(posterion *handle, int *again);

/* Send a step once, opening the session if it is not; likewise. */
posterion_status pstn_session_attempt(posterion *handle, int *again);

/* Send the question until it is answered by a frame of the pinned sample set. */
posterion_status pstn_ask(posterion *handle);

/* Connect and upgrade. CURLE_OK and *http = 101, or what the service answered instead. */
CURLcode pstn_socket_open(posterion *handle, const char *path, long *http);

/* Send what lies in socket.out behind PSTN_HEAD_BYTES. */
CURLcode pstn_socket_send(posterion *handle, int is_text, size_t n_bytes);

/* Receive a message into the body of the answer, answering pings. */
CURLcode pstn_socket_receive(posterion *handle);

/* Hang up. */
void pstn_socket_close(posterion *handle);

/* Make room for a message; 0 = none. */
int pstn_socket_room(posterion *handle, size_t n_bytes);

enum { PSTN_ACCEPT_BYTES = 29 };

/* What a service answers to the key of a handshake (RFC 6455). */
void pstn_accept(const char *key, char accept[PSTN_ACCEPT_BYTES]);

/* Base64 of some bytes, ended by 0. */
void pstn_base64(const unsigned char *bytes, size_t n, char *text);

/* Read a problem document; 0 where the text is none. */
int pstn_problem_read(const void *text, size_t n_bytes, struct pstn_problem *problem);

/* Read what a service says when a session opens; 0 where the text is none. */
int pstn_opening_read(const void *text, size_t n_bytes, struct pstn_opening *opening);

#endif
