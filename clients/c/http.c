/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Carries a question as a request over a kept connection. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "internal.h"

enum { ROOM_FOR_PROBLEMS = 1 << 20 };

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
    struct pstn_answer *answer = context;
    size_t n_new = size * n;

    if (!pstn_answer_room(answer, n_new))
        return 0;
    memcpy(answer->body + answer->n_bytes, data, n_new);
    answer->n_bytes += n_new;
    return n_new;
}

/* Copy a header's value without the space around it; empty where it is too long. */
static void keep_value(char *into, const char *value, size_t n)
{
    while (n > 0 && (*value == ' ' || *value == '\t')) {
        value++;
        n--;
    }
    while (n > 0 && strchr(" \t\r\n", value[n - 1]) != NULL)
        n--;
    if (n >= PSTN_NAME_BYTES)
        n = 0;
    memcpy(into, value, n);
    into[n] = '\0';
}

static size_t on_header(char *line, size_t size, size_t n, void *context)
{
    struct pstn_answer *answer = context;
    const struct {
        const char *name;
        char *value;
    } kept[] = {
        {"content-type:", answer->media_type},
        {"posterion-model:", answer->model},
        {"etag:", answer->etag},
        {"location:", answer->location},
    };
    const size_t length = size * n;

    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const size_t n_name = strlen(kept[i].name);

        if (length >= n_name && strncasecmp(line, kept[i].name, n_name) == 0)
            keep_value(kept[i].value, line + n_name, length - n_name);
        else if (length >= 5 && memcmp(line, "HTTP/", 5) == 0)
            kept[i].value[0] = '\0'; /* an interim answer came before */
    }
    return length;
}

static int has_media_type(const struct pstn_answer *answer, const char *wanted)
{
    size_t n = strcspn(answer->media_type, "; \t");

    return n == strlen(wanted) && strncasecmp(answer->media_type, wanted, n) == 0;
}

/* Without quotes, and without the mark of a weak tag. */
static void keep_digest(char *digest, const char *etag)
{
    size_t n;

    if (strncmp(etag, "W/", 2) == 0)
        etag += 2;
    n = strlen(etag);
    if (n >= 2 && etag[0] == '"' && etag[n - 1] == '"') {
        etag++;
        n -= 2;
    }
    memcpy(digest, etag, n);
    digest[n] = '\0';
}

static int add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (longer == NULL)
        return 0;
    *list = longer;
    return 1;
}

posterion_status pstn_http_aim(posterion *handle)
{
    const char *digest = handle->pinned ? handle->digest : handle->options.digest;
    char *route = pstn_route(handle, "predict"), *url = NULL;
    struct curl_slist *list = NULL;
    char line[4 * PSTN_NAME_BYTES];
    int sound = route != NULL;

    if (sound) {
        size_t room = strlen(handle->url) + strlen(route) + 1;

        url = malloc(room);
        sound = url != NULL;
        if (sound)
            snprintf(url, room, "%s%s", handle->url, route);
    }
    sound = sound && add_header(&list, "Content-Type: " PSTN_MEDIA_TYPE)
            && add_header(&list, "Accept: " PSTN_MEDIA_TYPE ", application/problem+json")
            && add_header(&list, "Expect:");
    if (sound && digest != NULL) {
        snprintf(line, sizeof line, "If-Match: \"%s\"", digest);
        sound = add_header(&list, line);
    }
    if (sound && handle->options.authorization != NULL) {
        snprintf(line, sizeof line, "Authorization: %s", handle->options.authorization);
        sound = add_header(&list, line);
    }
    sound = sound && curl_easy_setopt(handle->curl, CURLOPT_URL, url) == CURLE_OK
            && curl_easy_setopt(handle->curl, CURLOPT_HTTPHEADER, list) == CURLE_OK;
    free(route);
    free(url);
    if (!sound) {
        curl_slist_free_all(list);
        return pstn_fail(handle, POSTERION_OUT_OF_MEMORY, NULL, "no memory for a request");
    }
    curl_slist_free_all(handle->headers);
    handle->headers = list;
    return POSTERION_OK;
}

posterion_status pstn_http_begin(posterion *handle)
{
    CURL *curl = handle->curl = curl_easy_init();

    if (curl == NULL)
        return pstn_fail(handle, POSTERION_OUT_OF_MEMORY, NULL, "libcurl cannot begin");
    handle->answer.limit = pstn_reply_bytes(handle) + ROOM_FOR_PROBLEMS;
    pstn_curl_common(handle, curl);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, PSTN_USER_AGENT);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(1e3 * handle->options.timeout_s));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &handle->answer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &handle->answer);
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (char *)handle->request);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)handle->n_request);
    return pstn_http_aim(handle);
}

/* The frame must say which sample set it is of. */
static posterion_status check_sender(posterion *handle)
{
    struct pstn_answer *answer = &handle->answer;
    char digest[PSTN_NAME_BYTES];

    if (!has_media_type(answer, PSTN_MEDIA_TYPE))
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL, "%s answered %s instead of a frame",
                         handle->url,
                         answer->media_type[0] ? answer->media_type : "without a media type");
    keep_digest(digest, answer->etag);
    answer->model[strcspn(answer->model, "@")] = '\0';
    return pstn_hold(handle, answer->model, digest);
}

posterion_status pstn_http_attempt(posterion *handle, int *again)
{
    struct pstn_answer *answer = &handle->answer;
    curl_off_t wait = 0;
    CURLcode code = curl_easy_perform(handle->curl);

    if (code != CURLE_OK)
        return pstn_transfer_failure(handle, code, again);
    curl_easy_getinfo(handle->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    if (answer->status >= 200 && answer->status < 300)
        return check_sender(handle);
    if (curl_easy_getinfo(handle->curl, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0)
        answer->retry_after_s = (double)wait;
    return pstn_refusal(handle, answer->status, again);
}
