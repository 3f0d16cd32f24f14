#include "decode/table.h"

namespace gatun::decode {
namespace {

bool is_codes(int32_t dtype) { return dtype == GATUN_I8 || dtype == GATUN_U4 || dtype == GATUN_U2; }

Products products_of_floats(const gatun_decode_params& p, int32_t dtype) {
  return p.dtype == GATUN_BF16 && dtype == GATUN_BF16 ? kBf16 : kFloat;
}

}  // namespace

Products products_of_keys(const gatun_decode_params& p, int32_t dtype) {
  if (!is_codes(dtype)) return products_of_floats(p, dtype);
  return p.mode == GATUN_DECODE_INT8 ? kCoarse : kFine;
}

Products products_of_values(const gatun_decode_params& p, int32_t dtype) {
  return is_codes(dtype) ? kFine : products_of_floats(p, dtype);
}

#define GATUN_DECODE_KEYS(name, isa, dtype, products)
#define GATUN_DECODE_VALUES(name, isa, dtype, products)
#define GATUN_DECODE_LOOP(name, isa)

Table<TableRow<KeyKernel>> key_table() {
#undef GATUN_DECODE_KEYS
#define GATUN_DECODE_KEYS(name, isa, dtype, products) {#name, Tier::isa, GATUN_##dtype, products, &isa::name},
  static constexpr TableRow<KeyKernel> kRows[] = {
#include "decode/kernels.inc"
  };
#undef GATUN_DECODE_KEYS
#define GATUN_DECODE_KEYS(name, isa, dtype, products)
  return {std::begin(kRows), std::end(kRows)};
}

Table<TableRow<ValueKernel>> value_table() {
#undef GATUN_DECODE_VALUES
#define GATUN_DECODE_VALUES(name, isa, dtype, products) {#name, Tier::isa, GATUN_##dtype, products, &isa::name},
  static constexpr TableRow<ValueKernel> kRows[] = {
#include "decode/kernels.inc"
  };
#undef GATUN_DECODE_VALUES
#define GATUN_DECODE_VALUES(name, isa, dtype, products)
  return {std::begin(kRows), std::end(kRows)};
}

Table<LoopRow> loop_table() {
#undef GATUN_DECODE_LOOP
#define GATUN_DECODE_LOOP(name, isa) {#name, Tier::isa, &isa::name},
  static constexpr LoopRow kRows[] = {
#include "decode/kernels.inc"
  };
#undef GATUN_DECODE_LOOP
#define GATUN_DECODE_LOOP(name, isa)
  return {std::begin(kRows), std::end(kRows)};
}

#undef GATUN_DECODE_KEYS
#undef GATUN_DECODE_VALUES
#undef GATUN_DECODE_LOOP

}  // namespace gatun::decode
