#include "quantize/table.h"

#include <iterator>

#include "gatun/types.h"

namespace gatun::quantize {

KernelTable<QuantizeKernel> quantize_table() {
#define GATUN_QUANTIZE_KERNEL(name, isa, x, codes) {#name, Tier::isa, GATUN_##x, GATUN_##codes, &isa::name},
#define GATUN_DEQUANTIZE_KERNEL(name, isa, codes, x)
  static constexpr KernelRow<QuantizeKernel> kRows[] = {
#include "quantize/kernels.inc"
  };
#undef GATUN_QUANTIZE_KERNEL
#undef GATUN_DEQUANTIZE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

KernelTable<DequantizeKernel> dequantize_table() {
#define GATUN_QUANTIZE_KERNEL(name, isa, x, codes)
#define GATUN_DEQUANTIZE_KERNEL(name, isa, codes, x) {#name, Tier::isa, GATUN_##codes, GATUN_##x, &isa::name},
  static constexpr KernelRow<DequantizeKernel> kRows[] = {
#include "quantize/kernels.inc"
  };
#undef GATUN_QUANTIZE_KERNEL
#undef GATUN_DEQUANTIZE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::quantize
