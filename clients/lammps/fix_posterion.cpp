/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every step the first process collects the atoms of all, asks the service about the whole
 * system, and tells the others: no process needs ghost atoms or neighbours. A failure is told
 * the same way, so that all processes end together with one line in the log.
 */
#include "fix_posterion.h"

#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "memory.h"
#include "update.h"
#include "utils.h"

using namespace LAMMPS_NS;

namespace {
constexpr int n_packed = 5;    // ID, type and position of an atom
constexpr int nap_us = 50;
}

void FixPosterion::setup(int vflag)
{
  post_force(vflag);
}

void FixPosterion::min_setup(int vflag)
{
  post_force(vflag);
}

void FixPosterion::min_post_force(int vflag)
{
  post_force(vflag);
}

void FixPosterion::post_force(int vflag)
{
  ask();
  apply(vflag);
}

// After this every process has the answer to the question about the present positions.
void FixPosterion::ask()
{
  const bool complete = collect();

  if (comm->me == 0 && complete) evaluate();
  tell(&answer, sizeof(answer));
  if (answer.failed) error->all(FLERR, std::string("fix posterion: ") + answer.message);
  MPI_Bcast(&n_atoms, 1, MPI_INT, 0, world);
  forces.resize(3 * static_cast<size_t>(n_atoms));
  spread.resize(n_atoms);
  MPI_Bcast(forces.data(), 3 * n_atoms, MPI_DOUBLE, 0, world);
  MPI_Bcast(spread.data(), n_atoms, MPI_DOUBLE, 0, world);
}

// Tell all processes what the first one has. The others sleep meanwhile: MPI would let them spin
// for as long as the service evaluates, which may need the very cores.
void FixPosterion::tell(void *bytes, int n_bytes)
{
#ifdef MPI_STUBS
  MPI_Bcast(bytes, n_bytes, MPI_BYTE, 0, world);
#else
  MPI_Request request;
  int done = 0;

  MPI_Ibcast(bytes, n_bytes, MPI_BYTE, 0, world, &request);
  if (comm->me == 0) {
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    return;
  }
  for (;;) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done) return;
    std::this_thread::sleep_for(std::chrono::microseconds(nap_us));
  }
#endif
}

// Bring all atoms to the first process. It returns whether they can be asked about.
bool FixPosterion::collect()
{
  const int n_local = atom->nlocal, n_values = n_packed * n_local;
  int n_found = 0;

  packed.resize(n_values > 0 ? n_values : 1);
  for (int i = 0, at = 0; i < n_local; i++) {
    packed[at++] = static_cast<double>(atom->tag[i]);
    packed[at++] = atom->type[i];
    for (int axis = 0; axis < 3; axis++) packed[at++] = atom->x[i][axis];
  }
  counts.resize(comm->nprocs);
  offsets.resize(comm->nprocs);
  MPI_Gather(&n_values, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, world);
  if (comm->me == 0)
    for (int rank = 0; rank < comm->nprocs; rank++) {
      offsets[rank] = n_packed * n_found;
      n_found += counts[rank] / n_packed;
    }
  if (comm->me == 0) gathered.resize(n_found > 0 ? n_packed * static_cast<size_t>(n_found) : 1);
  MPI_Gatherv(packed.data(), n_values, MPI_DOUBLE, gathered.data(), counts.data(), offsets.data(),
              MPI_DOUBLE, 0, world);
  if (comm->me != 0) return false;

  answer.failed = 0;
  if (service != nullptr && n_found != n_atoms) {
    fail("invalid-argument: the run began with " + std::to_string(n_atoms) +
         " atoms, now it has " + std::to_string(n_found));
    return false;
  }
  std::vector<int> found(n_found, 0);
  positions.resize(3 * static_cast<size_t>(n_found));
  for (int i = 0; i < n_found; i++) {
    const double *values = gathered.data() + n_packed * static_cast<size_t>(i);
    if (values[0] < 1 || values[0] > n_found || found[static_cast<int>(values[0]) - 1] != 0) {
      fail("invalid-argument: atom IDs must go from 1 to " + std::to_string(n_found) +
           "; see reset_atoms id");
      return false;
    }
    const int place = static_cast<int>(values[0]) - 1;
    found[place] = numbers_of_types[static_cast<int>(values[1]) - 1];
    memcpy(positions.data() + 3 * static_cast<size_t>(place), values + 2, 3 * sizeof(double));
  }
  if (service == nullptr) return open(found);
  if (found != numbers) {
    fail("invalid-argument: an atom has become another element");
    return false;
  }
  if (memcmp(opened_periodicity, domain->periodicity, sizeof(opened_periodicity)) != 0) {
    fail("invalid-argument: the boundary has changed; define the fix again");
    return false;
  }
  return true;
}

// From now on the fix is of these atoms and of the sample set that answers first.
bool FixPosterion::open(const std::vector<int> &found)
{
  numbers = found;
  n_atoms = static_cast<int>(found.size());
  memcpy(opened_periodicity, domain->periodicity, sizeof(opened_periodicity));
  options.model = model.empty() ? nullptr : model.c_str();
  options.version = version.empty() ? nullptr : version.c_str();
  options.digest = digest.empty() ? nullptr : digest.c_str();
  options.authorization = authorization.empty() ? nullptr : authorization.c_str();
  options.stress = wants_stress && n_periodic == 3;
  options.notice = waits;
  options.notice_context = lmp;
  if (posterion_open(&service, url.empty() ? nullptr : url.c_str(), n_atoms, numbers.data(),
                     domain->periodicity, &options) == POSTERION_OK)
    return true;
  fail(posterion_message(service));
  return false;
}

void FixPosterion::evaluate()
{
  const double cell[9] = {domain->xprd, 0.0,          0.0, domain->xy,  domain->yprd,
                          0.0,          domain->xz,   domain->yz, domain->zprd};

  forces.resize(3 * static_cast<size_t>(n_atoms));
  spread.resize(n_atoms);
  if (posterion_evaluate(service, n_atoms, positions.data(), cell, forces.data(), spread.data(),
                         &answer.result) != POSTERION_OK)
    fail(posterion_message(service));
}

void FixPosterion::fail(const std::string &message)
{
  answer.failed = 1;
  snprintf(answer.message, sizeof(answer.message), "%s", message.c_str());
}

// Is called on the first process while the service cannot be reached.
void FixPosterion::waits(const char *line, void *context)
{
  utils::logmesg(static_cast<LAMMPS *>(context), std::string("fix posterion: ") + line + "\n");
}

void FixPosterion::apply(int vflag)
{
  const int n_local = atom->nlocal;
  double **f = atom->f;

  if (atom->nmax > n_spread) {
    n_spread = atom->nmax;
    memory->grow(vector_atom, n_spread, "posterion:vector_atom");
  }
  for (int i = 0; i < n_local; i++) {
    const int place = static_cast<int>(atom->tag[i]) - 1;
    for (int axis = 0; axis < 3; axis++) f[i][axis] += energy_unit * forces[3 * place + axis];
    vector_atom[i] = energy_unit * spread[place];
  }
  v_init(vflag);
  if (vflag_global) add_virial();
}

// In the order xx yy zz xy xz yz. LAMMPS adds up what the processes hold.
void FixPosterion::add_virial()
{
  static const int first[6] = {0, 1, 2, 0, 0, 1}, second[6] = {0, 1, 2, 1, 2, 2};
  const double volume = domain->xprd * domain->yprd * domain->zprd;
  double **x = atom->x;

  if (n_periodic == 3)
    for (int k = 0; k < 6; k++)
      virial[k] = -energy_unit * volume * answer.result.stress[3 * first[k] + second[k]] /
          comm->nprocs;
  else if (n_periodic == 0)    // forces add up to zero, so that the origin does not matter
    for (int i = 0; i < atom->nlocal; i++) {
      const double *force = forces.data() + 3 * static_cast<size_t>(atom->tag[i] - 1);
      for (int k = 0; k < 6; k++) virial[k] += energy_unit * x[i][first[k]] * force[second[k]];
    }
}

double FixPosterion::compute_scalar()
{
  return energy_unit * answer.result.energy;
}

double FixPosterion::compute_vector(int place)
{
  const posterion_result &result = answer.result;

  switch (place) {
    case 0: return energy_unit * result.energy_epistemic;
    case 1: return energy_unit * result.force_max;
    case 2: return energy_unit * result.force_rms;
    case 3: return result.failed_flags != 0 ? 2.0 : result.candidate_flags != 0 ? 1.0 : 0.0;
    case 4: return result.candidate_flags;
    default: return result.failed_flags;
  }
}
