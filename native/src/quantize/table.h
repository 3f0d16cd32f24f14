// The tables of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "gatun/quantize.h"
#include "quantize/kernel.h"

namespace gatun::quantize {

template <class Kernel>
struct Row {
  const char* name;
  Tier tier;
  int32_t from, to;  // dtypes
  const Kernel* kernel;
};

template <class Kernel>
struct Rows {
  const Row<Kernel>* first;
  const Row<Kernel>* last;

  const Row<Kernel>* begin() const { return first; }
  const Row<Kernel>* end() const { return last; }

  // The first row for these types whose tier may run when `limit` is the tier in use. The scalar rows do all types.
  const Row<Kernel>& select(int32_t from, int32_t to, Tier limit) const {
    const Row<Kernel>* row = first;
    while (row->from != from || row->to != to || !tier_usable(row->tier, limit)) ++row;
    return *row;
  }
};

Rows<QuantizeKernel> quantize_rows();
Rows<DequantizeKernel> dequantize_rows();

// As in gatun/quantize.h, with kernels of `limit` and lower tiers.
int32_t run_quantize(Tier limit, const gatun_quantize_params* params, const void* x, void* codes, void* scales,
                     void* zero_points);
int32_t run_dequantize(Tier limit, const gatun_quantize_params* params, const void* codes, const void* scales,
                       const void* zero_points, void* x);

}  // namespace gatun::quantize
