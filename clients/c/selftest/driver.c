/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Runs a job of the self-test at constant energy and writes what came of it.
 *
 *     selftest_c JOB TRACE
 *
 * A job is a text: a line each for the address, the model and the digest (- = none), then the
 * bits of precision, seconds for retries, atoms, steps, fs of a step, 1 if periodic, the number of
 * a transport, nine numbers
 * of the cell, and of each atom its atomic number, mass (u), position (Angstrom) and velocity
 * (Angstrom/fs). A trace holds potential and total energy (eV) of each step, forces of the start,
 * positions of the end, stress and largest uncertainty of the start, and the number of answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "posterion.h"

/* eV/Angstrom on one atomic mass unit, in Angstrom/fs^2 (CODATA 2014, as ASE). */
static const double ACCELERATION = 1.6021766208e-19 / 1.660539040e-27 * 1e-10;

struct job {
    char url[512], model[256], digest[256];
    int bits, n, n_steps, periodic, transport;
    double budget_s, timestep_fs, cell[9];
    int *numbers;
    double *masses, *positions, *velocities, *forces;
};

static void give_up(const char *what)
{
    fprintf(stderr, "selftest: %s\n", what);
    exit(EXIT_FAILURE);
}

static void *room_for(size_t n, size_t size)
{
    void *room = calloc(n, size);

    if (room == NULL)
        give_up("no memory");
    return room;
}

static void read_doubles(FILE *file, double *into, int n)
{
    for (int i = 0; i < n; i++)
        if (fscanf(file, "%lf", into + i) != 1)
            give_up("the job ends too early");
}

static void read_job(const char *path, struct job *job)
{
    FILE *file = fopen(path, "r");

    if (file == NULL
        || fscanf(file, "%511s %255s %255s %d %lf %d %d %lf %d %d", job->url, job->model, job->digest,
                  &job->bits, &job->budget_s, &job->n, &job->n_steps, &job->timestep_fs,
                  &job->periodic, &job->transport)
               != 10
        || job->n < 1)
        give_up("there is no job");
    read_doubles(file, job->cell, 9);
    job->numbers = room_for((size_t)job->n, sizeof(int));
    job->masses = room_for((size_t)job->n, sizeof(double));
    job->positions = room_for(3 * (size_t)job->n, sizeof(double));
    job->velocities = room_for(3 * (size_t)job->n, sizeof(double));
    job->forces = room_for(3 * (size_t)job->n, sizeof(double));
    for (int i = 0; i < job->n; i++) {
        if (fscanf(file, "%d", job->numbers + i) != 1)
            give_up("the job ends too early");
        read_doubles(file, job->masses + i, 1);
        read_doubles(file, job->positions + 3 * i, 3);
        read_doubles(file, job->velocities + 3 * i, 3);
    }
    fclose(file);
}

static void kick(struct job *job)
{
    for (int i = 0; i < 3 * job->n; i++)
        job->velocities[i] +=
            0.5 * job->timestep_fs * ACCELERATION * job->forces[i] / job->masses[i / 3];
}

static double kinetic_energy(const struct job *job)
{
    double sum = 0.0;

    for (int i = 0; i < 3 * job->n; i++)
        sum += job->masses[i / 3] * job->velocities[i] * job->velocities[i];
    return 0.5 * sum / ACCELERATION;
}

static void write_doubles(FILE *file, const double *from, int n)
{
    for (int i = 0; i < n; i++)
        fprintf(file, "%.17e%c", from[i], i % 3 == 2 || i == n - 1 ? '\n' : ' ');
}

static void evaluate(posterion *service, struct job *job, posterion_result *result)
{
    if (posterion_evaluate(service, job->n, job->positions, job->cell, job->forces, NULL, result)
        != POSTERION_OK)
        give_up(posterion_message(service));
}

int main(int argc, char **argv)
{
    static struct job job;
    posterion_options options;
    posterion_result result, start;
    posterion *service = NULL;
    double *first_forces;
    FILE *trace;

    if (argc != 3)
        give_up("usage: selftest_c JOB TRACE");
    read_job(argv[1], &job);
    posterion_options_init(&options);
    options.model = strcmp(job.model, "-") != 0 ? job.model : NULL;
    options.digest = strcmp(job.digest, "-") != 0 ? job.digest : NULL;
    options.double_precision = job.bits == 64;
    options.retry_budget_s = job.budget_s;
    options.transport = job.transport;
    const int pbc[3] = {job.periodic, job.periodic, job.periodic};
    if (posterion_open(&service, job.url, job.n, job.numbers, pbc, &options) != POSTERION_OK)
        give_up(posterion_message(service));
    evaluate(service, &job, &start);
    result = start;
    first_forces = room_for(3 * (size_t)job.n, sizeof(double));
    memcpy(first_forces, job.forces, 3 * (size_t)job.n * sizeof(double));
    trace = fopen(argv[2], "w");
    if (trace == NULL)
        give_up("the trace cannot be written");
    for (int step = 0;; step++) {
        fprintf(trace, "%.17e %.17e\n", result.energy, result.energy + kinetic_energy(&job));
        if (step == job.n_steps)
            break;
        kick(&job);
        for (int i = 0; i < 3 * job.n; i++)
            job.positions[i] += job.timestep_fs * job.velocities[i];
        evaluate(service, &job, &result);
        kick(&job);
    }
    write_doubles(trace, first_forces, 3 * job.n);
    write_doubles(trace, job.positions, 3 * job.n);
    write_doubles(trace, start.stress, 9);
    fprintf(trace, "%.17e %lld\n", start.force_max, (long long)posterion_n_answers(service));
    posterion_close(service);
    free(first_forces);
    free(job.numbers);
    free(job.masses);
    free(job.positions);
    free(job.velocities);
    free(job.forces);
    return fclose(trace) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
