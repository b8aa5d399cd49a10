/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Energies, forces and uncertainty of a Posterion service, for codes in C and Fortran.
 *
 * Units are Angstrom, eV, eV/Angstrom and eV/Angstrom^3. Arrays of positions and forces hold the
 * three components of atom 0, then those of atom 1, and so on; a cell holds its three lattice
 * vectors one after the other. Stress is positive where the system is under tension.
 *
 *     posterion_options options;
 *     posterion *service = NULL;
 *     posterion_result result;
 *
 *     posterion_options_init(&options);
 *     if (posterion_open(&service, "http://127.0.0.1:8000", 3, numbers, NULL, &options) != POSTERION_OK
 *         || posterion_evaluate(service, 3, positions, NULL, forces, NULL, &result) != POSTERION_OK)
 *         fprintf(stderr, "%s\n", posterion_message(service));
 *     posterion_close(service);
 *
 * The sample set that answers first answers every later call, or the call fails with
 * POSTERION_MODEL_CHANGED: a trajectory never changes its potential halfway. Failures that may
 * pass (no connection; the statuses 429, 502, 503, 504, a proxy's 500) are waited out within a budget.
 *
 * Threads: a handle may be used by one thread at a time, different handles by different threads
 * at once. The library has no global state of its own. That of libcurl is initialised by the
 * first handle, which is safe in threads from libcurl 7.84 on; with an older one call
 * curl_global_init before the threads begin. Processes that fork open their own handles.
 */
#ifndef POSTERION_H
#define POSTERION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a call came to. The numbers are stable. */
typedef enum posterion_status {
    POSTERION_OK = 0,
    POSTERION_INVALID_ARGUMENT = 1,  /* a setting or an argument is wrong; nothing was sent */
    POSTERION_OUT_OF_MEMORY = 2,
    POSTERION_CONNECTION_FAILED = 3, /* refused, reset or cut, until the budget was used up */
    POSTERION_TIMED_OUT = 4,         /* likewise */
    POSTERION_INVALID_REPLY = 5,     /* the answer is not one of a Posterion service */
    POSTERION_BAD_STRUCTURE = 6,     /* the structure cannot be evaluated, e.g. unknown element */
    POSTERION_NON_FINITE = 7,        /* the answer holds NaN or infinity */
    POSTERION_MODEL_CHANGED = 8,     /* another sample set would answer */
    POSTERION_REFUSED = 9,           /* the request is refused, e.g. unknown model, credentials */
    POSTERION_UNAVAILABLE = 10       /* the service cannot answer, until the budget was used up */
} posterion_status;

/* Flags of a structure: bits of `candidate_flags` and `failed_flags`. */
enum {
    POSTERION_FORCE_EPISTEMIC_HIGH = 1,
    POSTERION_ENERGY_EPISTEMIC_HIGH = 2,
    POSTERION_LATENT_DENSITY_LOW = 4,
    POSTERION_CLOSE_CONTACT = 8,
    POSTERION_ISOLATED_ATOM = 16,
    POSTERION_COMPOSITION_UNSEEN = 32
};

/* How questions reach the service. */
enum {
    POSTERION_AUTO = 0,     /* by a session where the service and the way allow it, else by HTTP */
    POSTERION_HTTP = 1,     /* every question is a request of its own */
    POSTERION_WEBSOCKET = 2 /* by a session, which costs a quarter of a request */
};

/* Is told in one line that the library waits for the service. */
typedef void (*posterion_notice)(const char *line, void *context);

/* Settings; posterion_options_init gives the defaults. Strings are copied by posterion_open. */
typedef struct posterion_options {
    const char *model;         /* NULL = the service's default */
    const char *version;       /* version, digest or alias of the model; NULL = stable */
    const char *digest;        /* sample set that must answer; NULL = the one that answers first */
    const char *authorization; /* value of the Authorization header; NULL = the environment
                                * variable POSTERION_AUTHORIZATION, then none */
    int double_precision;      /* 0 = float32, 1 = float64, the slower reference engine */
    int stress;                /* 1 = wanted, 0 = not, -1 = if all directions are periodic */
    int uncertainty;           /* 1 = standard deviations wanted; flags come in any case */
    int n_samples;             /* evaluate only the first n samples; 0 = all */
    int transport;             /* POSTERION_AUTO, _HTTP or _WEBSOCKET */
    int charge;                /* total charge */
    int spin_multiplicity;     /* 2S + 1 */
    double connect_timeout_s;  /* longest time to connect; 5 */
    double timeout_s;          /* longest time of one attempt; 60 */
    double retry_budget_s;     /* no attempt starts later than this after the first; 600 */
    posterion_notice notice;   /* told that an attempt follows; NULL = nobody is told */
    void *notice_context;
} posterion_options;

/* What the service says about one structure. What was not asked for is NaN. */
typedef struct posterion_result {
    double energy;
    double stress[9];
    double energy_epistemic; /* calibrated standard deviations: spread of the samples, */
    double energy_total;     /* with the aleatoric part, */
    double force_max;        /* largest epistemic one of an atom's force, */
    double force_rms;        /* root mean square over the atoms */
    uint32_t candidate_flags; /* worth a reference calculation */
    uint32_t failed_flags;    /* do not use */
    int32_t n_samples;        /* posterior samples evaluated */
} posterion_result;

/* One service and one set of atoms. */
typedef struct posterion posterion;

/* Fill in the defaults. */
void posterion_options_init(posterion_options *options);

/*
 * Prepare to ask about some atoms; nothing is sent yet.
 *
 * handle: is set to NULL only where memory is out; close it whatever the status is.
 * url: address of the service; NULL = the environment variable POSTERION_URL, then
 *     http://127.0.0.1:8000.
 * n_atoms, numbers: atomic numbers.
 * pbc: three numbers, not 0 where the direction is periodic; NULL = none is.
 * options: NULL = the defaults.
 */
posterion_status posterion_open(posterion **handle, const char *url, int n_atoms,
                                const int *numbers, const int *pbc,
                                const posterion_options *options);

/*
 * Ask about the atoms at some positions.
 *
 * n_atoms: must be that of posterion_open.
 * positions: 3 n_atoms numbers.
 * cell: 9 numbers; NULL where no direction is periodic.
 * forces: room for 3 n_atoms numbers.
 * force_epistemic: room for n_atoms numbers, the standard deviation of the force on each atom;
 *     NULL = not wanted.
 * result: everything else.
 *
 * Nothing is written where the status is not POSTERION_OK.
 */
posterion_status posterion_evaluate(posterion *handle, int n_atoms, const double *positions,
                                    const double *cell, double *forces, double *force_epistemic,
                                    posterion_result *result);

/* Hang up and free everything; NULL is ignored. */
void posterion_close(posterion *handle);

/* One line about the last failure of a handle; valid until its next call. */
const char *posterion_message(const posterion *handle);

/* Stable name of the last failure, the service's own where it gave one: "unsupported-element". */
const char *posterion_code(const posterion *handle);

/* Stable name of a status. */
const char *posterion_status_name(posterion_status status);

/* Name of the model that answers, and its sample set; empty before the first answer. */
const char *posterion_model(const posterion *handle);
const char *posterion_digest(const posterion *handle);

/* Questions answered so far. */
int64_t posterion_n_answers(const posterion *handle);

/* Name of one flag; NULL where the bit is unknown. */
const char *posterion_flag_name(uint32_t bit);

/* Atomic number of an element's symbol; 0 where there is none. */
int posterion_atomic_number(const char *symbol);

#ifdef __cplusplus
}
#endif

#endif
