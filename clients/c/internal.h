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

enum { PSTN_NAME_BYTES = 256, PSTN_CODE_BYTES = 64, PSTN_MESSAGE_BYTES = 1024 };

/* What a problem document says. */
struct pstn_problem {
    char code[PSTN_CODE_BYTES];
    char detail[PSTN_MESSAGE_BYTES / 2];
    int retryable; /* 0, 1, or -1 where it does not say */
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

/* Prepare the connection. */
posterion_status pstn_http_begin(posterion *handle);

/* Send the request until it is answered by a frame of the pinned sample set. */
posterion_status pstn_http_ask(posterion *handle);

/* Choose route and headers: those of the pinned sample set once there is one. */
posterion_status pstn_http_aim(posterion *handle);

/* Read a problem document; 0 where the text is none. */
int pstn_problem_read(const void *text, size_t n_bytes, struct pstn_problem *problem);

#endif
