// The tables of kernels.inc, and the entry with the tier as an argument.
#pragma once

#include <iterator>

#include "decode/kernel.h"

namespace gatun::decode {

template <class Kernel>
struct TableRow {
  const char* name;
  Tier tier;
  int32_t dtype;
  Products products;
  const Kernel* kernel;

  // Products in f32 do where there are none in bf16.
  bool does(int32_t wanted_dtype, Products wanted) const {
    return dtype == wanted_dtype && (products == wanted || (products == kFloat && wanted == kBf16));
  }
};

struct LoopRow {
  const char* name;
  Tier tier;
  const Loop* kernel;
};

template <class Row>
struct Table {
  const Row* first;
  const Row* last;
  const Row* begin() const { return first; }
  const Row* end() const { return last; }
};

Table<TableRow<KeyKernel>> key_table();
Table<TableRow<ValueKernel>> value_table();
Table<LoopRow> loop_table();

// The first row that does it and whose tier may run when `limit` is the tier in use. The scalar tier has one for all.
template <class Kernel>
const TableRow<Kernel>& select(Table<TableRow<Kernel>> table, int32_t dtype, Products products, Tier limit) {
  const TableRow<Kernel>* row = table.first;
  while (!row->does(dtype, products) || !tier_usable(row->tier, limit)) ++row;
  return *row;
}
inline const LoopRow& select(Table<LoopRow> table, Tier limit) {
  const LoopRow* row = table.first;
  while (!tier_usable(row->tier, limit)) ++row;
  return *row;
}

// What these dtypes of q and of keys or values are multiplied in.
Products products_of_keys(const gatun_decode_params& p, int32_t dtype);
Products products_of_values(const gatun_decode_params& p, int32_t dtype);

// As in gatun/decode.h, with kernels of `limit` and lower tiers.
int32_t run(Tier limit, const gatun_decode_params* params, const gatun_kv_layout* k_layout,
            const gatun_kv_layout* v_layout, const Inputs& inputs, void* out, float* lse, float* logits);

}  // namespace gatun::decode
