/* SPDX-License-Identifier: GPL-2.0-only */
/* What the fix command says, and whether the simulation can do it. */
#include <cstdlib>
#include <cstring>

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "fix_posterion.h"
#include "memory.h"
#include "update.h"
#include "utils.h"

using namespace LAMMPS_NS;
using namespace FixConst;

namespace {
constexpr int n_vector = 6;
}

FixPosterion::FixPosterion(LAMMPS *lmp, int narg, char **arg) :
    Fix(lmp, narg, arg), wants_stress(true), n_periodic(0), energy_unit(1.0), service(nullptr),
    opened_periodicity(), n_atoms(0), answer(), n_spread(0)
{
  if (narg < 4) utils::missing_cmd_args(FLERR, "fix posterion", error);
  if (!domain->box_exist) error->all(FLERR, "fix posterion must come after the box is defined");
  if (igroup != 0) error->all(FLERR, "fix posterion must be of the group all");

  scalar_flag = vector_flag = 1;
  size_vector = n_vector;
  global_freq = 1;
  extscalar = 1;
  extvector = 0;
  peratom_flag = 1;
  size_peratom_cols = 0;
  peratom_freq = 1;
  energy_global_flag = virial_global_flag = 1;
  thermo_energy = thermo_virial = 1;

  url = strcmp(arg[3], "default") == 0 ? "" : arg[3];
  posterion_options_init(&options);
  read_settings(narg, arg);

  n_spread = atom->nmax > 0 ? atom->nmax : 1;
  memory->create(vector_atom, n_spread, "posterion:vector_atom");
  for (int i = 0; i < n_spread; i++) vector_atom[i] = 0.0;
}

FixPosterion::~FixPosterion()
{
  posterion_close(service);
  memory->destroy(vector_atom);
}

const char *FixPosterion::setting(int narg, char **arg, int at)
{
  if (at + 1 >= narg)
    utils::missing_cmd_args(FLERR, std::string("fix posterion ") + arg[at], error);
  return arg[at + 1];
}

void FixPosterion::read_settings(int narg, char **arg)
{
  int at = 4;
  while (at < narg) {
    const std::string name = arg[at];
    if (name == "elements") {
      for (int type = 1; type <= atom->ntypes; type++) {
        const char *symbol = at + type < narg ? arg[at + type] : "nothing";
        const int number = posterion_atomic_number(symbol);
        if (number == 0)
          error->all(FLERR, "fix posterion elements needs a symbol for each of the " +
                         std::to_string(atom->ntypes) + " atom types, got " + symbol);
        numbers_of_types.push_back(number);
      }
      at += 1 + atom->ntypes;
      continue;
    }
    const char *value = setting(narg, arg, at);
    if (name == "model") model = value;
    else if (name == "version") version = value;
    else if (name == "digest") digest = value;
    else if (name == "authorization") {
      const char *held = getenv(value);
      if (held == nullptr)
        error->all(FLERR, std::string("fix posterion: no environment variable ") + value);
      authorization = held;
    } else if (name == "precision") {
      if (strcmp(value, "float32") != 0 && strcmp(value, "float64") != 0)
        error->all(FLERR, "fix posterion precision must be float32 or float64");
      options.double_precision = strcmp(value, "float64") == 0;
    } else if (name == "transport") {
      const std::string way = value;
      if (way != "auto" && way != "http" && way != "websocket")
        error->all(FLERR, "fix posterion transport must be auto, http or websocket");
      options.transport = way == "auto" ? POSTERION_AUTO
          : way == "http"               ? POSTERION_HTTP
                                        : POSTERION_WEBSOCKET;
    } else if (name == "uncertainty")
      options.uncertainty = utils::logical(FLERR, value, false, lmp);
    else if (name == "virial")
      wants_stress = utils::logical(FLERR, value, false, lmp) != 0;
    else if (name == "samples") options.n_samples = utils::inumeric(FLERR, value, false, lmp);
    else if (name == "charge") options.charge = utils::inumeric(FLERR, value, false, lmp);
    else if (name == "multiplicity")
      options.spin_multiplicity = utils::inumeric(FLERR, value, false, lmp);
    else if (name == "timeout") options.timeout_s = utils::numeric(FLERR, value, false, lmp);
    else if (name == "budget") options.retry_budget_s = utils::numeric(FLERR, value, false, lmp);
    else
      error->all(FLERR, "fix posterion does not know the keyword " + name);
    at += 2;
  }
  if (numbers_of_types.size() != static_cast<size_t>(atom->ntypes))
    error->all(FLERR, "fix posterion needs elements: a symbol for each atom type, given once");
  if (!wants_stress) thermo_virial = virial_global_flag = 0;
}

int FixPosterion::setmask()
{
  return POST_FORCE | MIN_POST_FORCE;
}

void FixPosterion::init()
{
  if (strcmp(update->unit_style, "metal") == 0)
    energy_unit = 1.0;
  else if (strcmp(update->unit_style, "real") == 0)
    energy_unit = utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
  else
    error->all(FLERR, "fix posterion needs units metal or real");
  if (domain->dimension != 3) error->all(FLERR, "fix posterion needs three dimensions");
  if (!atom->tag_enable) error->all(FLERR, "fix posterion needs atom IDs");
  if (utils::strmatch(update->integrate_style, "^respa"))
    error->all(FLERR, "fix posterion does not work with run_style respa");
  n_periodic = domain->periodicity[0] + domain->periodicity[1] + domain->periodicity[2];
  if (wants_stress && n_periodic != 0 && n_periodic != 3 && comm->me == 0)
    error->warning(FLERR,
                   "fix posterion has no virial where only some directions are periodic: the "
                   "pressure lacks its part");
}

double FixPosterion::memory_usage()
{
  return sizeof(double) * (positions.size() + packed.size() + gathered.size() +
                           forces.size() + spread.size() + n_spread);
}
