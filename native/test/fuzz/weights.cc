#include "weights.h"

#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "gguf/block.h"
#include "qmatmul/layout.h"

namespace gatun::fuzz {
namespace {

constexpr int32_t kBooksOf16[] = {GATUN_BOOK_GIVEN, GATUN_BOOK_NF4, GATUN_BOOK_FP4};
constexpr int32_t kBooksOf256[] = {GATUN_BOOK_GIVEN, GATUN_BOOK_DYNAMIC, GATUN_BOOK_DYNAMIC_UNSIGNED, GATUN_BOOK_LINEAR,
                                   GATUN_BOOK_LINEAR_UNSIGNED};

int64_t zero_point_bytes(const gatun_qmatmul_weights& w) {
  return w.zero_point == GATUN_ZERO_FLOAT ? 4 : w.zero_point == GATUN_ZERO_INTEGER ? 1 : 0;
}

float number_at(const uint8_t* at, int32_t dtype) {
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

bool below(const Buffer& buffer, int32_t dtype, double limit) {
  const int64_t element = dtype_bytes(dtype, 1);
  for (int64_t at = 0; at + element <= buffer.bytes(); at += element) {
    if (!(std::fabs(double{number_at(buffer.data() + at, dtype)}) < limit)) return false;
  }
  return true;
}

}  // namespace

gatun_qmatmul_weights weights_from(Input& input) {
  gatun_qmatmul_weights w{};
  w.struct_size = input.struct_size(sizeof(w));
  w.columns = input.size();
  w.group_rows = 1;
  w.tensor_scale = 1.0f;
  if (input.range(0, 2) == 0) {
    const gguf::Type& type = gguf::kTypeTable[input.range(0, gguf::kTypes - 1)];
    w.gguf_type = input.choice({type.id, type.id});
    w.depth = input.rarely() ? input.size() : type.elements * input.range(0, 5);
    w.group = input.rarely() ? input.size() : type.group;
    if (input.rarely()) w.code_dtype = GATUN_U4;
    if (input.rarely()) w.tensor_scale = 2.0f;
    return w;
  }
  w.code_dtype = input.choice({GATUN_I8, GATUN_U8, GATUN_U4, GATUN_U4, GATUN_U2, GATUN_F8E4M3, GATUN_F8E5M2,
                               GATUN_F6E3M2, GATUN_F6E2M3, GATUN_F4E2M1});
  const bool u4 = w.code_dtype == GATUN_U4, u8 = w.code_dtype == GATUN_U8;
  if (u4 && input.range(0, 1)) w.book = kBooksOf16[input.range(0, 2)];
  if (u8 && input.range(0, 1)) w.book = kBooksOf256[input.range(0, 4)];
  if (w.book == GATUN_BOOK_NONE && (u4 || w.code_dtype == GATUN_U2)) w.zero_point = input.choice({0, 1, 2});
  if (w.book == GATUN_BOOK_NONE && u8) w.zero_point = input.choice({1, 2});
  if (input.rarely()) w.zero_point = input.choice({0, 1, 2});
  if (input.rarely()) w.book = static_cast<int32_t>(input.range(-1, 8));
  w.scale_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_E8M0, GATUN_F8E4M3});
  if (input.range(0, 2) == 0) w.group_rows = input.choice({1, 2, 3, 64, 128});
  if (input.range(0, 3) == 0) w.tensor_scale = input.rarely() ? -1.0f : 0.37f;
  w.depth = input.size();
  w.group = input.group(w.depth);
  return w;
}

bool documented_valid(const gatun_qmatmul_weights& w) {
  if (w.struct_size != sizeof(w) || w.columns < 0 || w.depth < 0) return false;
  if (w.gguf_type != 0) {
    int32_t elements, bytes;
    if (gatun_gguf_block(w.gguf_type, &elements, &bytes) != GATUN_OK) return false;
    const bool small =
        w.gguf_type == GATUN_GGUF_Q2_K || w.gguf_type == GATUN_GGUF_Q3_K || w.gguf_type == GATUN_GGUF_Q6_K;
    return w.code_dtype == 0 && w.book == 0 && w.zero_point == 0 && w.scale_dtype == 0 && w.group_rows == 1 &&
           w.tensor_scale == 1.0f && w.depth % elements == 0 && w.group == (small ? 16 : 32);
  }
  const bool u4 = w.code_dtype == GATUN_U4, u8 = w.code_dtype == GATUN_U8, u2 = w.code_dtype == GATUN_U2;
  const bool others = w.code_dtype == GATUN_I8 || (w.code_dtype >= GATUN_F8E4M3 && w.code_dtype <= GATUN_F4E2M1);
  const bool of_16 = w.book == GATUN_BOOK_NF4 || w.book == GATUN_BOOK_FP4;
  const bool of_256 = w.book >= GATUN_BOOK_DYNAMIC && w.book <= GATUN_BOOK_LINEAR_UNSIGNED;
  const bool given = w.book == GATUN_BOOK_GIVEN;
  const bool book = w.book == GATUN_BOOK_NONE || (u4 && (of_16 || given)) || (u8 && (of_256 || given));
  const bool linear = (u4 || u8 || u2) && w.book == GATUN_BOOK_NONE;
  const bool zero = w.zero_point == GATUN_ZERO_NONE ? !(u8 && linear)
                                                    : linear && w.zero_point >= 0 && w.zero_point <= GATUN_ZERO_FLOAT;
  const bool scales = w.scale_dtype == GATUN_F32 || w.scale_dtype == GATUN_F16 || w.scale_dtype == GATUN_E8M0 ||
                      w.scale_dtype == GATUN_F8E4M3;
  return (u4 || u8 || u2 || others) && book && zero && scales && w.group_rows >= 1 && w.tensor_scale > 0 &&
         std::isfinite(w.tensor_scale) && (w.group == w.depth || (w.group >= 16 && w.group <= w.depth));
}

bool stands_for_integers(const gatun_qmatmul_weights& w, const uint8_t* packed) {
  if (w.gguf_type != 0) return true;
  if (w.book == GATUN_BOOK_GIVEN && w.code_dtype == GATUN_U4) {
    PackedHeader header;
    std::memcpy(&header, packed, sizeof(header));
    return header.integer_book == 1;
  }
  return w.book == GATUN_BOOK_NONE && (w.code_dtype < GATUN_F8E4M3 || w.code_dtype == GATUN_F4E2M1);
}

Planes::Planes(const gatun_qmatmul_weights& w) {
  if (w.gguf_type != 0) {
    int32_t elements, block;
    gatun_gguf_block(w.gguf_type, &elements, &block);
    const int64_t row = w.depth / elements, bytes = extent(w.columns, row, row, 1, block);
    affordable = bytes >= 0;
    if (affordable) codes = Buffer(bytes);
    return;
  }
  const int64_t groups = w.depth == 0 ? 0 : (w.depth - 1) / w.group + 1;
  const int64_t rows = w.columns == 0 ? 0 : (w.columns - 1) / w.group_rows + 1;
  const int64_t code_bytes = dtype_bytes(w.code_dtype, w.depth);
  const int64_t sizes[] = {extent(w.columns, code_bytes, code_bytes, 1, 1),
                           extent(rows, groups, groups, 1, dtype_bytes(w.scale_dtype, 1)),
                           extent(rows, zero_point_bytes(w) > 0 ? groups : 0, groups, 1, zero_point_bytes(w))};
  for (const int64_t size : sizes) affordable = affordable && size >= 0;
  if (!affordable) return;
  codes = Buffer(sizes[0]);
  scales = Buffer(sizes[1]);
  zero_points = Buffer(sizes[2]);
  book = Buffer(w.book != GATUN_BOOK_GIVEN ? 0 : w.code_dtype == GATUN_U4 ? 64 : 1024);
}

void Planes::fill(Input& input, const gatun_qmatmul_weights& w) {
  test::Rng rng = input.rng();
  codes.fill_integers(rng, 0, 255);
  if (const gguf::Type* type = gguf::find_type(w.gguf_type)) {
    for (int64_t at = 0; at < codes.bytes(); at += type->bytes) {
      gguf::Fields fields;
      gguf::read_block(*type, codes.data() + at, fields);
      fields.d = type->power_scale ? uint16_t{0} : f32_to_f16(rng.uniform(-0.05f, 0.05f));
      if (type->offset != gguf::Offset::none) fields.dmin = f32_to_f16(rng.uniform(-0.05f, 0.05f));
      if (type->power_scale) fields.e = static_cast<uint8_t>(rng.integer(110, 130));
      gguf::write_block(*type, fields, codes.data() + at);
    }
    return;
  }
  for (int64_t i = 0; i < codes.bytes(); ++i) {
    uint8_t& code = codes.data()[i];
    if (w.code_dtype == GATUN_F8E4M3 && (code & 0x7f) == 0x7f) code = static_cast<uint8_t>(code ^ 1);
    if (w.code_dtype == GATUN_F8E5M2 && (code & 0x7c) == 0x7c) code = static_cast<uint8_t>(code ^ 4);
  }
  // The unused bits of a row are 0.
  const int64_t row = dtype_bytes(w.code_dtype, w.depth), used = w.depth % 8 * dtype_bytes(w.code_dtype, 8) % 8;
  for (int64_t last = row - 1; used > 0 && last < codes.bytes(); last += row) {
    codes.data()[last] = static_cast<uint8_t>(codes.data()[last] & ((1 << used) - 1));
  }
  if (w.scale_dtype == GATUN_E8M0) {
    scales.fill_integers(rng, 110, 130);
  } else if (w.scale_dtype == GATUN_F8E4M3) {
    scales.fill_integers(rng, 0, 0x4f);
  } else {
    scales.fill_floats(rng, w.scale_dtype, Values::normal, 0.05f);
  }
  if (w.zero_point == GATUN_ZERO_FLOAT) {
    zero_points.fill_floats(rng, GATUN_F32, Values::normal);
  } else {
    zero_points.fill_integers(rng, 0, w.code_dtype == GATUN_U4 ? 15 : w.code_dtype == GATUN_U2 ? 3 : 255);
  }
  book.fill_floats(rng, GATUN_F32, input.range(0, 1) ? Values::small_integers : Values::normal);
}

int32_t Planes::pack(const gatun_qmatmul_weights& w, void* packed, int64_t bytes) {
  if (w.gguf_type != 0) return gatun_qmatmul_pack_gguf(&w, codes.data(), packed, bytes);
  return gatun_qmatmul_pack(&w, codes.data(), book_of(w), scales.data(), zero_points_of(w), packed, bytes);
}

int32_t Planes::unpack(const gatun_qmatmul_weights& w, const void* packed, int64_t bytes) {
  if (w.gguf_type != 0) return gatun_qmatmul_unpack_gguf(&w, packed, bytes, codes.data());
  return gatun_qmatmul_unpack(&w, packed, bytes, codes.data(), book_of(w), scales.data(), zero_points_of(w));
}

bool Planes::numbers_below(double limit, const gatun_qmatmul_weights& w) const {
  if (const gguf::Type* type = gguf::find_type(w.gguf_type)) {
    for (int64_t at = 0; at < codes.bytes(); at += type->bytes) {
      gguf::Fields fields;
      gguf::read_block(*type, codes.data() + at, fields);
      const double scale = type->power_scale ? e8m0_to_f32(fields.e) : f16_to_f32(fields.d);
      if (!(std::fabs(scale) < limit) || !(std::fabs(double{f16_to_f32(fields.dmin)}) < limit)) return false;
    }
    return true;
  }
  return below(scales, w.scale_dtype, limit) && double{w.tensor_scale} < limit && double{w.tensor_scale} > 1 / limit &&
         (w.zero_point != GATUN_ZERO_FLOAT || below(zero_points, GATUN_F32, limit)) && below(book, GATUN_F32, 256);
}

}  // namespace gatun::fuzz
