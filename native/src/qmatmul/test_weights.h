// Quantized weights of random codes for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "gatun/gguf.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"
#include "gguf/block.h"
#include "guard_buffer.h"
#include "qmatmul/layout.h"
#include "qmatmul/reference.h"
#include "rng.h"

namespace gatun::qmatmul {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

// What codes stand for.
struct Scheme {
  const char* name;
  int32_t code_dtype, book, zero_point, gguf_type;
  bool integer_book = false;

  bool operator==(const Scheme& other) const { return name == other.name; }
};
inline constexpr Scheme kI8{"I8", GATUN_I8, 0, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kU8{"U8 with zero points", GATUN_U8, 0, GATUN_ZERO_INTEGER, 0};
inline constexpr Scheme kU8Float{"U8 with float zero points", GATUN_U8, 0, GATUN_ZERO_FLOAT, 0};
inline constexpr Scheme kU4{"U4", GATUN_U4, 0, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kU4Zero{"U4 with zero points", GATUN_U4, 0, GATUN_ZERO_INTEGER, 0};
inline constexpr Scheme kU4Float{"U4 with float zero points", GATUN_U4, 0, GATUN_ZERO_FLOAT, 0};
inline constexpr Scheme kU2{"U2", GATUN_U2, 0, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kU2Zero{"U2 with zero points", GATUN_U2, 0, GATUN_ZERO_INTEGER, 0};
inline constexpr Scheme kU2Float{"U2 with float zero points", GATUN_U2, 0, GATUN_ZERO_FLOAT, 0};
inline constexpr Scheme kF4{"F4E2M1", GATUN_F4E2M1, 0, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kIntegers{"a book of integers", GATUN_U4, GATUN_BOOK_GIVEN, GATUN_ZERO_NONE, 0, true};

constexpr Scheme gguf_scheme(const char* name, int32_t type) { return {name, 0, 0, 0, type}; }
inline constexpr Scheme kQ4_0 = gguf_scheme("Q4_0", GATUN_GGUF_Q4_0), kQ4_1 = gguf_scheme("Q4_1", GATUN_GGUF_Q4_1),
                        kQ5_0 = gguf_scheme("Q5_0", GATUN_GGUF_Q5_0), kQ5_1 = gguf_scheme("Q5_1", GATUN_GGUF_Q5_1),
                        kQ8_0 = gguf_scheme("Q8_0", GATUN_GGUF_Q8_0), kQ2_K = gguf_scheme("Q2_K", GATUN_GGUF_Q2_K),
                        kQ3_K = gguf_scheme("Q3_K", GATUN_GGUF_Q3_K), kQ4_K = gguf_scheme("Q4_K", GATUN_GGUF_Q4_K),
                        kQ5_K = gguf_scheme("Q5_K", GATUN_GGUF_Q5_K), kQ6_K = gguf_scheme("Q6_K", GATUN_GGUF_Q6_K),
                        kIQ4_NL = gguf_scheme("IQ4_NL", GATUN_GGUF_IQ4_NL),
                        kIQ4_XS = gguf_scheme("IQ4_XS", GATUN_GGUF_IQ4_XS),
                        kMXFP4 = gguf_scheme("MXFP4", GATUN_GGUF_MXFP4);

inline constexpr Scheme kE4M3{"F8E4M3", GATUN_F8E4M3, 0, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kE5M2{"F8E5M2", GATUN_F8E5M2, 0, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kE3M2{"F6E3M2", GATUN_F6E3M2, 0, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kE2M3{"F6E2M3", GATUN_F6E2M3, 0, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kNF4{"NF4", GATUN_U4, GATUN_BOOK_NF4, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kFP4{"FP4", GATUN_U4, GATUN_BOOK_FP4, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kFloats{"a book of 16", GATUN_U4, GATUN_BOOK_GIVEN, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kDynamic{"dynamic", GATUN_U8, GATUN_BOOK_DYNAMIC, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kLinearUnsigned{"linear, unsigned", GATUN_U8, GATUN_BOOK_LINEAR_UNSIGNED, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kLinear{"linear", GATUN_U8, GATUN_BOOK_LINEAR, GATUN_ZERO_NONE, 0};
inline constexpr Scheme kDynamicUnsigned{"dynamic, unsigned", GATUN_U8, GATUN_BOOK_DYNAMIC_UNSIGNED, GATUN_ZERO_NONE,
                                         0};
inline constexpr Scheme kManyFloats{"a book of 256", GATUN_U8, GATUN_BOOK_GIVEN, GATUN_ZERO_NONE, 0};

inline constexpr Scheme kSchemes[] = {
    kI8,   kU8,       kU4,   kU4Zero, kU8Float, kU4Float,        kU2,         kU2Zero, kU2Float,
    kF4,   kIntegers, kQ4_0, kQ4_1,   kQ5_0,    kQ5_1,           kQ8_0,       kQ2_K,   kQ3_K,
    kQ4_K, kQ5_K,     kQ6_K, kIQ4_NL, kIQ4_XS,  kMXFP4,          kE4M3,       kE5M2,   kE3M2,
    kE2M3, kNF4,      kFP4,  kFloats, kDynamic, kLinearUnsigned, kManyFloats, kLinear, kDynamicUnsigned};
// Those whose codes stand for integers, and that have any group.
inline constexpr int kIntegerSchemes = 11;

// Quantized weights of random codes, as a caller has them and packed. Buffers touch inaccessible memory.
class Weights {
 public:
  struct Options {
    bool unit_scales = false;  // 1; and offsets are small integers
    int32_t group_rows = 1;
    float tensor_scale = 1.0f;
  };

  // With GGUF blocks the type of the scales, the group and all options but unit_scales are the blocks' own.
  Weights(Rng& rng, const Scheme& scheme, int32_t scale_dtype, int64_t columns, int64_t depth, int64_t group, Edge edge,
          Options options)
      : description(describe(scheme, scale_dtype, columns, depth, group, options)),
        integer_book(scheme.integer_book),
        groups(depth == 0 ? 0 : (depth + description.group - 1) / description.group),
        blocks(groups * ((columns + description.group_rows - 1) / description.group_rows)),
        codes(columns * row_bytes(), edge),
        scales(scheme.gguf_type != 0 ? 0 : blocks * dtype_bytes(scale_dtype, 1), edge),
        zero_points(blocks * zero_point_bytes(), edge),
        edge_(edge) {
    if (description.gguf_type != 0) {
      fill_blocks(rng, options.unit_scales);
    } else {
      fill_codes(rng);
      for (int64_t i = 0; i < blocks; ++i) set_scale(rng, i, options.unit_scales);
      fill_zero_points(rng, options.unit_scales);
      fill_book(rng);
    }
    misalignment_ = rng.integer(0, 1);  // packed buffers may have any alignment
    repack();
  }
  Weights(Rng& rng, const Scheme& scheme, int32_t scale_dtype, int64_t columns, int64_t depth, int64_t group, Edge edge,
          bool unit_scales = false)
      : Weights(rng, scheme, scale_dtype, columns, depth, group, edge, Options{unit_scales, 1, 1.0f}) {}

  int32_t pack(void* to, int64_t bytes) const {
    if (description.gguf_type != 0) return gatun_qmatmul_pack_gguf(&description, codes.data(), to, bytes);
    return gatun_qmatmul_pack(&description, codes.data(), book(), scales.data(), zero_point_data(), to, bytes);
  }
  // Packs again, after a test has changed codes, scales or zero points; a pointer to the packed bytes dangles then.
  void repack() {
    int64_t bytes = 0;
    EXPECT_EQ(gatun_qmatmul_packed_bytes(&description, &bytes), GATUN_OK) << gatun_last_error();
    packed = std::make_unique<GuardBuffer<uint8_t>>(bytes, edge_, misalignment_);
    EXPECT_EQ(pack(packed->data(), bytes), GATUN_OK) << gatun_last_error();
    packed->make_read_only();
  }

  // The lowest or the highest integer codes, with the other extreme of integer zero points; of GGUF types' own scales,
  // too.
  void make_extreme(bool high) {
    if (const gguf::Type* type = gguf::find_type(description.gguf_type)) {
      for (int64_t at = 0; at < codes.size(); at += type->bytes) {
        gguf::Fields fields;
        gguf::read_block(*type, &codes[at], fields);
        const int scale = high ? type->scale_highest : type->scale_lowest, mins = high ? 0 : type->scale_highest;
        std::memset(fields.codes, high ? (1 << type->bits) - 1 : 0, static_cast<size_t>(type->elements));
        if (type->group < type->elements)
          std::memset(fields.scales, scale, static_cast<size_t>(type->elements / type->group));
        if (type->offset == gguf::Offset::mins)
          std::memset(fields.mins, mins, static_cast<size_t>(type->elements / type->group));
        gguf::write_block(*type, fields, &codes[at]);
      }
    } else {
      int lowest = 0, highest = 0xff;  // bytes of codes
      if (description.code_dtype == GATUN_I8) lowest = 0x80, highest = 0x7f;
      if (description.code_dtype == GATUN_F8E4M3) lowest = 0xfe, highest = 0x7e;
      if (description.code_dtype == GATUN_F8E5M2) lowest = 0xfb, highest = 0x7b;
      std::memset(codes.data(), high ? highest : lowest, static_cast<size_t>(codes.size()));
      if (description.zero_point == GATUN_ZERO_INTEGER) {
        std::memset(zero_points.data(), high ? 0 : highest_zero_point(), static_cast<size_t>(zero_points.size()));
      }
    }
    repack();
  }

  Layout layout() const { return Layout(description, integer_book); }
  const uint8_t* zero_point_data() const { return zero_point_bytes() == 0 ? nullptr : zero_points.data(); }
  const float* book() const { return code_book.empty() ? nullptr : code_book.data(); }
  ReferenceWeights reference_weights() const {
    return {description, codes.data(), scales.data(), zero_point_data(), book(), codes.data()};
  }
  // Of codes, or of a row of GGUF blocks.
  int64_t row_bytes() const {
    const gguf::Type* type = gguf::find_type(description.gguf_type);
    return type == nullptr ? dtype_bytes(description.code_dtype, description.depth)
                           : description.depth / type->elements * type->bytes;
  }
  int64_t zero_point_bytes() const {
    return description.zero_point == GATUN_ZERO_FLOAT ? 4 : description.zero_point == GATUN_ZERO_INTEGER ? 1 : 0;
  }

  gatun_qmatmul_weights description;
  bool integer_book;
  int64_t groups, blocks;
  GuardBuffer<uint8_t> codes, scales, zero_points;  // codes: GGUF blocks, too
  std::vector<float> code_book;
  std::unique_ptr<GuardBuffer<uint8_t>> packed;

 private:
  static gatun_qmatmul_weights describe(const Scheme& scheme, int32_t scale_dtype, int64_t columns, int64_t depth,
                                        int64_t group, Options options) {
    if (const gguf::Type* type = gguf::find_type(scheme.gguf_type)) {
      return {sizeof(gatun_qmatmul_weights), 0, 0, 0, 0, scheme.gguf_type, 1, 1.0f, columns, depth, type->group};
    }
    return {sizeof(gatun_qmatmul_weights),
            scheme.code_dtype,
            scheme.book,
            scheme.zero_point,
            scale_dtype,
            0,
            options.group_rows,
            options.tensor_scale,
            columns,
            depth,
            group};
  }

  int highest_zero_point() const {
    return description.code_dtype == GATUN_U8 ? 255 : description.code_dtype == GATUN_U4 ? 15 : 3;
  }

  void fill_codes(Rng& rng) {
    const int32_t dtype = description.code_dtype;
    for (int64_t i = 0; i < codes.size(); ++i) {
      uint8_t byte = static_cast<uint8_t>(rng.integer(0, 255));
      // NaN and infinity are no codes of weights.
      if (dtype == GATUN_F8E4M3 && (byte & 0x7f) == 0x7f) byte ^= 1;
      if (dtype == GATUN_F8E5M2 && (byte & 0x7c) == 0x7c) byte ^= 4;
      codes[i] = byte;
    }
    // The unused bits of a row are 0.
    const int used = static_cast<int>(description.depth * dtype_bytes(dtype, 8) % 8);
    for (int64_t end = row_bytes(); used > 0 && end <= codes.size(); end += row_bytes()) {
      codes[end - 1] = static_cast<uint8_t>(codes[end - 1] & ((1 << used) - 1));
    }
  }

  void set_scale(Rng& rng, int64_t i, bool unit) {
    const float scale = unit ? 1.0f : rng.uniform(0.5f, 1.0f) * (rng.integer(0, 1) ? 0.02f : -0.02f);
    switch (description.scale_dtype) {
      case GATUN_E8M0:
        scales[i] = static_cast<uint8_t>(unit ? 127 : rng.integer(117, 124));
        break;
      case GATUN_F8E4M3:  // subnormals as well; 0x38 is 1
        scales[i] = static_cast<uint8_t>(unit ? 0x38 : rng.integer(1, 0x30) | rng.integer(0, 1) << 7);
        break;
      case GATUN_F16: {
        const uint16_t half = f32_to_f16(scale);
        std::memcpy(&scales[2 * i], &half, 2);
        break;
      }
      default:
        std::memcpy(&scales[4 * i], &scale, 4);
    }
  }

  void fill_zero_points(Rng& rng, bool small) {
    const bool floats = description.zero_point == GATUN_ZERO_FLOAT;
    for (int64_t i = 0; i < blocks && zero_point_bytes() > 0; ++i) {
      if (floats) {
        const float value = small ? static_cast<float>(rng.integer(-9, 9)) : rng.uniform(-1.0f, 1.0f);
        std::memcpy(&zero_points[4 * i], &value, 4);
      } else {
        zero_points[i] = static_cast<uint8_t>(rng.integer(0, highest_zero_point()));
      }
    }
  }

  void fill_book(Rng& rng) {
    if (description.book != GATUN_BOOK_GIVEN) return;
    code_book.resize(description.code_dtype == GATUN_U4 ? 16 : 256);
    for (float& value : code_book) {
      value = integer_book ? static_cast<float>(rng.integer(-127, 127)) : rng.uniform(-1.0f, 1.0f);
    }
    if (integer_book) code_book[0] = -127, code_book[15] = 127;
    std::sort(code_book.begin(), code_book.end());
  }

  // Any bytes are blocks but for scales that are not finite, and these are to be moderate. 16 bits at the places of d
  // and dmin, 8 at that of MXFP4's e.
  void fill_blocks(Rng& rng, bool unit) {
    const gguf::Type& type = *gguf::find_type(description.gguf_type);
    for (int64_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(rng.integer(0, 255));
    const auto half = [&rng, unit](int of) {
      return f32_to_f16(unit ? 1.0f
                             : rng.uniform(0.5f, 1.0f) * (rng.integer(0, 1) ? 0.02f : -0.02f) / static_cast<float>(of));
    };
    for (int64_t at = 0; at < codes.size(); at += type.bytes) {
      gguf::Fields fields;
      gguf::read_block(type, &codes[at], fields);
      if (type.power_scale) {
        fields.e = static_cast<uint8_t>(unit ? 127 : rng.integer(117, 124));
      } else {
        fields.d = half(type.scale_highest + 1);
      }
      if (type.offset != gguf::Offset::none) fields.dmin = half(1);
      gguf::write_block(type, fields, &codes[at]);
    }
  }

  const Edge edge_;
  int64_t misalignment_ = 0;
};

inline gatun_qmatmul_params params_for(const Weights& weights, int64_t rows, int32_t mode) {
  gatun_qmatmul_params params{};
  params.struct_size = sizeof(params);
  params.x_dtype = params.y_dtype = GATUN_F32;
  params.mode = mode;
  params.threads = 1;
  params.rows = rows;
  params.columns = weights.description.columns;
  params.depth = weights.description.depth;
  params.x_row_stride = weights.description.depth;
  params.y_row_stride = params.residual_row_stride = weights.description.columns;
  params.column_end = weights.description.columns;
  return params;
}

// The depth of weights of at least `depth` elements that a scheme can have.
inline int64_t depth_for(const Scheme& scheme, int64_t depth) {
  const gguf::Type* type = gguf::find_type(scheme.gguf_type);
  return type == nullptr ? depth : (depth + type->elements - 1) / type->elements * type->elements;
}

}  // namespace gatun::qmatmul
