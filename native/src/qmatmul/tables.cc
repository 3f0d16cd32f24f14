// The table of a packed form: what its codes stand for.
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/huge_pages.h"
#include "base/status.h"
#include "gatun/quantize.h"
#include "gguf/block.h"
#include "qmatmul/pack.h"

namespace gatun::qmatmul {
namespace {

constexpr int kIntegers = 16;
constexpr int kIntegerBias = 128;

// What code `code` of a small float stands for.
float small_float(int32_t dtype, int code) {
  const uint8_t byte = static_cast<uint8_t>(code);
  switch (dtype) {
    case GATUN_F8E4M3:
      return small_to_f32<F8E4M3>(byte);
    case GATUN_F8E5M2:
      return small_to_f32<F8E5M2>(byte);
    case GATUN_F6E3M2:
      return small_to_f32<F6E3M2>(byte);
    case GATUN_F6E2M3:
      return small_to_f32<F6E2M3>(byte);
    default:
      return small_to_f32<F4E2M1>(byte);
  }
}

void write_integers(const gatun_qmatmul_weights& weights, const float* code_book, uint8_t* table) {
  const gguf::Type* type = gguf::find_type(weights.gguf_type);
  for (int code = 0; code < kIntegers; ++code) {
    const int value = type != nullptr                      ? type->table[code]
                      : weights.code_dtype == GATUN_F4E2M1 ? static_cast<int>(2 * small_float(GATUN_F4E2M1, code))
                                                           : static_cast<int>(code_book[code]);
    table[code] = static_cast<uint8_t>(value + kIntegerBias);
  }
}

void write_floats(const gatun_qmatmul_weights& weights, int count, const float* code_book, uint8_t* table) {
  float values[256];
  if (weights.book == GATUN_BOOK_GIVEN) {
    std::memcpy(values, code_book, static_cast<size_t>(count) * sizeof(float));
  } else if (weights.book != GATUN_BOOK_NONE) {
    gatun_code_book(weights.book, values);  // there is one: descriptions are checked
  } else {
    for (int code = 0; code < count; ++code) values[code] = small_float(weights.code_dtype, code);
  }
  std::memcpy(table, values, static_cast<size_t>(count) * sizeof(float));
}

}  // namespace

bool are_integers(const float* values) {
  for (int i = 0; i < kIntegers; ++i) {
    if (!(std::fabs(values[i]) <= 127)) return false;
    if (float_bits(static_cast<float>(static_cast<int>(values[i]))) != float_bits(values[i])) return false;
  }
  return true;
}

void begin_packed(const gatun_qmatmul_weights& weights, const Layout& layout, const float* code_book, uint8_t* packed) {
  prefer_huge_pages(packed, layout.bytes());
  std::memset(packed, 0, static_cast<size_t>(layout.bytes()));
  const PackedHeader header = header_of(weights, layout);
  std::memcpy(packed, &header, sizeof(header));
  uint8_t* table = packed + Layout::table_offset();
  if (layout.stored() == Stored::t4) write_integers(weights, code_book, table);
  if (layout.stored() == Stored::b4) write_floats(weights, 16, code_book, table);
  if (layout.stored() == Stored::b8) write_floats(weights, 256, code_book, table);
}

void read_book(const Layout& layout, const uint8_t* packed, float* values) {
  const uint8_t* table = packed + Layout::table_offset();
  if (layout.stored() == Stored::t4) {
    for (int code = 0; code < kIntegers; ++code) values[code] = static_cast<float>(table[code] - kIntegerBias);
  } else {
    std::memcpy(values, table, static_cast<size_t>(layout.table_bytes()));
  }
}

int32_t read_expected(const gatun_qmatmul_weights* expected, const void* packed, int64_t packed_bytes,
                      PackedWeights* weights) {
  GATUN_TRY(check_weights(expected, "weights"));
  GATUN_TRY(read_header(packed, packed_bytes, weights));
  const gatun_qmatmul_weights& read = weights->description;
  // Byte by byte: no byte is padding, and floats that are allowed (not 0, not NaN) have one form each.
  static_assert(sizeof(read) == 7 * sizeof(int32_t) + sizeof(float) + 3 * sizeof(int64_t));
  if (std::memcmp(expected, &read, sizeof(read)) == 0) return GATUN_OK;
  const auto codes = [](const gatun_qmatmul_weights& w) {
    const gguf::Type* type = gguf::find_type(w.gguf_type);
    return type == nullptr ? dtype_name(w.code_dtype) : type->name;
  };
  return fail(
      GATUN_INVALID_ARGUMENT,
      "packed holds [%lld, %lld] %s in groups of %d x %lld, code book %d, zero points %d, scales %s, tensor "
      "scale %.9g; allowed: what weights says, [%lld, %lld] %s in groups of %d x %lld, code book %d, zero points "
      "%d, scales %s, tensor scale %.9g",
      static_cast<long long>(read.columns), static_cast<long long>(read.depth), codes(read), read.group_rows,
      static_cast<long long>(read.group), read.book, read.zero_point, dtype_name(read.scale_dtype),
      double{read.tensor_scale}, static_cast<long long>(expected->columns), static_cast<long long>(expected->depth),
      codes(*expected), expected->group_rows, static_cast<long long>(expected->group), expected->book,
      expected->zero_point, dtype_name(expected->scale_dtype), double{expected->tensor_scale});
}

}  // namespace gatun::qmatmul
