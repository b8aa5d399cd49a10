/* SPDX-License-Identifier: GPL-2.0-only */
/* Forces of a Posterion service as a fix of LAMMPS; see README.md. */
#ifndef LMP_FIX_POSTERION_H
#define LMP_FIX_POSTERION_H

#include <string>
#include <vector>

#include "fix.h"
#include "posterion.h"

namespace LAMMPS_NS {

class FixPosterion : public Fix {
 public:
  FixPosterion(class LAMMPS *, int, char **);
  ~FixPosterion() override;

  int setmask() override;
  void init() override;
  void setup(int) override;
  void min_setup(int) override;
  void post_force(int) override;
  void min_post_force(int) override;
  double compute_scalar() override;
  double compute_vector(int) override;
  double memory_usage() override;

 private:
  // What the first process tells the others about a step, beside the arrays of the atoms.
  struct Answer {
    posterion_result result;
    int failed;          // 1 = `message` says why, and nothing else counts
    char message[1024];
  };

  void read_settings(int, char **);
  const char *setting(int, char **, int);
  void ask();
  bool collect();
  void tell(void *bytes, int n_bytes);
  void evaluate();
  bool open(const std::vector<int> &found);
  void fail(const std::string &);
  void apply(int);
  void add_virial();
  static void waits(const char *, void *);

  std::string url, model, version, digest, authorization;
  posterion_options options;
  std::vector<int> numbers_of_types;    // atomic number of each atom type, from type 1 on
  bool wants_stress;
  int n_periodic;
  double energy_unit;    // 1 eV in the energy unit of the simulation

  posterion *service;    // on the first process only
  int opened_periodicity[3];
  std::vector<int> numbers;       // of the atoms in the order of their IDs, on the first process
  int n_atoms;
  std::vector<double> positions;  // on the first process, in the order of the IDs
  std::vector<double> packed, gathered;
  std::vector<int> counts, offsets;
  std::vector<double> forces, spread;    // on all processes
  Answer answer;
  int n_spread;    // room of vector_atom
};

}    // namespace LAMMPS_NS

#endif
