/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The functions of posterion.h: settings are checked here, before anything is sent. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Angstrom; what is farther away is no position. */
#define FARTHEST 1e9

enum { ALL_PERIODIC = 7, MOST_ATOMS = 10000000 };

posterion_status pstn_fail(posterion *handle, posterion_status status, const char *code,
                           const char *format, ...)
{
    va_list arguments;
    int n;

    snprintf(handle->code, sizeof handle->code, "%s",
             code != NULL ? code : posterion_status_name(status));
    n = snprintf(handle->message, sizeof handle->message, "%s: ", handle->code);
    va_start(arguments, format);
    vsnprintf(handle->message + n, sizeof handle->message - (size_t)n, format, arguments);
    va_end(arguments);
    for (char *at = handle->message; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = ' ';
    return status;
}

void posterion_options_init(posterion_options *options)
{
    memset(options, 0, sizeof *options);
    options->model = options->version = options->digest = options->authorization = NULL;
    options->stress = -1;
    options->uncertainty = 1;
    options->spin_multiplicity = 1;
    options->connect_timeout_s = 5.0;
    options->timeout_s = 60.0;
    options->retry_budget_s = 600.0;
    options->notice = NULL;
    options->notice_context = NULL;
}

static char *copy_of(const char *text)
{
    const size_t n = strlen(text) + 1;
    char *copy = malloc(n);

    return copy == NULL ? NULL : memcpy(copy, text, n);
}

/* Whether a text may stand in a header or a path: printable, and not too long. */
static int is_plain(const char *text)
{
    const size_t n = strlen(text);

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7E || text[i] == '"')
            return 0;
    return n > 0;
}

static posterion_status keep_strings(posterion *handle)
{
    const char **given[] = {&handle->options.model, &handle->options.version,
                            &handle->options.digest, &handle->options.authorization};
    static const char *const names[] = {"model", "version", "digest", "authorization"};
    /* A token may be long. */
    static const size_t longest[] = {PSTN_NAME_BYTES - 1, PSTN_NAME_BYTES - 1, PSTN_NAME_BYTES - 1,
                                     3 * PSTN_NAME_BYTES};

    if (handle->options.authorization == NULL)
        handle->options.authorization = getenv("POSTERION_AUTHORIZATION");
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        if (*given[i] == NULL)
            continue;
        if (!is_plain(*given[i]) || strlen(*given[i]) > longest[i])
            return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                             "%s must be a short printable text without quotes", names[i]);
        handle->strings[i] = copy_of(*given[i]);
        if (handle->strings[i] == NULL)
            return pstn_fail(handle, POSTERION_OUT_OF_MEMORY, NULL, "no memory for a text");
        *given[i] = handle->strings[i];
    }
    if (handle->options.version != NULL && handle->options.model == NULL)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "a version is of a model: give its name too");
    return POSTERION_OK;
}

static posterion_status keep_url(posterion *handle, const char *url)
{
    const char *host = NULL;
    size_t n;

    if (url == NULL || *url == '\0')
        url = getenv("POSTERION_URL");
    if (url == NULL || *url == '\0')
        url = "http://127.0.0.1:8000";
    if (strncmp(url, "http://", 7) == 0)
        host = url + 7;
    else if (strncmp(url, "https://", 8) == 0)
        host = url + 8;
    if (host == NULL || !is_plain(url) || strpbrk(url, " ?#") != NULL
        || strcspn(host, "/:") == 0)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "the address must look like http://127.0.0.1:8000, got %.200s", url);
    handle->url = copy_of(url);
    if (handle->url == NULL)
        return pstn_fail(handle, POSTERION_OUT_OF_MEMORY, NULL, "no memory for an address");
    for (n = strlen(handle->url); n > 0 && handle->url[n - 1] == '/'; n--)
        handle->url[n - 1] = '\0';
    return POSTERION_OK;
}

/* Not less than least, and not NaN. */
static int at_least(double value, double least)
{
    return value >= least && value <= 1e6;
}

static posterion_status check_options(posterion *handle)
{
    const posterion_options *options = &handle->options;

    if (!at_least(options->connect_timeout_s, 0.001) || !at_least(options->timeout_s, 0.001)
        || !at_least(options->retry_budget_s, 0.0))
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "time limits must be from 0.001 to 1e6 s, and the budget from 0");
    if (options->n_samples < 0 || (options->n_samples == 1 && options->uncertainty))
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "n_samples must be 0 = all or, with uncertainty, at least 2, got %d",
                         options->n_samples);
    if (options->transport < POSTERION_AUTO || options->transport > POSTERION_WEBSOCKET)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL, "there is no transport %d",
                         options->transport);
    if (options->spin_multiplicity < 1)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "spin_multiplicity must be at least 1, got %d",
                         options->spin_multiplicity);
    if (options->stress > 0 && handle->periodic != ALL_PERIODIC)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "stress needs three periodic directions");
    return POSTERION_OK;
}

static posterion_status check_atoms(posterion *handle, const int *numbers)
{
    if (handle->n_atoms < 1 || handle->n_atoms > MOST_ATOMS || numbers == NULL)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "there must be 1 to %d atoms, got %d", MOST_ATOMS, handle->n_atoms);
    for (int i = 0; i < handle->n_atoms; i++)
        if (numbers[i] < 1 || numbers[i] > 118)
            return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                             "atom %d has the atomic number %d", i, numbers[i]);
    return POSTERION_OK;
}

posterion_status posterion_open(posterion **handle, const char *url, int n_atoms,
                                const int *numbers, const int *pbc,
                                const posterion_options *options)
{
    posterion *made = *handle = calloc(1, sizeof **handle);
    posterion_status status;
    int stress;

    if (made == NULL)
        return POSTERION_OUT_OF_MEMORY;
    if (options != NULL)
        made->options = *options;
    else
        posterion_options_init(&made->options);
    made->n_atoms = n_atoms;
    for (int axis = 0; pbc != NULL && axis < 3; axis++)
        made->periodic |= pbc[axis] != 0 ? 1 << axis : 0;
    stress = made->options.stress < 0 ? made->periodic == ALL_PERIODIC : made->options.stress != 0;
    made->outputs = 1u | 2u | (stress ? 4u : 0u) | (made->options.uncertainty ? 8u : 0u);
    if ((status = keep_url(made, url)) != POSTERION_OK
        || (status = keep_strings(made)) != POSTERION_OK
        || (status = check_options(made)) != POSTERION_OK
        || (status = check_atoms(made, numbers)) != POSTERION_OK
        || (status = pstn_frame_begin(made, numbers)) != POSTERION_OK)
        return status;
    return pstn_http_begin(made);
}

static posterion_status check_positions(posterion *handle, int n_atoms, const double *positions,
                                        const double *cell)
{
    if (n_atoms != handle->n_atoms)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "the number of atoms has changed from %d to %d", handle->n_atoms, n_atoms);
    for (size_t i = 0; i < 3 * (size_t)n_atoms; i++)
        if (!(fabs(positions[i]) < FARTHEST))
            return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                             "the position of atom %zu is not finite", i / 3);
    if (!handle->periodic)
        return POSTERION_OK;
    if (cell == NULL)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "a periodic direction needs a cell");
    for (int i = 0; i < 9; i++)
        if (!(fabs(cell[i]) < FARTHEST))
            return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL, "the cell is not finite");
    return POSTERION_OK;
}

posterion_status posterion_evaluate(posterion *handle, int n_atoms, const double *positions,
                                    const double *cell, double *forces, double *force_epistemic,
                                    posterion_result *result)
{
    posterion_status status;

    if (handle == NULL)
        return POSTERION_INVALID_ARGUMENT;
    if (handle->headers == NULL)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "the handle was not opened without a failure");
    if (positions == NULL || forces == NULL || result == NULL)
        return pstn_fail(handle, POSTERION_INVALID_ARGUMENT, NULL,
                         "positions, forces and result must be given");
    if ((status = check_positions(handle, n_atoms, positions, cell)) != POSTERION_OK)
        return status;
    pstn_frame_fill(handle, positions, cell);
    if ((status = pstn_ask(handle)) != POSTERION_OK
        || (status = pstn_frame_read(handle, forces, force_epistemic, result)) != POSTERION_OK)
        return status;
    handle->n_answers++;
    handle->code[0] = handle->message[0] = '\0';
    return POSTERION_OK;
}

void posterion_close(posterion *handle)
{
    if (handle == NULL)
        return;
    if (handle->curl != NULL)
        curl_easy_cleanup(handle->curl);
    pstn_socket_close(handle);
    free(handle->socket.in);
    free(handle->socket.out);
    curl_slist_free_all(handle->headers);
    for (size_t i = 0; i < sizeof handle->strings / sizeof *handle->strings; i++)
        free(handle->strings[i]);
    free(handle->url);
    free(handle->request);
    free(handle->answer.body);
    free(handle);
}

const char *posterion_message(const posterion *handle)
{
    return handle != NULL ? handle->message : "no-handle: nothing was opened, or memory is out";
}

const char *posterion_code(const posterion *handle)
{
    return handle != NULL ? handle->code : "no-handle";
}

const char *posterion_status_name(posterion_status status)
{
    static const char *const names[] = {
        "ok",          "invalid-argument",  "out-of-memory", "connection-failed",
        "timed-out",   "invalid-reply",     "bad-structure", "non-finite-result",
        "version-moved", "request-refused", "unavailable",
    };

    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown-status";
}

const char *posterion_model(const posterion *handle)
{
    return handle != NULL ? handle->model : "";
}

const char *posterion_digest(const posterion *handle)
{
    return handle != NULL ? handle->digest : "";
}

int64_t posterion_n_answers(const posterion *handle)
{
    return handle != NULL ? handle->n_answers : 0;
}
