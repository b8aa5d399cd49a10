/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registers fix posterion with `plugin load posterionplugin.so`.
 *
 * Classes of LAMMPS have no stable layout: the plugin serves the version whose headers it was
 * compiled with. That is checked through the C interface, which is stable, before any class is
 * touched.
 */
#include <cstdio>

#include "fix_posterion.h"
#include "library.h"

#ifndef POSTERION_LAMMPS_VERSION
#error "say which LAMMPS the headers are of: -DPOSTERION_LAMMPS_VERSION=20250722"
#endif
#ifndef POSTERION_LAMMPS_DATE
#error "and the same as LAMMPS writes it: -DPOSTERION_LAMMPS_DATE='\"22 Jul 2025\"'"
#endif

namespace {

// lammpsplugin.h is not shipped with the wheel; this is its interface.
struct Plugin {
  const char *version, *style, *name, *info, *author;
  union {
    void *(*without_arguments)(void *);
    void *(*with_arguments)(void *, int, char **);
  } creator;
  void *handle;
};
using Register = void (*)(Plugin *, void *);

void *create(void *lmp, int narg, char **arg)
{
  return new LAMMPS_NS::FixPosterion(static_cast<LAMMPS_NS::LAMMPS *>(lmp), narg, arg);
}

}    // namespace

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *registrar);

void lammpsplugin_init(void *lmp, void *handle, void *registrar)
{
  char line[256];

  if (lammps_version(lmp) != POSTERION_LAMMPS_VERSION ||
      lammps_extract_setting(lmp, "tagint") != static_cast<int>(sizeof(LAMMPS_NS::tagint)) ||
      lammps_extract_setting(lmp, "bigint") != static_cast<int>(sizeof(LAMMPS_NS::bigint))) {
    snprintf(line, sizeof(line),
             "posterionplugin.so was compiled for LAMMPS %d, this is %d or differs in its "
             "integers; compile it again",
             POSTERION_LAMMPS_VERSION, lammps_version(lmp));
    lammps_error(lmp, LMP_ERROR_WARNING, line);
    return;
  }
  Plugin plugin = {};
  plugin.version = POSTERION_LAMMPS_DATE;
  plugin.style = "fix";
  plugin.name = "posterion";
  plugin.info = "forces and uncertainty of a Posterion service";
  plugin.author = "Posterion developers";
  plugin.creator.with_arguments = create;
  plugin.handle = handle;
  reinterpret_cast<Register>(registrar)(&plugin, lmp);
}
