// A packing, its planes and Gatun's, for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "gatun/gatun.h"
#include "gatun/packing.h"

namespace gatun::test {

using Bytes = std::vector<uint8_t>;

inline gatun_packing_params packing_params(int32_t packing, int32_t code_dtype, int32_t zero_point, int64_t columns,
                                           int64_t depth, int64_t group) {
  gatun_packing_params p{};
  p.struct_size = sizeof(p);
  p.packing = packing;
  p.code_dtype = code_dtype;
  p.zero_point = zero_point;
  p.scale_dtype = p.packed_scale_dtype = GATUN_F32;
  p.packed_zero_dtype = zero_point == GATUN_ZERO_FLOAT ? GATUN_F32 : 0;
  p.threads = 1;
  p.columns = columns;
  p.depth = depth;
  p.group = group;
  return p;
}

inline int code_bits(const gatun_packing_params& p) {
  return p.code_dtype == GATUN_U2 ? 2 : p.code_dtype == GATUN_U4 ? 4 : 8;
}
inline int64_t groups_of(const gatun_packing_params& p) { return p.depth == 0 ? 0 : (p.depth + p.group - 1) / p.group; }
inline int64_t row_bytes(const gatun_packing_params& p) { return (p.depth * code_bits(p) + 7) / 8; }

// f32 scales and zero points on both sides.
struct Packed {
  Bytes codes;
  std::vector<float> scales;
  Bytes zero_points;  // of floats, their bytes
};
struct Plain {
  Bytes codes;
  std::vector<float> scales;
  Bytes zero_points;
};

// Room for both, with bytes that no code has by itself.
inline Packed packed_room(const gatun_packing_params& p) {
  int64_t codes = -1, scales = -1, zero_points = -1;
  EXPECT_EQ(gatun_packing_bytes(&p, &codes, &scales, &zero_points), GATUN_OK) << gatun_last_error();
  return {Bytes(static_cast<size_t>(codes), 0xa5), std::vector<float>(static_cast<size_t>(scales / 4), -1),
          Bytes(static_cast<size_t>(zero_points), 0xa5)};
}
inline Plain plain_room(const gatun_packing_params& p) {
  const int64_t blocks = p.columns * groups_of(p);
  const int64_t zero_bytes = p.zero_point == GATUN_ZERO_FLOAT ? 4 : p.zero_point == GATUN_ZERO_INTEGER ? 1 : 0;
  return {Bytes(static_cast<size_t>(p.columns * row_bytes(p)), 0xa5),
          std::vector<float>(static_cast<size_t>(blocks), -1), Bytes(static_cast<size_t>(blocks * zero_bytes), 0xa5)};
}

template <class T>
T* data_or_null(std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

inline int32_t read(const gatun_packing_params& p, Packed& from, Plain& to, const int32_t* group_index = nullptr,
                    int32_t* permutation = nullptr) {
  return gatun_packing_read(&p, from.codes.data(), from.scales.data(), data_or_null(from.zero_points), group_index,
                            to.codes.data(), to.scales.data(), data_or_null(to.zero_points), permutation);
}
inline int32_t write(const gatun_packing_params& p, Plain& from, Packed& to, const int32_t* permutation = nullptr,
                     int32_t* group_index = nullptr) {
  return gatun_packing_write(&p, from.codes.data(), from.scales.data(), data_or_null(from.zero_points), permutation,
                             to.codes.data(), to.scales.data(), data_or_null(to.zero_points), group_index);
}

}  // namespace gatun::test
