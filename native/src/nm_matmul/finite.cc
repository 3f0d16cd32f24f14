#include "nm_matmul/finite.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "gatun/gatun.h"

namespace gatun::nm_matmul {
namespace {

// The first of `rows` rows for which bad(row) holds, or -1.
template <class Bad>
int64_t first_row(int64_t rows, int64_t row_cost, Bad bad) {
  std::atomic<int64_t> first{rows};
  const int32_t threads = useful_threads(0, rows, rows * row_cost, 1 << 17);
  parallel_for(rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end && row < first.load(std::memory_order_relaxed); ++row) {
      if (!bad(row)) continue;
      for (int64_t seen = first.load(); row < seen && !first.compare_exchange_weak(seen, row);) {
      }
    }
  });
  return first < rows ? first.load() : -1;
}

// Whether any of `count` floats of 16 or 32 bits (Bits) has all bits of kExponent: is NaN or infinite.
template <class Bits, Bits kExponent>
bool any_not_finite(const uint8_t* at, int64_t count) {
  constexpr Bits kMagnitude = static_cast<Bits>(static_cast<Bits>(~Bits{0}) >> 1);
  Bits highest = 0;
  for (int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, at + i * static_cast<int64_t>(sizeof(bits)), sizeof(bits));
    highest = std::max(highest, static_cast<Bits>(bits & kMagnitude));
  }
  return highest >= kExponent;
}

bool row_not_finite(const uint8_t* row, int32_t dtype, int64_t count) {
  return dtype == GATUN_F32   ? any_not_finite<uint32_t, 0x7f800000>(row, count)
         : dtype == GATUN_F16 ? any_not_finite<uint16_t, 0x7c00>(row, count)
                              : any_not_finite<uint16_t, 0x7f80>(row, count);
}

}  // namespace

int32_t check_finite(const uint8_t* at, int32_t dtype, int64_t rows, int64_t columns, const char* name) {
  const int64_t row_bytes = columns * dtype_bytes(dtype, 1);
  const int64_t row =
      first_row(rows, row_bytes, [&](int64_t r) { return row_not_finite(at + r * row_bytes, dtype, columns); });
  return row < 0 ? int32_t{GATUN_OK} : fail_not_finite(at, dtype, row, columns, name);
}

int32_t fail_not_finite(const uint8_t* at, int32_t dtype, int64_t row, int64_t columns, const char* name) {
  for (int64_t k = 0; k < columns; ++k) {
    if (!row_not_finite(at + dtype_bytes(dtype, row * columns + k), dtype, 1)) continue;
    return fail(GATUN_INVALID_ARGUMENT, "%s[%lld][%lld] is NaN or infinite; allowed: finite", name,
                static_cast<long long>(row), static_cast<long long>(k));
  }
  return fail(GATUN_INTERNAL, "%s: row %lld had a number that is not finite, and has none when it is read again", name,
              static_cast<long long>(row));
}

}  // namespace gatun::nm_matmul
