/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Ethanol at constant energy, by velocity Verlet: prints potential, kinetic and total energy of
 * every step in eV.
 *
 *     nve [URL [STEPS]]
 */
#include <stdio.h>
#include <stdlib.h>

#include "posterion.h"

enum { N = 9 };

/* eV/Angstrom on one atomic mass unit, in Angstrom/fs^2 (CODATA 2014, as ASE). */
static const double ACCELERATION = 1.6021766208e-19 / 1.660539040e-27 * 1e-10;
static const double TIMESTEP_FS = 0.5;

static const char *const symbols[N] = {"C", "C", "O", "H", "H", "H", "H", "H", "H"};
static double positions[3 * N] = {
    1.168181,  -0.397382, 0.0, 0.0,      0.559462, 0.0,       -1.190083, -0.191023, 0.0,
    -1.946623, 0.381525,  0.0, 0.042557, 1.207508, 0.886933,  0.042557,  1.207508,  -0.886933,
    2.115891,  0.1448,    0.0, 1.128599, -1.037234, 0.885881, 1.128599,  -1.037234, -0.885881,
};

static double mass_of(int number)
{
    return number == 1 ? 1.008 : number == 6 ? 12.011 : 15.999;
}

static void report(int step, double potential, const double *masses, const double *velocities)
{
    double kinetic = 0.0;

    for (int i = 0; i < 3 * N; i++)
        kinetic += 0.5 * masses[i / 3] * velocities[i] * velocities[i] / ACCELERATION;
    printf("%6d %25.17e %25.17e %25.17e\n", step, potential, kinetic, potential + kinetic);
}

int main(int argc, char **argv)
{
    const int n_steps = argc > 2 ? atoi(argv[2]) : 200;
    double forces[3 * N], velocities[3 * N] = {0.0}, masses[N];
    int numbers[N];
    posterion_options options;
    posterion_result result;
    posterion *service = NULL;

    for (int i = 0; i < N; i++) {
        numbers[i] = posterion_atomic_number(symbols[i]);
        masses[i] = mass_of(numbers[i]);
    }
    posterion_options_init(&options);
    options.double_precision = 1;
    options.retry_budget_s = 30.0;
    if (posterion_open(&service, argc > 1 ? argv[1] : NULL, N, numbers, NULL, &options)
            != POSTERION_OK
        || posterion_evaluate(service, N, positions, NULL, forces, NULL, &result) != POSTERION_OK)
        goto failed;
    report(0, result.energy, masses, velocities);
    for (int step = 1; step <= n_steps; step++) {
        for (int i = 0; i < 3 * N; i++) {
            velocities[i] += 0.5 * TIMESTEP_FS * ACCELERATION * forces[i] / masses[i / 3];
            positions[i] += TIMESTEP_FS * velocities[i];
        }
        if (posterion_evaluate(service, N, positions, NULL, forces, NULL, &result) != POSTERION_OK)
            goto failed;
        for (int i = 0; i < 3 * N; i++)
            velocities[i] += 0.5 * TIMESTEP_FS * ACCELERATION * forces[i] / masses[i / 3];
        report(step, result.energy, masses, velocities);
        if (result.failed_flags != 0)
            fprintf(stderr, "step %d: do not trust it, flags %#x\n", step,
                    (unsigned)result.failed_flags);
    }
    posterion_close(service);
    return EXIT_SUCCESS;

failed:
    fprintf(stderr, "posterion: %s\n", posterion_message(service));
    posterion_close(service);
    return EXIT_FAILURE;
}
