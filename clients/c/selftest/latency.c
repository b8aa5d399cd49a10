/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Milliseconds of one evaluation of a periodic grid of carbon atoms, one line each.
 *
 *     latency URL ATOMS EVALUATIONS
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "posterion.h"

#define SPACING 2.2

static double now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e3 * (double)time.tv_sec + 1e-6 * (double)time.tv_nsec;
}

int main(int argc, char **argv)
{
    const int n = argc == 4 ? atoi(argv[2]) : 0, n_times = argc == 4 ? atoi(argv[3]) : 0;
    const int pbc[3] = {1, 1, 1};
    double cell[9] = {0.0}, *positions, *forces;
    int side = 1, *numbers, status = EXIT_FAILURE;
    posterion_options options;
    posterion_result result;
    posterion *service = NULL;

    if (n < 1)
        return EXIT_FAILURE;
    while (side * side * side < n)
        side++;
    positions = malloc(3 * (size_t)n * sizeof *positions);
    forces = malloc(3 * (size_t)n * sizeof *forces);
    numbers = malloc((size_t)n * sizeof *numbers);
    if (positions == NULL || forces == NULL || numbers == NULL)
        goto done;
    for (int i = 0; i < n; i++) {
        numbers[i] = 6;
        positions[3 * i] = SPACING * (i / (side * side));
        positions[3 * i + 1] = SPACING * (i / side % side);
        positions[3 * i + 2] = SPACING * (i % side);
    }
    for (int axis = 0; axis < 3; axis++)
        cell[4 * axis] = SPACING * side;
    posterion_options_init(&options);
    options.stress = 0;
    options.retry_budget_s = 0.0;
    if (posterion_open(&service, argv[1], n, numbers, pbc, &options) != POSTERION_OK)
        goto done;
    for (int i = 0; i < n_times; i++) {
        const double begun = now_ms();

        positions[0] += 1e-6;
        if (posterion_evaluate(service, n, positions, cell, forces, NULL, &result) != POSTERION_OK)
            goto done;
        printf("%.4f\n", now_ms() - begun);
    }
    status = EXIT_SUCCESS;
done:
    if (status != EXIT_SUCCESS)
        fprintf(stderr, "latency: %s\n", posterion_message(service));
    posterion_close(service);
    free(positions);
    free(forces);
    free(numbers);
    return status;
}
