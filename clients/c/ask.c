/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Asks until there is an answer: what failures are called, and when another attempt follows. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define FIRST_DELAY_S 0.5
#define LONGEST_DELAY_S 8.0
#define JITTER 0.25

double pstn_now_s(void)
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

uint64_t pstn_chance(posterion *handle)
{
    uint64_t x = handle->chance;

    if (x == 0)
        x = ((uint64_t)(1e9 * pstn_now_s()) ^ (uint64_t)(uintptr_t)handle) | 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return handle->chance = x;
}

int pstn_answer_room(struct pstn_answer *answer, size_t n_bytes)
{
    const size_t wanted = answer->n_bytes + n_bytes;
    unsigned char *larger;

    if (n_bytes > answer->limit - answer->n_bytes) {
        answer->too_long = 1;
        return 0;
    }
    if (wanted <= answer->room)
        return 1;
    larger = realloc(answer->body, 2 * wanted);
    if (larger == NULL) {
        answer->no_memory = 1;
        return 0;
    }
    answer->body = larger;
    answer->room = 2 * wanted;
    return 1;
}

char *pstn_route(const posterion *handle, const char *name)
{
    const char *model = handle->pinned ? handle->model : handle->options.model;
    const char *version = handle->pinned ? handle->digest : handle->options.version;
    char *escaped_model = curl_easy_escape(handle->curl, model != NULL ? model : "", 0);
    char *escaped_version = curl_easy_escape(handle->curl, version != NULL ? version : "", 0);
    char *route = NULL;

    if (escaped_model != NULL && escaped_version != NULL) {
        size_t room = strlen(escaped_model) + strlen(escaped_version) + strlen(name) + 32;

        route = malloc(room);
        if (route != NULL)
            snprintf(route, room, "/v1%s%s%s%s/%s", *escaped_model ? "/models/" : "",
                     escaped_model, *escaped_version ? "/versions/" : "", escaped_version, name);
    }
    curl_free(escaped_model);
    curl_free(escaped_version);
    return route;
}

void pstn_curl_common(posterion *handle, CURL *curl)
{
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
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(1e3 * handle->options.connect_timeout_s));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, handle->curl_said);
}

posterion_status pstn_hold(posterion *handle, const char *model, const char *digest)
{
    const char *held = handle->pinned ? handle->digest : handle->options.digest;

    if (model[0] == '\0' || digest[0] == '\0')
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "%s does not say which sample set answered", handle->url);
    if (held != NULL && strcmp(held, digest) != 0)
        return pstn_fail(handle, POSTERION_MODEL_CHANGED, NULL, "held to %s, but %s answered", held,
                         digest);
    if (handle->pinned)
        return POSTERION_OK;
    memcpy(handle->model, model, strlen(model) + 1);
    memcpy(handle->digest, digest, strlen(digest) + 1);
    handle->pinned = 1;
    return pstn_http_aim(handle);
}

posterion_status pstn_transfer_failure(posterion *handle, CURLcode code, int *again)
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

posterion_status pstn_refusal(posterion *handle, long http, int *again)
{
    const struct pstn_answer *answer = &handle->answer;
    posterion_status status = http >= 500 ? POSTERION_UNAVAILABLE : POSTERION_REFUSED;
    struct pstn_problem problem;

    *again = http == 408 || http == 429 || (http >= 502 && http <= 504);
    if (http == 412)
        status = POSTERION_MODEL_CHANGED;
    if (http < 400)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "%s answered %ld and points to %s; give the final address", handle->url,
                         http, answer->location[0] ? answer->location : "nowhere");
    if (!pstn_problem_read(answer->body, answer->n_bytes, &problem)) {
        /* The service describes its own defects: this is someone before it. */
        *again = *again || http == 500;
        return pstn_fail(handle, status, NULL, "%s answered %ld with %s instead of a problem document",
                         handle->url, http,
                         answer->media_type[0] ? answer->media_type : "no media type");
    }
    *again = *again && problem.retryable != 0;
    if (handle->pinned && strcmp(problem.code, "unknown-model") == 0)
        return pstn_fail(handle, POSTERION_MODEL_CHANGED, NULL,
                         "the run began with version %s of %s, which the service no longer has; it "
                         "cannot go on with another potential",
                         handle->digest, handle->model);
    return pstn_fail(handle, status, problem.code, "%s", problem.detail);
}

/* Seconds to wait after so many failures. */
static double delay_s(posterion *handle, int n_failures)
{
    const double chance = (double)(pstn_chance(handle) >> 11) / 9007199254740992.0;
    double delay = FIRST_DELAY_S;

    if (handle->answer.retry_after_s > 0.0)
        return handle->answer.retry_after_s + JITTER * FIRST_DELAY_S * chance;
    while (--n_failures > 0 && delay < LONGEST_DELAY_S)
        delay *= 2.0;
    return (delay < LONGEST_DELAY_S ? delay : LONGEST_DELAY_S) * (1.0 - JITTER * chance);
}

/*
 * One attempt, during which writing to a connection that was cut raises no SIGPIPE: libcurl does
 * not prevent it over TLS. A signal that was pending before stays so.
 */
static posterion_status attempt(posterion *handle, int *again)
{
    struct pstn_answer *answer = &handle->answer;
    const int session = handle->options.transport != POSTERION_HTTP && !handle->no_sessions;
    sigset_t pipe, before, pending;
    posterion_status status;
    int signal, was_pending;

    *again = 0;
    answer->n_bytes = 0;
    answer->too_long = answer->no_memory = 0;
    answer->retry_after_s = -1.0;
    handle->curl_said[0] = '\0';
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    was_pending = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    status = session ? pstn_session_attempt(handle, again) : pstn_http_attempt(handle, again);
    sigpending(&pending);
    if (sigismember(&pending, SIGPIPE) && !was_pending)
        sigwait(&pipe, &signal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

posterion_status pstn_ask(posterion *handle)
{
    const double give_up_at = pstn_now_s() + handle->options.retry_budget_s;
    char line[PSTN_MESSAGE_BYTES + 64];
    posterion_status status;
    int again, n_failures = 0;

    while ((status = attempt(handle, &again)) != POSTERION_OK && again) {
        double wait = delay_s(handle, ++n_failures);

        if (pstn_now_s() + wait >= give_up_at) {
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
