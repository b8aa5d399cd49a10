/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Writes requests and reads replies in the binary layout of docs/api.md. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum {
    HEADER = 64,
    REQUEST_RECORD = 16,
    REPLY_RECORD = 64,
    CELL = 9 * sizeof(double),
    KIND_REQUEST = 1,
    KIND_REPLY = 2,
    KIND_STEP = 3,
    CELL_GIVEN = 8,
    FORCES = 2,
    STRESS = 4,
    UNCERTAINTY = 8,
    IN_ERROR = 2
};

static const unsigned char magic[6] = {'P', 'S', 'T', 'N', 1, 0};

static void put_u4(unsigned char *frame, size_t offset, uint32_t value)
{
    memcpy(frame + offset, &value, sizeof value);
}

static void put_i4(unsigned char *frame, size_t offset, int32_t value)
{
    memcpy(frame + offset, &value, sizeof value);
}

static uint32_t get_u4(const unsigned char *frame, size_t offset)
{
    uint32_t value;

    memcpy(&value, frame + offset, sizeof value);
    return value;
}

static double get_f8(const unsigned char *frame, size_t offset)
{
    double value;

    memcpy(&value, frame + offset, sizeof value);
    return value;
}

posterion_status pstn_frame_begin(posterion *handle, const int *numbers)
{
    const size_t n = (size_t)handle->n_atoms;
    const size_t at_numbers = HEADER + REQUEST_RECORD + CELL + 3 * n * sizeof(double);
    unsigned char *frame;

    handle->n_request = at_numbers + (n + n % 2) * sizeof(int32_t);
    frame = handle->request = calloc(1, handle->n_request);
    if (frame == NULL)
        return pstn_fail(handle, POSTERION_OUT_OF_MEMORY, NULL, "no memory for %d atoms",
                         handle->n_atoms);
    memcpy(frame, magic, sizeof magic);
    frame[6] = KIND_REQUEST;
    put_u4(frame, 16, 1);
    put_u4(frame, 20, (uint32_t)n);
    put_u4(frame, 24, handle->outputs);
    put_i4(frame, 40, handle->options.n_samples);
    put_u4(frame, 44, handle->options.double_precision ? 64 : 32);
    put_u4(frame, HEADER, (uint32_t)n);
    put_u4(frame, HEADER + 4, (uint32_t)(handle->periodic | (handle->periodic ? CELL_GIVEN : 0)));
    put_i4(frame, HEADER + 8, handle->options.charge);
    put_i4(frame, HEADER + 12, handle->options.spin_multiplicity);
    for (size_t i = 0; i < n; i++)
        put_i4(frame, at_numbers + i * sizeof(int32_t), numbers[i]);
    return POSTERION_OK;
}

void pstn_frame_fill(posterion *handle, const double *positions, const double *cell)
{
    unsigned char *at = handle->request + HEADER + REQUEST_RECORD;

    if (handle->periodic)
        memcpy(at, cell, CELL);
    memcpy(at + CELL, positions, 3 * (size_t)handle->n_atoms * sizeof(double));
}

size_t pstn_step_bytes(const posterion *handle)
{
    return HEADER + CELL + 3 * (size_t)handle->n_atoms * sizeof(double);
}

size_t pstn_frame_step(const posterion *handle, uint64_t step, int with_cell, unsigned char *frame)
{
    const unsigned char *from = handle->request + HEADER + REQUEST_RECORD;
    const size_t n_positions = 3 * (size_t)handle->n_atoms * sizeof(double);
    const size_t n_skipped = with_cell ? 0 : CELL;

    memset(frame, 0, HEADER);
    memcpy(frame, magic, sizeof magic);
    frame[6] = KIND_STEP;
    memcpy(frame + 8, &step, sizeof step);
    put_u4(frame, 16, 1);
    put_u4(frame, 20, (uint32_t)handle->n_atoms);
    put_u4(frame, 28, (uint32_t)with_cell);
    memcpy(frame + HEADER, from + n_skipped, CELL - n_skipped + n_positions);
    return HEADER + CELL - n_skipped + n_positions;
}

uint64_t pstn_frame_number(const posterion *handle)
{
    uint64_t step = 0;

    if (handle->answer.n_bytes >= HEADER)
        memcpy(&step, handle->answer.body + 8, sizeof step);
    return step;
}

size_t pstn_reply_bytes(const posterion *handle)
{
    const size_t n = (size_t)handle->n_atoms;
    size_t n_floats = 3 * n;

    if (handle->outputs & STRESS)
        n_floats += 9;
    if (handle->outputs & UNCERTAINTY)
        n_floats += 2 * n;
    return HEADER + REPLY_RECORD + n_floats * sizeof(double);
}

/* Whether the numbers between two places of a frame are all finite. */
static int finite(const unsigned char *frame, size_t offset, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(get_f8(frame, offset + i * sizeof(double))))
            return 0;
    return 1;
}

static posterion_status structure_in_error(posterion *handle, const unsigned char *text, size_t n)
{
    struct pstn_problem problem;
    posterion_status status = POSTERION_BAD_STRUCTURE;

    if (!pstn_problem_read(text, n, &problem))
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "the structure is in error, and the reply does not say why");
    if (strcmp(problem.code, "non-finite-result") == 0)
        status = POSTERION_NON_FINITE;
    return pstn_fail(handle, status, problem.code, "%s", problem.detail);
}

static posterion_status check_header(posterion *handle, const unsigned char *frame, size_t n_bytes)
{
    const unsigned char kind[2] = {KIND_REPLY, 0};

    if (n_bytes < HEADER || memcmp(frame, magic, sizeof magic) != 0
        || memcmp(frame + sizeof magic, kind, sizeof kind) != 0)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "%zu bytes that are no reply of layout 1", n_bytes);
    if (get_u4(frame, 16) != 1 || get_u4(frame, 20) != (uint32_t)handle->n_atoms)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "asked about %d atoms, the reply is about %lu in %lu structures",
                         handle->n_atoms, (unsigned long)get_u4(frame, 20),
                         (unsigned long)get_u4(frame, 16));
    if (get_u4(frame, 24) != handle->outputs || n_bytes < pstn_reply_bytes(handle))
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL,
                         "a reply of %zu bytes lacks what was asked for", n_bytes);
    if (get_u4(frame, HEADER) > IN_ERROR)
        return pstn_fail(handle, POSTERION_INVALID_REPLY, NULL, "a structure of status %lu",
                         (unsigned long)get_u4(frame, HEADER));
    return POSTERION_OK;
}

posterion_status pstn_frame_read(posterion *handle, double *forces, double *force_epistemic,
                                 posterion_result *result)
{
    const unsigned char *frame = handle->answer.body;
    const size_t n = (size_t)handle->n_atoms, n_bytes = handle->answer.n_bytes;
    const size_t at_forces = HEADER + REPLY_RECORD, at_end = pstn_reply_bytes(handle);
    const int stress = (handle->outputs & STRESS) != 0;
    const int uncertainty = (handle->outputs & UNCERTAINTY) != 0;
    const size_t at_stress = at_forces + 3 * n * sizeof(double);
    const size_t at_epistemic = at_stress + (stress ? CELL : 0);
    posterion_status status = check_header(handle, frame, n_bytes);

    if (status != POSTERION_OK)
        return status;
    if (get_u4(frame, HEADER) == IN_ERROR) {
        size_t n_said = get_u4(frame, HEADER + 56);

        return structure_in_error(handle, frame + at_end,
                                  n_said < n_bytes - at_end ? n_said : n_bytes - at_end);
    }
    if (!finite(frame, HEADER + 16, uncertainty ? 5 : 1)
        || !finite(frame, at_forces, (at_end - at_forces) / sizeof(double)))
        return pstn_fail(handle, POSTERION_NON_FINITE, NULL,
                         "the service answered NaN or infinity without saying so");
    result->n_samples = (int32_t)get_u4(frame, HEADER + 4);
    result->candidate_flags = get_u4(frame, HEADER + 8);
    result->failed_flags = get_u4(frame, HEADER + 12);
    result->energy = get_f8(frame, HEADER + 16);
    result->energy_epistemic = uncertainty ? get_f8(frame, HEADER + 24) : NAN;
    result->energy_total = uncertainty ? get_f8(frame, HEADER + 32) : NAN;
    result->force_max = uncertainty ? get_f8(frame, HEADER + 40) : NAN;
    result->force_rms = uncertainty ? get_f8(frame, HEADER + 48) : NAN;
    memcpy(forces, frame + at_forces, 3 * n * sizeof(double));
    for (size_t i = 0; i < 9; i++)
        result->stress[i] = stress ? get_f8(frame, at_stress + i * sizeof(double)) : NAN;
    for (size_t i = 0; force_epistemic != NULL && i < n; i++)
        force_epistemic[i] = uncertainty ? get_f8(frame, at_epistemic + i * sizeof(double)) : NAN;
    return POSTERION_OK;
}
