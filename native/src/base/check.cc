#include "base/check.h"

#include "base/dtype.h"
#include "base/status.h"
#include "base/text.h"

namespace gatun {
namespace {
constexpr int64_t kMaxBytes = int64_t{1} << 62;
using LongLong = long long;
}  // namespace

int32_t check_not_null(const void* pointer, const char* name) {
  return pointer != nullptr ? GATUN_OK : fail(GATUN_INVALID_ARGUMENT, "%s is null", name);
}

int32_t check_struct_size(uint32_t given, uint32_t expected, const char* name) {
  if (given == expected) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s.struct_size = %u; this library expects %u", name, given, expected);
}

int32_t check_range(int64_t value, int64_t low, int64_t high, const char* name) {
  if (value >= low && value <= high) return GATUN_OK;
  if (high == INT64_MAX) {
    return fail(GATUN_INVALID_ARGUMENT, "%s = %lld; allowed: at least %lld", name, LongLong{value}, LongLong{low});
  }
  return fail(GATUN_INVALID_ARGUMENT, "%s = %lld; allowed: %lld..%lld", name, LongLong{value}, LongLong{low},
              LongLong{high});
}

int32_t check_field(int64_t value, int64_t low, int64_t high, const char* name, const char* field) {
  if (value >= low && value <= high) return GATUN_OK;  // building the name takes longer than a small call
  Text full_name;
  full_name.add("%s.%s", name, field);
  return check_range(value, low, high, full_name.c_str());
}

int32_t check_dtype(int32_t dtype, std::initializer_list<int32_t> allowed, const char* name) {
  for (const int32_t each : allowed) {
    if (dtype == each) return GATUN_OK;
  }
  Text names;
  for (const int32_t& each : allowed) {
    names.add("%s%s", &each == allowed.begin() ? "" : ", ", dtype_name(each));
  }
  return fail(GATUN_INVALID_ARGUMENT, "%s = %d (%s); allowed: %s", name, dtype, dtype_name(dtype), names.c_str());
}

int32_t check_absent(bool wanted, const void* address, const char* name, const char* why) {
  if (wanted || address == nullptr) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s is not null; allowed: null, since %s", name, why);
}

int32_t check_aligned(const void* address, int64_t bytes, const char* name) {
  if (reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(bytes) == 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s is at address %p; allowed: multiples of %lld", name, address,
              LongLong{bytes});
}

int32_t check_extent(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride, int64_t element_bits,
                     const char* name, int64_t* bytes) {
  *bytes = 0;
  if (rows == 0 || columns == 0) return GATUN_OK;
  int64_t last_row, last_column, elements, bits;
  if (__builtin_mul_overflow(rows - 1, row_stride, &last_row) ||
      __builtin_mul_overflow(columns - 1, column_stride, &last_column) ||
      __builtin_add_overflow(last_row, last_column, &elements) || __builtin_add_overflow(elements, 1, &elements) ||
      elements > kMaxBytes / 8 || __builtin_mul_overflow(elements, element_bits, &bits)) {
    return fail(GATUN_INVALID_ARGUMENT,
                "%s: %lld rows of %lld elements with strides %lld and %lld exceed 2^62 bytes; allowed: less", name,
                LongLong{rows}, LongLong{columns}, LongLong{row_stride}, LongLong{column_stride});
  }
  *bytes = bits / 8 + (bits % 8 != 0);
  return GATUN_OK;
}

int32_t check_row_stride(int64_t rows, int64_t columns, int64_t row_stride, const char* name) {
  if (rows < 2 || row_stride >= columns) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s = %lld elements; allowed: at least the %lld of a row", name,
              LongLong{row_stride}, LongLong{columns});
}

int32_t check_disjoint(const void* a, int64_t a_bytes, const char* a_name, const void* b, int64_t b_bytes,
                       const char* b_name) {
  const uintptr_t a_begin = reinterpret_cast<uintptr_t>(a), b_begin = reinterpret_cast<uintptr_t>(b);
  if (a_bytes == 0 || b_bytes == 0 || a_begin >= b_begin + static_cast<uintptr_t>(b_bytes) ||
      b_begin >= a_begin + static_cast<uintptr_t>(a_bytes)) {
    return GATUN_OK;
  }
  return fail(GATUN_INVALID_ARGUMENT, "%s [%p, +%lld) overlaps %s [%p, +%lld); allowed: disjoint memory", a_name, a,
              LongLong{a_bytes}, b_name, b, LongLong{b_bytes});
}

int32_t check_buffers(Buffer* buffers, int count, const Buffer* in_place, const Buffer* original) {
  for (Buffer* b = buffers; b != buffers + count; ++b) {
    GATUN_TRY(
        check_extent(b->rows, b->columns, b->row_stride, b->column_stride, b->element_bytes * 8, b->name, &b->bytes));
    if (b->bytes > 0) {
      GATUN_TRY(check_not_null(b->address, b->name));
      GATUN_TRY(check_aligned(b->address, b->element_bytes, b->name));
    }
  }
  for (const Buffer* out = buffers; out != buffers + count; ++out) {
    if (!out->output) continue;
    for (const Buffer* b = buffers; b != buffers + count; ++b) {
      if (b == out || (b->output && b > out)) continue;  // of two outputs, once
      const bool same = out == in_place && b == original && out->address == b->address &&
                        (out->rows < 2 || out->row_stride == b->row_stride);
      if (!same) GATUN_TRY(check_disjoint(out->address, out->bytes, out->name, b->address, b->bytes, b->name));
    }
  }
  return GATUN_OK;
}

}  // namespace gatun
