#include "nm_format/layout.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/nm.h"
#include "base/parallel.h"
#include "base/status.h"

namespace gatun::nm_format {

int32_t layout_of(const gatun_nm_format* format, Layout* layout) {
  GATUN_TRY(check_not_null(format, "format"));
  const gatun_nm_format& f = *format;
  GATUN_TRY(check_struct_size(f.struct_size, sizeof(f), "format"));
  GATUN_TRY(check_nm(f.n, f.m, "format"));
  GATUN_TRY(check_range(f.vector, 1, INT32_MAX, "format.vector"));
  GATUN_TRY(check_dtype(f.value_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U4}, "format.value_dtype"));
  GATUN_TRY(check_range(f.threads, 0, kMaxThreads, "format.threads"));
  GATUN_TRY(check_range(f.columns, 0, kMaxSize, "format.columns"));
  GATUN_TRY(check_range(f.depth, 0, kMaxSize, "format.depth"));
  Layout& l = *layout;
  l.n = f.n;
  l.m = f.m;
  l.index_bits = index_bits(f.m);
  l.columns = f.columns;
  l.depth = f.depth;
  l.vector = f.vector;
  l.vectors = blocks_of(f.columns, f.vector);
  l.groups = blocks_of(f.depth, f.m);
  l.slots = l.groups * f.n;  // below 2^62 + 32
  l.element = dtype_bytes(f.value_dtype, 1);
  int64_t dense_bits, value_bits;
  const int64_t bits = dtype_bytes(f.value_dtype, 2) * 4;
  const auto row_bytes = [](int64_t total) { return total / 8 + (total % 8 != 0); };
  if (__builtin_mul_overflow(f.depth, bits, &dense_bits) || __builtin_mul_overflow(l.slots, bits, &value_bits)) {
    return fail(GATUN_INVALID_ARGUMENT, "format.depth = %lld: a row of %s exceeds 2^60 bytes; allowed: less",
                static_cast<long long>(f.depth), dtype_name(f.value_dtype));
  }
  l.dense_row = row_bytes(dense_bits);
  l.values_row = row_bytes(value_bits);
  l.indices_row = index_row_bytes(l.slots, f.m);
  l.mask_row = row_bytes(f.depth);
  GATUN_TRY(check_extent(l.columns, l.dense_row, l.dense_row, 1, 8, "dense", &l.dense_bytes));
  GATUN_TRY(check_extent(l.columns, l.values_row, l.values_row, 1, 8, "values", &l.values_bytes));
  GATUN_TRY(check_extent(l.vectors, l.indices_row, l.indices_row, 1, 8, "indices", &l.indices_bytes));
  return check_extent(l.columns, l.mask_row, l.mask_row, 1, 8, "mask", &l.mask_bytes);
}

}  // namespace gatun::nm_format
