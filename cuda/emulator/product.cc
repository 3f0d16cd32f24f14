#include "product.h"

#include <cstring>

#include "base/dtype.h"
#include "block.h"
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif

namespace gatun::emulator {
namespace {

constexpr int kRows = 16, kMostStored = 32, kMostDepth = 64, kMostColumns = 256;

// A warp's operands. Of a row of `a` that is stored sparsely, `at` are the places in the whole row.
struct Operation {
  double a[kRows][kMostStored];
  int at[kRows][kMostStored];
  double b[kMostDepth][kMostColumns];
  int stored, columns;
};
Operation operation;  // no fiber leaves while it is used, and it is too large for a fiber's stack

bool is_integer(Element type) { return type == Element::i8 || type == Element::u8; }
int bytes_of(Element type) { return type == Element::f16 || type == Element::bf16 ? 2 : 1; }

// Conversions without branches: valgrind objects to a branch on a value that was never written, and what is not written
// may be multiplied where the result is not used (rows behind the last one). It follows the value to where it is used.
uint32_t all_if(uint32_t condition) { return 0u - condition; }

float widened_f16(uint16_t x) {
  const uint32_t magnitude = x & 0x7fffu;
  const float finite = float_from_bits(magnitude << 13) * 0x1p112f;
  const uint32_t special = all_if((0x7bffu - magnitude) >> 31);
  return float_from_bits(float_bits(finite) | (special & 0x7f800000u) | (x & 0x8000u) << 16);
}

float widened_e4m3(uint8_t x) {
  const uint32_t magnitude = x & 0x7fu;
  const float finite = float_from_bits(magnitude << 20) * 0x1p120f;
  const uint32_t special = all_if((0x7eu - magnitude) >> 31);
  return float_from_bits(float_bits(finite) | (special & 0x7fc00000u) | (x & 0x80u) << 24);
}

float rounded(double sum) {
  const uint32_t bits = float_bits(static_cast<float>(sum));
  const uint32_t nan = all_if((0x7f800000u - (bits & 0x7fffffffu)) >> 31);
  return float_from_bits((bits & ~nan) | (0x7fffffffu & nan));
}

double value_at(Element type, const uint8_t* bytes) {
  uint16_t half;
  switch (type) {
    case Element::f16:
      std::memcpy(&half, bytes, 2);
      return double{widened_f16(half)};
    case Element::bf16:
      std::memcpy(&half, bytes, 2);
      return double{bf16_to_f32(half)};
    case Element::i8:
      return static_cast<int8_t>(*bytes);
    case Element::e4m3:
      return double{widened_e4m3(*bytes)};
    default:
      return *bytes;
  }
}

double value_at(Element type, const uint32_t& word, int i) {
  return value_at(type, reinterpret_cast<const uint8_t*>(&word) + i * bytes_of(type));
}

// A lane's place: ptx/mma.h.
struct Place {
  explicit Place(int lane) : g(lane / 4), t(lane % 4) {}
  int g, t;
};

void set_dense() {
  for (int row = 0; row < kRows; ++row) {
    for (int i = 0; i < kMostStored; ++i) operation.at[row][i] = i;
  }
}

// Where what is stored of `a` belongs, by the metadata of lanes: ptx/mma_sp.h.
template <class MetadataOf>
void set_sparse(Element type, int selector, MetadataOf metadata_of) {
  for (int row = 0; row < kRows; ++row) {
    for (int i = 0; i < operation.stored; ++i) {
      const int part = i / (operation.stored / 2), g = row % 8;
      const bool wide = bytes_of(type) == 2;
      const int lane = wide ? 4 * g + 2 * selector + part : 4 * g + 2 * part + row / 8;
      const int bit = 2 * (i % (operation.stored / 2)) + (wide ? row / 8 * 16 : 0);
      const uint32_t pair = metadata_of(lane) >> (bit & ~3) & 15;
      if ((pair & 3) >= pair >> 2) block().fault("a sparse product: metadata %u of a pair do not ascend", pair);
      operation.at[row][i] = i / 2 * 4 + static_cast<int>(pair >> (bit & 2) & 3);
    }
  }
}

void gather_a(Element type, int lane, const uint32_t* registers) {
  const Place place(lane);
  const int each = 4 / bytes_of(type);
  for (int r = 0; r < 4; ++r) {
    for (int i = 0; i < each; ++i) {
      operation.a[place.g + 8 * (r & 1)][each * (place.t + 4 * (r >> 1)) + i] = value_at(type, registers[r], i);
    }
  }
  operation.stored = 8 * each;
}

void gather_b(Element type, int lane, const uint32_t* registers, int count) {
  const Place place(lane);
  const int each = 4 / bytes_of(type);
  for (int r = 0; r < count; ++r) {
    for (int i = 0; i < each; ++i) {
      operation.b[each * (place.t + 4 * r) + i][place.g] = value_at(type, registers[r], i);
    }
  }
  operation.columns = 8;
}

// d[lane] holds 4 values of each eight columns.
void multiply_and_scatter(bool integers, bool accumulate, void* const (&d)[kWarp]) {
  static double sums[kRows][kMostColumns];
  for (int row = 0; row < kRows; ++row) {
    double* const sum = sums[row];
    for (int column = 0; column < operation.columns; ++column) sum[column] = 0;
    for (int i = 0; i < operation.stored; ++i) {
      const double a = operation.a[row][i];
      const double* const b = operation.b[operation.at[row][i]];
      for (int column = 0; column < operation.columns; ++column) sum[column] += a * b[column];
    }
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    const Place place(lane);
    for (int i = 0; i < operation.columns / 2; ++i) {
      const double sum = sums[place.g + 8 * (i % 4 / 2)][i / 4 * 8 + 2 * place.t + i % 2];
      if (integers) {
        uint32_t& to = static_cast<uint32_t*>(d[lane])[i];
        to = (accumulate ? to : 0) + static_cast<uint32_t>(static_cast<int64_t>(sum));
      } else {
        float& to = static_cast<float*>(d[lane])[i];
        to = rounded((accumulate ? double{to} : 0) + sum);
      }
    }
  }
}

// ---- matrices in shared memory: ptx/wgmma.h ----

// Whether 16 bytes are equal, for valgrind without a branch on what was never written.
bool same(const uint8_t* x, const uint8_t* y) {
  uint8_t bytes[2][16];
  std::memcpy(bytes[0], x, 16);
  std::memcpy(bytes[1], y, 16);
#if defined(VALGRIND_MAKE_MEM_DEFINED)
  VALGRIND_MAKE_MEM_DEFINED(bytes, sizeof(bytes));
#endif
  return std::memcmp(bytes[0], bytes[1], 16) == 0;
}

class SharedMatrix {
 public:
  explicit SharedMatrix(uint64_t descriptor)
      : start_((descriptor & 0x3fff) << 4),
        leading_((descriptor >> 16 & 0x3fff) << 4),
        stride_((descriptor >> 32 & 0x3fff) << 4),
        row_bytes_(kRowBytes[descriptor >> 62]) {
    if (start_ / 128 % (row_bytes_ / 16) != 0) {
      block().fault(
          "wgmma: a matrix begins at offset %lld of shared memory, amid the pattern of a swizzle of %lld bytes",
          static_cast<long long>(start_), static_cast<long long>(row_bytes_));
    }
  }

  // 16 bytes of a row of `depth`.
  const uint8_t* row(int64_t row, int64_t byte) const {
    if (row_bytes_ == 16) return chunk(row / 8 * stride_ + row % 8 * 16 + byte / 16 * leading_);
    return chunk(row / 8 * stride_ + row % 8 * row_bytes_ + byte);
  }
  // Of a transposed one, 16 bytes of columns.
  const uint8_t* transposed_row(int64_t k, int64_t byte) const {
    if (row_bytes_ == 16) block().fault("wgmma: a transposed matrix without a swizzle is not emulated");
    return chunk(byte / row_bytes_ * leading_ + k / 8 * stride_ + k % 8 * row_bytes_ + byte % row_bytes_);
  }

 private:
  static constexpr int64_t kRowBytes[4] = {16, 128, 64, 32};

  const uint8_t* chunk(int64_t distance) const {
    const int64_t straight = start_ + distance;
    const int64_t offset = straight ^ (straight / 128 % (row_bytes_ / 16)) * 16;
    if (offset + 16 > block().shared_bytes()) {
      block().fault("wgmma: a matrix reaches offset %lld of %lld bytes of shared memory",
                    static_cast<long long>(offset), static_cast<long long>(block().shared_bytes()));
    }
    const uint8_t* const bytes = block().shared_async() + offset;
    if (!same(bytes, block().shared() + offset)) {
      block().fault(
          "wgmma: at offset %lld of shared memory, a thread has written what it reads, with no fence_proxy_async after "
          "it, or before a wait for the product",
          static_cast<long long>(offset));
    }
    return bytes;
  }

  int64_t start_, leading_, stride_, row_bytes_;
};

// A warp's part of the product.
struct WarpProduct {
  GroupProduct all;
  int warp;  // of the group
  const uint32_t* a[kWarp];
  const uint32_t* metadata[kWarp];
  void* d[kWarp];
};

void multiply_part(const WarpProduct& part) {
  const GroupProduct& product = part.all;
  const bool sparse = product.metadata != nullptr;
  const int bytes = bytes_of(product.a_type), each = 16 / bytes, depth = (sparse ? 64 : 32) / bytes;
  operation.stored = 32 / bytes;
  operation.columns = product.n;
  if (sparse) {
    set_sparse(product.a_type, product.selector, [&](int lane) { return *part.metadata[lane]; });
  } else {
    set_dense();
  }
  if (product.a == nullptr) {
    const SharedMatrix matrix(product.a_matrix);
    for (int row = 0; row < kRows; ++row) {
      for (int k = 0; k < depth; k += each) {
        const uint8_t* const from = matrix.row(kRows * part.warp + row, k * bytes);
        for (int i = 0; i < each; ++i) operation.a[row][k + i] = value_at(product.a_type, from + i * bytes);
      }
    }
  } else {
    for (int lane = 0; lane < kWarp; ++lane) gather_a(product.a_type, lane, part.a[lane]);
  }
  const SharedMatrix matrix(product.b_matrix);
  if (product.transposed_b) {
    for (int k = 0; k < depth; ++k) {
      for (int column = 0; column < product.n; column += each) {
        const uint8_t* const from = matrix.transposed_row(k, column * bytes);
        for (int i = 0; i < each; ++i) operation.b[k][column + i] = value_at(product.b_type, from + i * bytes);
      }
    }
  } else {
    for (int column = 0; column < product.n; ++column) {
      for (int k = 0; k < depth; k += each) {
        const uint8_t* const from = matrix.row(column, k * bytes);
        for (int i = 0; i < each; ++i) operation.b[k + i][column] = value_at(product.b_type, from + i * bytes);
      }
    }
  }
  multiply_and_scatter(is_integer(product.a_type), product.accumulate, part.d);
}

}  // namespace

void multiply(Element a, Element b, const Fragments* const* lanes) {
  void* d[kWarp];
  set_dense();
  for (int lane = 0; lane < kWarp; ++lane) {
    gather_a(a, lane, lanes[lane]->a);
    gather_b(b, lane, lanes[lane]->b, 2);
    d[lane] = lanes[lane]->d;
  }
  multiply_and_scatter(is_integer(a), true, d);
}

void multiply_sparse(Element type, int selector, const Fragments* const* lanes) {
  void* d[kWarp];
  for (int lane = 0; lane < kWarp; ++lane) {
    gather_a(type, lane, lanes[lane]->a);
    gather_b(type, lane, lanes[lane]->b, 4);
    d[lane] = lanes[lane]->d;
  }
  set_sparse(type, selector, [&](int lane) { return lanes[lane]->metadata; });
  multiply_and_scatter(is_integer(type), true, d);
}

void issue_product(GroupProduct own) {
  if (own.a != nullptr) block().check_fenced(own.a, 16);
  if (own.metadata != nullptr) block().check_fenced(own.metadata, 4);
  block().check_fenced(own.d, static_cast<size_t>(own.n) / 2 * 4);
  together("wgmma.mma_async", own, [](GroupProduct* const* lanes) {
    const int warp = block().thread() / kWarp;
    const GroupProduct& all = *lanes[0];
    WarpProduct part = {all, warp % (kGroup / kWarp), {}, {}, {}};
    for (int lane = 0; lane < kWarp; ++lane) {
      const GroupProduct& one = *lanes[lane];
      if (one.n != all.n || one.a_type != all.a_type || one.b_type != all.b_type || one.a_matrix != all.a_matrix ||
          one.b_matrix != all.b_matrix || one.transposed_b != all.transposed_b || one.accumulate != all.accumulate ||
          one.selector != all.selector || (one.metadata == nullptr) != (all.metadata == nullptr)) {
        block().fault("wgmma.mma_async: lanes of a warp want different products");
      }
      part.a[lane] = one.a;
      part.metadata[lane] = one.metadata;
      part.d[lane] = one.d;
    }
    block().products(warp).issue([part] { multiply_part(part); });
  });
}

void wait_for_products(int pending) {
  group_together("wgmma.wait_group", [pending] {
    const int first = block().thread() / kGroup * (kGroup / kWarp);
    for (int warp = first; warp < first + kGroup / kWarp; ++warp) {
      if (block().products(warp).issued() != block().products(first).issued()) {
        block().fault("wgmma.wait_group: the warps of a group have issued different numbers of products");
      }
      block().products(warp).wait(pending);
      if (pending == 0) block().free_all_registers(warp);
    }
  });
}

}  // namespace gatun::emulator
