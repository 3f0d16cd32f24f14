// A table of kernels, told apart by two dtypes: what they turn into what, or what they multiply with what.
#pragma once

#include "base/cpu.h"
#include "base/dtype.h"
#include "base/text.h"

namespace gatun {

template <class Kernel>
struct KernelRow {
  const char* name;
  Tier tier;
  int32_t from, to;  // dtypes
  const Kernel* kernel;

  bool converts(int32_t from_dtype, int32_t to_dtype) const { return from == from_dtype && to == to_dtype; }
};

// Why a row of a tier that is not usable was not chosen.
inline void explain_passed_over(const char* name, Tier tier, Text& out) {
  out.add("  passed over: %s (%s)\n", name,
          tier_supported(tier) ? "GATUN_MAX_ISA" : "this processor or operating system cannot run its tier");
}

// The rows of a kernels.inc in its order, best first. The scalar tier has a row for all types.
template <class Kernel>
struct KernelTable {
  const KernelRow<Kernel>* first;
  const KernelRow<Kernel>* last;

  const KernelRow<Kernel>* begin() const { return first; }
  const KernelRow<Kernel>* end() const { return last; }

  // The first row for these types whose tier may run when `limit` is the tier in use.
  const KernelRow<Kernel>& select(int32_t from, int32_t to, Tier limit) const {
    const KernelRow<Kernel>* row = first;
    while (!row->converts(from, to) || !tier_usable(row->tier, limit)) ++row;
    return *row;
  }

  // Says which row the tier in use selects, and why not a better one. `from_name` and `to_name` say what the dtypes
  // are.
  void explain(const char* from_name, int32_t from, const char* to_name, int32_t to, Text& out) const {
    explain(from_name, from, dtype_name(to), to_name, to, out);
  }
  // The same where `to` is no dtype, but a number of this name.
  void explain(const char* from_name, int32_t from, const char* type_name, const char* to_name, int32_t to,
               Text& out) const {
    const KernelRow<Kernel>& chosen = select(from, to, active_tier());
    out.add("%s: the best kernel for %s %s and %s %s on tier %s\n", chosen.name, dtype_name(from), from_name, type_name,
            to_name, tier_name(active_tier()));
    for (const KernelRow<Kernel>* row = first; row != &chosen; ++row) {
      if (row->converts(from, to)) explain_passed_over(*row, out);
    }
  }

  static void explain_passed_over(const KernelRow<Kernel>& row, Text& out) {
    gatun::explain_passed_over(row.name, row.tier, out);
  }
};

}  // namespace gatun
