/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Carries a request to the service over a kept connection, again where that may help. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "internal.h"

#define FIRST_DELAY_S 0.5
#define LONGEST_DELAY_S 8.0
#define JITTER 0.25

enum { ROOM_FOR_PROBLEMS = 1 << 20 };

static double now_s(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void sleep_s(double seconds)
{
    struct timespec left = {(time_t)seconds, 0};

    left.tv_nsec = (long)(1e9 * (seconds - (double)left.tv_sec));
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* A number from 0 to 1, so that clients which failed together do not return together. */
static double chance(posterion *handle)
{
    uint64_t x = handle->chance;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    handle->chance = x;
    return (double)(x >> 11) / 9007199254740992.0;
}

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
    struct pstn_answer *answer = context;
    size_t n_new = size * n, room = answer->room;

    if (n_new > answer->limit - answer->n_bytes) {
        answer->too_long = 1;
        return 0;
    }
    if (answer->n_bytes + n_new > room) {
        unsigned char *larger;

        room = 2 * (answer->n_bytes + n_new);
        larger = realloc(answer->body, room);
        if (larger == NULL) {
            answer->no_memory = 1;
            return 0;
        }
        answer->body = larger;
        answer->room = room;
    }
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
    const char *model = handle->pinned ? handle->model : handle->options.model;
    const char *version = handle->pinned ? handle->digest : handle->options.version;
    const char *digest = handle->pinned ? handle->digest : handle->options.digest;
    char *name = curl_easy_escape(handle->curl, model != NULL ? model : "", 0);
    char *number = curl_easy_escape(handle->curl, version != NULL ? version : "", 0);
    struct curl_slist *list = NULL;
    char line[4 * PSTN_NAME_BYTES], *url = NULL;
    int sound = name != NULL && number != NULL;

    if (sound) {
        size_t room = strlen(handle->url) + strlen(name) + strlen(number) + 64;

        url = malloc(room);
        sound = url != NULL;
        if (sound)
            snprintf(url, room, "%s/v1%s%s%s%s/predict", handle->url, *name ? "/models/" : "", name,
                     *number ? "/versions/" : "", number);
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
    curl_free(name);
    curl_free(number);
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
    handle->chance = (uint64_t)(1e9 * now_s()) ^ (uint64_t)(uintptr_t)handle;
    handle->chance |= 1;
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "posterion-c/1 libcurl/" LIBCURL_VERSION);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(1e3 * handle->options.connect_timeout_s));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(1e3 * handle->options.timeout_s));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, handle->curl_said);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &handle->answer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &handle->answer);
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (char *)handle->request);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)handle->n_request);
    return pstn_http_aim(handle);
}

/* What a failed transfer is called; `again` says whether another attempt may succeed. */
static posterion_status transfer_failure(posterion *handle, CURLcode code, int *again)
{
    const char *said = handle->curl_said[0] ? handle->curl_said : curl_easy_strerror(code);

    if (handle->answer.no_memory || code == CURLE_OUT_OF_MEMORY)
        return pstn_fail(handle, POSTERION_OUT_OF_MEMORY, NULL, "no memory for an answer");
    if (handle->answer.too_long)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "the answer of %s is longer than %zu bytes", handle->url,
                         handle->answer.limit);
    *again = code != CURLE_PEER_FAILED_VERIFICATION && code != CURLE_UNSUPPORTED_PROTOCOL
             && code != CURLE_URL_MALFORMAT && code != CURLE_SSL_CACERT_BADFILE;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return pstn_fail(handle, POSTERION_TIMED_OUT, NULL,
                         "no answer of %s within its time limit (%s)", handle->url, said);
    return pstn_fail(handle, POSTERION_CONNECTION_FAILED, NULL, "no connection to %s: %s",
                     handle->url, said);
}

/* What a refusal is called. */
static posterion_status refusal(posterion *handle, int *again)
{
    const struct pstn_answer *answer = &handle->answer;
    const long http = answer->status;
    posterion_status status = http >= 500 ? POSTERION_UNAVAILABLE : POSTERION_REFUSED;
    struct pstn_problem problem;

    *again = http == 429 || (http >= 502 && http <= 504);
    if (http == 412)
        status = POSTERION_MODEL_CHANGED;
    if (http < 400)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "%s answered %ld and points to %s; give the final address", handle->url,
                         http, answer->location[0] ? answer->location : "nowhere");
    if (!pstn_problem_read(answer->body, answer->n_bytes, &problem))
        return pstn_fail(handle, status, NULL, "%s answered %ld with %s instead of a problem document",
                         handle->url, http,
                         answer->media_type[0] ? answer->media_type : "no media type");
    *again = *again && problem.retryable != 0;
    if (handle->pinned && strcmp(problem.code, "unknown-model") == 0)
        return pstn_fail(handle, POSTERION_MODEL_CHANGED, NULL,
                         "the run began with version %s of %s, which the service no longer has; it "
                         "cannot go on with another potential",
                         handle->digest, handle->model);
    return pstn_fail(handle, status, problem.code, "%s", problem.detail);
}

/* Check, and at first remember, who answered. */
static posterion_status check_sender(posterion *handle)
{
    const struct pstn_answer *answer = &handle->answer;
    const char *held = handle->pinned ? handle->digest : handle->options.digest;
    char digest[PSTN_NAME_BYTES];
    size_t n_name = strcspn(answer->model, "@");

    if (!has_media_type(answer, PSTN_MEDIA_TYPE))
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL, "%s answered %s instead of a frame",
                         handle->url,
                         answer->media_type[0] ? answer->media_type : "without a media type");
    keep_digest(digest, answer->etag);
    if (n_name == 0 || digest[0] == '\0')
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "%s does not say which sample set answered", handle->url);
    if (held != NULL && strcmp(held, digest) != 0)
        return pstn_fail(handle, POSTERION_MODEL_CHANGED, NULL, "held to %s, but %s answered", held,
                         digest);
    if (handle->pinned)
        return POSTERION_OK;
    memcpy(handle->model, answer->model, n_name);
    handle->model[n_name] = '\0';
    memcpy(handle->digest, digest, sizeof digest);
    handle->pinned = 1;
    return pstn_http_aim(handle);
}

static posterion_status attempt(posterion *handle, int *again)
{
    struct pstn_answer *answer = &handle->answer;
    curl_off_t wait = 0;
    CURLcode code;

    *again = 0;
    answer->n_bytes = 0;
    answer->too_long = answer->no_memory = 0;
    answer->retry_after_s = -1.0;
    handle->curl_said[0] = '\0';
    code = curl_easy_perform(handle->curl);
    if (code != CURLE_OK)
        return transfer_failure(handle, code, again);
    curl_easy_getinfo(handle->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    if (answer->status >= 200 && answer->status < 300)
        return check_sender(handle);
    if (curl_easy_getinfo(handle->curl, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0)
        answer->retry_after_s = (double)wait;
    return refusal(handle, again);
}

/* Seconds to wait after so many failures. */
static double delay_s(posterion *handle, int n_failures)
{
    double delay = FIRST_DELAY_S;

    if (handle->answer.retry_after_s > 0.0)
        return handle->answer.retry_after_s + JITTER * FIRST_DELAY_S * chance(handle);
    while (--n_failures > 0 && delay < LONGEST_DELAY_S)
        delay *= 2.0;
    return (delay < LONGEST_DELAY_S ? delay : LONGEST_DELAY_S) * (1.0 - JITTER * chance(handle));
}

posterion_status pstn_http_ask(posterion *handle)
{
    const double give_up_at = now_s() + handle->options.retry_budget_s;
    char line[PSTN_MESSAGE_BYTES + 64];
    posterion_status status;
    int again, n_failures = 0;

    while ((status = attempt(handle, &again)) != POSTERION_OK && again) {
        double wait = delay_s(handle, ++n_failures);

        if (now_s() + wait >= give_up_at) {
            size_t n = strlen(handle->message);

            snprintf(handle->message + n, sizeof handle->message - n,
                     " [gave up after %d attempt%s]", n_failures, n_failures == 1 ? "" : "s");
            break;
        }
        if (handle->options.notice != NULL) {
            snprintf(line, sizeof line, "%s; attempt %d follows in %.1f s", handle->message,
                     n_failures + 1, wait);
            handle->options.notice(line, handle->options.notice_context);
        }
        sleep_s(wait);
    }
    return status;
}
