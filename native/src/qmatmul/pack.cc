// gatun_qmatmul_pack and its inverse: from the planes of gatun_quantize to the packed form (layout.h) and back.
#include "qmatmul/pack.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <type_traits>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"
#include "simd/float_mode.h"

namespace gatun::qmatmul {
namespace {

// The caller's form of the weights, as gatun_quantize writes it. T is uint8_t or const uint8_t.
template <typename T>
struct Planes {
  T* codes;
  T* scales;
  T* zero_points;
};

int64_t code_row_bytes(const gatun_qmatmul_weights& w) { return dtype_bytes(w.code_dtype, w.depth); }
int64_t zero_point_bytes(const gatun_qmatmul_weights& w) {
  return w.zero_point == GATUN_ZERO_NONE ? 0 : w.zero_point == GATUN_ZERO_FLOAT ? 4 : 1;
}
int64_t book_values(const gatun_qmatmul_weights& w) {
  return w.book != GATUN_BOOK_GIVEN ? 0 : w.code_dtype == GATUN_U4 ? 16 : 256;
}
// Of codes in their plane.
int code_bits(const gatun_qmatmul_weights& w) { return static_cast<int>(dtype_bytes(w.code_dtype, 8)); }

// Bytes of the planes of a description.
struct PlaneSizes {
  int64_t codes, scales, zero_points, book;

  explicit PlaneSizes(const gatun_qmatmul_weights& w, const Layout& layout) {
    const int64_t blocks = (w.columns == 0 ? 0 : (w.columns - 1) / w.group_rows + 1) * layout.groups();
    codes = w.columns * code_row_bytes(w);
    scales = blocks * dtype_bytes(w.scale_dtype, 1);
    zero_points = blocks * zero_point_bytes(w);
    book = book_values(w) * 4;
  }
};

int32_t refuse_gguf(const gatun_qmatmul_weights& weights, const char* function) {
  if (weights.gguf_type == 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "weights.gguf_type = %d; allowed: 0, with GGUF blocks %s_gguf", weights.gguf_type,
              function);
}

int32_t check_planes(const Planes<const uint8_t>& planes, const float* book, const PlaneSizes& sizes,
                     const gatun_qmatmul_weights& weights, const void* packed, int64_t packed_bytes) {
  if (sizes.codes > 0) {
    GATUN_TRY(check_not_null(planes.codes, "codes"));
    GATUN_TRY(check_not_null(planes.scales, "scales"));
    GATUN_TRY(check_aligned(planes.scales, dtype_bytes(weights.scale_dtype, 1), "scales"));
    if (sizes.zero_points > 0) {
      GATUN_TRY(check_not_null(planes.zero_points, "zero_points"));
      GATUN_TRY(check_aligned(planes.zero_points, zero_point_bytes(weights), "zero_points"));
    }
  }
  if (weights.zero_point == GATUN_ZERO_NONE && planes.zero_points != nullptr) {
    return fail(GATUN_INVALID_ARGUMENT, "zero_points is not null; allowed with weights without zero points: null");
  }
  if (sizes.book == 0 && book != nullptr) {
    return fail(GATUN_INVALID_ARGUMENT, "code_book is not null; allowed without GATUN_BOOK_GIVEN: null");
  }
  GATUN_TRY(check_aligned(book, 4, "code_book"));
  GATUN_TRY(check_disjoint(packed, packed_bytes, "packed", planes.codes, sizes.codes, "codes"));
  GATUN_TRY(check_disjoint(packed, packed_bytes, "packed", book, book == nullptr ? 0 : sizes.book, "code_book"));
  GATUN_TRY(check_disjoint(packed, packed_bytes, "packed", planes.scales, sizes.scales, "scales"));
  return check_disjoint(packed, packed_bytes, "packed", planes.zero_points, sizes.zero_points, "zero_points");
}

float scale_value(int32_t dtype, const uint8_t* at) {
  if (dtype == GATUN_E8M0) return e8m0_to_f32(*at);
  if (dtype == GATUN_F8E4M3) return small_to_f32<F8E4M3>(*at);
  if (dtype == GATUN_F16) {
    uint16_t half;
    std::memcpy(&half, at, sizeof(half));
    return f16_to_f32(half);
  }
  float value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// The first of `count` numbers that kernels could not bear; [i / row_length][i % row_length], or [i] with 0.
int32_t check_numbers(const uint8_t* at, int32_t dtype, int64_t count, int64_t row_length, const char* name) {
  const int64_t bytes = dtype_bytes(dtype, 1);
  for (int64_t i = 0; i < count; ++i) {
    const float value = scale_value(dtype, at + i * bytes);
    if (std::fabs(value) <= 0x1p64f) continue;
    char index[64], number[32];
    if (row_length == 0) {
      std::snprintf(index, sizeof(index), "[%lld]", static_cast<long long>(i));
    } else {
      std::snprintf(index, sizeof(index), "[%lld][%lld]", static_cast<long long>(i / row_length),
                    static_cast<long long>(i % row_length));
    }
    if (std::isfinite(value)) {
      std::snprintf(number, sizeof(number), "%g", static_cast<double>(value));
    } else {
      std::snprintf(number, sizeof(number), "%s", std::isnan(value) ? "NaN" : "infinity");
    }
    return fail(GATUN_INVALID_ARGUMENT, "%s%s = %s; allowed: finite, -2^64..2^64", name, index, number);
  }
  return GATUN_OK;
}

// Values that no quantizer makes and that kernels could not bear.
int32_t check_values(const gatun_qmatmul_weights& weights, const Planes<const uint8_t>& from, const PlaneSizes& sizes) {
  const int64_t groups = Layout(weights).groups();
  const int64_t scales = sizes.scales / dtype_bytes(weights.scale_dtype, 1);
  GATUN_TRY(check_numbers(from.scales, weights.scale_dtype, scales, groups, "scales"));
  if (weights.zero_point == GATUN_ZERO_FLOAT) {
    GATUN_TRY(check_numbers(from.zero_points, GATUN_F32, scales, groups, "zero_points"));
  } else if (const int highest = weights.code_dtype == GATUN_U4 ? 15 : 3; weights.code_dtype != GATUN_U8) {
    for (int64_t i = 0; i < sizes.zero_points; ++i) {
      if (from.zero_points[i] <= highest) continue;
      return fail(GATUN_INVALID_ARGUMENT, "zero_points[%lld][%lld] = %d; allowed with %s: 0..%d",
                  static_cast<long long>(i / groups), static_cast<long long>(i % groups), from.zero_points[i],
                  dtype_name(weights.code_dtype), highest);
    }
  }
  const bool e4m3 = weights.code_dtype == GATUN_F8E4M3, e5m2 = weights.code_dtype == GATUN_F8E5M2;
  for (int64_t i = 0; i < (e4m3 || e5m2 ? sizes.codes : 0); ++i) {
    const int magnitude = from.codes[i] & 0x7f;
    if (magnitude <= (e4m3 ? F8E4M3::kHighest : F8E5M2::kHighest)) continue;
    return fail(GATUN_INVALID_ARGUMENT, "codes[%lld][%lld] = %s; allowed: finite %s",
                static_cast<long long>(i / weights.depth), static_cast<long long>(i % weights.depth),
                e5m2 && magnitude == F8E5M2::kHighest + 1 ? "infinity" : "NaN", dtype_name(weights.code_dtype));
  }
  return GATUN_OK;
}

// Code k of a row whose codes take kBits each, from the lowest bits on. The row that is written holds zeros before.
template <int kBits>
uint8_t plane_code(const uint8_t* row, int64_t k) {
  if constexpr (kBits == 8) return row[k];
  const int64_t bit = kBits * k;
  const int shift = static_cast<int>(bit % 8);
  int code = row[bit / 8] >> shift;
  if (shift + kBits > 8) code |= row[bit / 8 + 1] << (8 - shift);
  return static_cast<uint8_t>(code & ((1 << kBits) - 1));
}
template <int kBits>
void set_plane_code(uint8_t* row, int64_t k, uint8_t value) {
  if constexpr (kBits == 8) {
    row[k] = value;
    return;
  }
  const int64_t bit = kBits * k;
  const int shift = static_cast<int>(bit % 8), code = value & ((1 << kBits) - 1);
  row[bit / 8] = static_cast<uint8_t>(row[bit / 8] | code << shift);
  if (shift + kBits > 8) row[bit / 8 + 1] = static_cast<uint8_t>(row[bit / 8 + 1] | code >> (8 - shift));
}

// Codes of a row pass through bytes, some at a time.
constexpr int64_t kBufferDepth = 512;

// Packs or unpacks a row of a panel: T is const uint8_t for the planes of packing, P for the packed form of unpacking.
template <int kBits, class T, class P>
void copy_column(const gatun_qmatmul_weights& weights, const Layout& layout, P* packed, const Planes<T>& planes,
                 int64_t n) {
  constexpr bool kPack = std::is_same_v<P, uint8_t>;
  constexpr bool kFourBits = kBits <= 4;
  T* row = planes.codes + n * code_row_bytes(weights);
  const int offset = layout.code_offset();
  const auto copy = [](P* packed_field, T* plane_field, int64_t bytes) {
    if constexpr (kPack) {
      std::memcpy(packed_field, plane_field, static_cast<size_t>(bytes));
    } else {
      std::memcpy(plane_field, packed_field, static_cast<size_t>(bytes));
    }
  };
  for (int64_t g = 0; g < layout.groups(); ++g) {
    GroupFields<P> fields(layout, packed, n, g);
    const int64_t depth = layout.group_depth(g);
    for (int64_t begin = 0; begin < depth; begin += kBufferDepth) {
      const int64_t count = depth - begin < kBufferDepth ? depth - begin : kBufferDepth;
      const int64_t first = g * layout.group() + begin;
      uint8_t codes[kBufferDepth];
      if constexpr (kPack) {
        for (int64_t k = 0; k < count; ++k) codes[k] = static_cast<uint8_t>(plane_code<kBits>(row, first + k) + offset);
        write_codes<kFourBits>(fields, codes, count);
      } else {
        read_codes<kFourBits>(fields, codes, count);
        for (int64_t k = 0; k < count; ++k) {
          set_plane_code<kBits>(row, first + k, static_cast<uint8_t>(codes[k] - offset));
        }
      }
      fields.codes += kBufferDepth / (kFourBits ? 2 : 1) * fields.rows;
    }
    // Rows share scales and zero points; the first of them gives them back.
    if (!kPack && n % weights.group_rows != 0) continue;
    const int64_t block = n / weights.group_rows * layout.groups() + g;
    copy(fields.scale, planes.scales + block * layout.scale_bytes(), layout.scale_bytes());
    if (layout.offset_bytes() > 0) {
      copy(fields.offset, planes.zero_points + block * layout.offset_bytes(), layout.offset_bytes());
    }
  }
}

template <class T, class P>
void copy_all(const gatun_qmatmul_weights& weights, const Layout& layout, P* packed, const Planes<T>& planes) {
  const int bits = code_bits(weights);
  const auto of = bits == 2   ? copy_column<2, T, P>
                  : bits == 4 ? copy_column<4, T, P>
                  : bits == 6 ? copy_column<6, T, P>
                              : copy_column<8, T, P>;
  for_each_column(layout, [&](int64_t n) { of(weights, layout, packed, planes, n); });
}

}  // namespace
}  // namespace gatun::qmatmul

using namespace gatun;
using namespace gatun::qmatmul;

int32_t gatun_qmatmul_packed_bytes(const gatun_qmatmul_weights* weights, int64_t* bytes) {
  GATUN_TRY(check_weights(weights, "weights"));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = Layout(*weights).bytes();
  return GATUN_OK;
}

int32_t gatun_qmatmul_pack(const gatun_qmatmul_weights* given, const void* codes, const float* code_book,
                           const void* scales, const void* zero_points, void* packed, int64_t packed_bytes) {
  GATUN_TRY(check_weights(given, "weights"));
  const gatun_qmatmul_weights weights = *given;
  GATUN_TRY(refuse_gguf(weights, "gatun_qmatmul_pack"));
  const Layout sizes_alone(weights);  // which no values change
  GATUN_TRY(check_packed_room(packed, packed_bytes, sizes_alone.bytes()));
  const PlaneSizes sizes(weights, sizes_alone);
  const DefaultFloatMode mode;  // the same bytes in any caller's mode
  const Planes<const uint8_t> from{static_cast<const uint8_t*>(codes), static_cast<const uint8_t*>(scales),
                                   static_cast<const uint8_t*>(zero_points)};
  if (sizes.book > 0) GATUN_TRY(check_not_null(code_book, "code_book"));
  GATUN_TRY(check_planes(from, code_book, sizes, weights, packed, sizes_alone.bytes()));
  GATUN_TRY(check_numbers(reinterpret_cast<const uint8_t*>(code_book), GATUN_F32, sizes.book / 4, 0, "code_book"));
  GATUN_TRY(check_values(weights, from, sizes));

  const Layout layout(weights, sizes.book == 64 && are_integers(code_book));
  uint8_t* to = static_cast<uint8_t*>(packed);
  begin_packed(weights, layout, code_book, to);
  copy_all(weights, layout, to, from);
  return GATUN_OK;
}

int32_t gatun_qmatmul_describe(const void* packed, int64_t packed_bytes, gatun_qmatmul_weights* weights) {
  GATUN_TRY(check_not_null(weights, "weights"));
  PackedWeights read;
  GATUN_TRY(read_header(packed, packed_bytes, &read));
  *weights = read.description;
  return GATUN_OK;
}

int32_t gatun_qmatmul_unpack(const gatun_qmatmul_weights* expected, const void* packed, int64_t packed_bytes,
                             void* codes, float* code_book, void* scales, void* zero_points) {
  PackedWeights read;
  GATUN_TRY(read_expected(expected, packed, packed_bytes, &read));
  const gatun_qmatmul_weights& weights = read.description;
  GATUN_TRY(refuse_gguf(weights, "gatun_qmatmul_unpack"));
  const Layout layout(weights, read.integer_book);
  PlaneSizes sizes(weights, layout);
  const Planes<uint8_t> to{static_cast<uint8_t*>(codes), static_cast<uint8_t*>(scales),
                           static_cast<uint8_t*>(zero_points)};
  GATUN_TRY(check_planes({to.codes, to.scales, to.zero_points}, code_book, sizes, weights, packed, layout.bytes()));
  if (code_book == nullptr) sizes.book = 0;
  const struct {
    const void* address;
    int64_t bytes;
    const char* name;
  } outputs[] = {{codes, sizes.codes, "codes"},
                 {code_book, sizes.book, "code_book"},
                 {scales, sizes.scales, "scales"},
                 {zero_points, sizes.zero_points, "zero_points"}};
  for (const auto* a = std::begin(outputs); a != std::end(outputs); ++a) {
    for (const auto* b = a + 1; b != std::end(outputs); ++b) {
      GATUN_TRY(check_disjoint(a->address, a->bytes, a->name, b->address, b->bytes, b->name));
    }
  }
  const uint8_t* from = static_cast<const uint8_t*>(packed);
  if (sizes.book > 0) read_book(layout, from, code_book);
  if (sizes.codes > 0) std::memset(to.codes, 0, static_cast<size_t>(sizes.codes));
  copy_all(weights, layout, from, to);
  return GATUN_OK;
}
