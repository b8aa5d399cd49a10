/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Names of elements and flags. */
#include <string.h>

#include "posterion.h"

/* By atomic number; a symbol and a space each, so that every place is a multiple of three. */
static const char symbols[] =
    "H  He Li Be B  C  N  O  F  Ne Na Mg Al Si P  S  Cl Ar K  Ca Sc Ti V  Cr Mn Fe Co Ni Cu Zn "
    "Ga Ge As Se Br Kr Rb Sr Y  Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I  Xe Cs Ba La Ce Pr Nd "
    "Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W  Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th "
    "Pa U  Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og ";

static const char *const flags[] = {
    "force-epistemic-high", "energy-epistemic-high", "latent-density-low",
    "close-contact",        "isolated-atom",         "composition-unseen",
};

int posterion_atomic_number(const char *symbol)
{
    const size_t n = symbol == NULL ? 0 : strlen(symbol);

    if (n == 0 || n > 2 || symbol[0] == ' ' || symbol[n - 1] == ' ')
        return 0;
    for (size_t at = 0; at + 3 < sizeof symbols; at += 3)
        if (strncmp(symbols + at, symbol, n) == 0 && symbols[at + n] == ' ')
            return (int)(at / 3) + 1;
    return 0;
}

const char *posterion_flag_name(uint32_t bit)
{
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (bit == (uint32_t)1 << i)
            return flags[i];
    return NULL;
}
