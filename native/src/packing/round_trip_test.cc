// Random planes of every packing, of shapes that no tile divides: each element read is the one that the packing's
// definition names, and writing gives back what was read.
#include <cmath>
#include <cstring>
#include <numeric>

#include "guard_buffer.h"
#include "packing/test_planes.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

uint32_t word_at(const Bytes& bytes, int64_t index) {
  uint32_t word;
  std::memcpy(&word, bytes.data() + 4 * index, 4);
  return word;
}

// The element `index` of `bits` in words or bytes of consecutive ones from the lowest bits on.
int lowest_first(const Bytes& bytes, int64_t index, int bits) {
  return bytes[static_cast<size_t>(index * bits / 8)] >> index * bits % 8 & ((1 << bits) - 1);
}

int awq_nibble(const Bytes& bytes, int64_t row, int64_t columns, int64_t n) {
  constexpr int kColumnOfNibble[] = {0, 2, 4, 6, 1, 3, 5, 7};
  const uint32_t word = word_at(bytes, row * (columns / 8) + n / 8);
  for (int nibble = 0; nibble < 8; ++nibble) {
    if (kColumnOfNibble[nibble] == n % 8) return static_cast<int>(word >> 4 * nibble & 15);
  }
  return -1;
}

// What Gatun's code is for element (n, k), by the definition of the packing.
int expected_code(const gatun_packing_params& p, const Bytes& packed, int64_t n, int64_t k) {
  const int bits = code_bits(p), mask = (1 << bits) - 1;
  switch (p.packing) {
    case GATUN_PACKING_GPTQ:
    case GATUN_PACKING_GPTQ_V2: {
      const uint32_t word = word_at(packed, k / (32 / bits) * p.columns + n);
      const int code = static_cast<int>(word >> bits * (k % (32 / bits)) & static_cast<uint32_t>(mask));
      return p.code_dtype == GATUN_I8 ? (code - 128) & mask : code;
    }
    case GATUN_PACKING_AWQ:
      return awq_nibble(packed, k, p.columns, n);
    case GATUN_PACKING_MATMUL_NBITS: {
      const int code = lowest_first(packed, n * groups_of(p) * p.group + k, bits);
      return p.code_dtype == GATUN_I8 ? (code - 128) & mask : code;
    }
    case GATUN_PACKING_BITSANDBYTES:
      return packed[static_cast<size_t>(k / 2)] >> (k % 2 == 0 ? 4 : 0) & 15;
    case GATUN_PACKING_TORCHAO:
      return (lowest_first(packed, n * p.depth + k, 4) + 8) % 16;
    default: {
      if (bits == 8) return packed[static_cast<size_t>(n * p.depth + k)];
      const uint8_t byte = packed[static_cast<size_t>((n * p.depth + k) / 32 * 16 + k % 16)];
      return k % 32 < 16 ? byte & 15 : byte >> 4;
    }
  }
}

int expected_zero_point(const gatun_packing_params& p, const Bytes& packed, int64_t n, int64_t g) {
  const int bits = code_bits(p), per_word = 32 / bits, mask = (1 << bits) - 1;
  switch (p.packing) {
    case GATUN_PACKING_GPTQ:
    case GATUN_PACKING_GPTQ_V2: {
      const uint32_t word = word_at(packed, g * (p.columns / per_word) + n / per_word);
      return (static_cast<int>(word >> bits * (n % per_word)) + (p.packing == GATUN_PACKING_GPTQ)) & mask;
    }
    case GATUN_PACKING_AWQ:
      return awq_nibble(packed, g, p.columns, n);
    default: {
      const int64_t bytes_of_row = (groups_of(p) * bits + 7) / 8;
      return lowest_first(packed, n * bytes_of_row * (8 / bits) + g, bits);
    }
  }
}

bool scales_by_group(const gatun_packing_params& p) {
  return p.packing <= GATUN_PACKING_AWQ || p.packing == GATUN_PACKING_TORCHAO;
}

// Unused bits as the header says, so that writing gives the same bytes.
void clear_padding(const gatun_packing_params& p, Packed& packed) {
  const int bits = code_bits(p), per_byte = 8 / bits;
  if (p.packing == GATUN_PACKING_BITSANDBYTES && p.depth % 2 != 0) packed.codes.back() &= 0xf0;
  if (p.packing != GATUN_PACKING_MATMUL_NBITS || p.depth == 0) return;
  const int64_t padded = groups_of(p) * p.group, zero_row = (groups_of(p) + per_byte - 1) / per_byte;
  for (int64_t n = 0; n < p.columns; ++n) {
    int zero = p.zero_point == GATUN_ZERO_FLOAT ? 0 : 1 << (bits - 1);
    if (p.zero_point == GATUN_ZERO_INTEGER) {
      if (groups_of(p) % per_byte != 0) {
        packed.zero_points[static_cast<size_t>((n + 1) * zero_row - 1)] &=
            static_cast<uint8_t>((1 << groups_of(p) % per_byte * bits) - 1);
      }
      zero = expected_zero_point(p, packed.zero_points, n, groups_of(p) - 1);
    }
    for (int64_t k = p.depth; k < padded; ++k) {
      uint8_t& byte = packed.codes[static_cast<size_t>((n * padded + k) / per_byte)];
      const int shift = static_cast<int>(k % per_byte) * bits;
      byte = static_cast<uint8_t>((byte & ~(((1 << bits) - 1) << shift)) | zero << shift);
    }
  }
}

Packed random_packed(const gatun_packing_params& p, Rng& rng) {
  Packed packed = packed_room(p);
  packed.codes = rng.integers<uint8_t>(static_cast<int64_t>(packed.codes.size()), 0, 255);
  packed.scales = rng.normals(static_cast<int64_t>(packed.scales.size()));
  const int64_t zero_bytes = static_cast<int64_t>(packed.zero_points.size());
  if (p.zero_point == GATUN_ZERO_FLOAT) {
    // Of few bits, so that products and sums are exact.
    const std::vector<float> zeros = rng.small_integers(zero_bytes / 4, -100, 100);
    if (zero_bytes > 0) std::memcpy(packed.zero_points.data(), zeros.data(), packed.zero_points.size());
    for (float& scale : packed.scales) scale = std::ldexp(static_cast<float>(rng.integer(1, 2047)), -12);
  } else if (p.zero_point == GATUN_ZERO_INTEGER) {
    packed.zero_points = rng.integers<uint8_t>(zero_bytes, 0, 255);
  } else {
    const int bits = code_bits(p), stored = (1 << (bits - 1)) - (p.packing == GATUN_PACKING_GPTQ);
    packed.zero_points.assign(packed.zero_points.size(), static_cast<uint8_t>(stored * (255 / ((1 << bits) - 1))));
  }
  clear_padding(p, packed);
  return packed;
}

void check_read(const gatun_packing_params& p, const Packed& packed, const Plain& plain) {
  const int bits = code_bits(p);
  for (int64_t n = 0; n < p.columns; ++n) {
    Bytes row(plain.codes.begin() + n * row_bytes(p), plain.codes.begin() + (n + 1) * row_bytes(p));
    for (int64_t k = 0; k < p.depth; ++k) {
      ASSERT_EQ(lowest_first(row, k, bits), expected_code(p, packed.codes, n, k)) << "column " << n << ", k " << k;
    }
    if (p.depth * bits % 8 != 0) {
      ASSERT_EQ(row.back() >> p.depth * bits % 8, 0) << "unused bits of column " << n;
    }
    for (int64_t g = 0; g < groups_of(p); ++g) {
      const size_t at = static_cast<size_t>(n * groups_of(p) + g);
      const size_t packed_at = scales_by_group(p) ? static_cast<size_t>(g * p.columns + n) : at;
      const float scale = packed.scales[packed_at];
      ASSERT_EQ(plain.scales[at], scale) << "column " << n << ", group " << g;
      if (p.zero_point == GATUN_ZERO_INTEGER) {
        ASSERT_EQ(plain.zero_points[at], expected_zero_point(p, packed.zero_points, n, g)) << n << ", " << g;
      } else if (p.zero_point == GATUN_ZERO_FLOAT) {
        float stored, of_code_0;
        std::memcpy(&stored, packed.zero_points.data() + 4 * packed_at, 4);
        std::memcpy(&of_code_0, plain.zero_points.data() + 4 * at, 4);
        const double wanted = p.packing == GATUN_PACKING_TORCHAO ? -8.0 * double{scale} + double{stored}
                                                                 : (0 - double{stored}) * double{scale};
        ASSERT_EQ(double{of_code_0}, wanted) << "column " << n << ", group " << g;
      }
    }
  }
}

// The same through memory that ends beside inaccessible pages, at odd addresses where any alignment is allowed.
void check_guarded(const gatun_packing_params& p, const Packed& packed, const Plain& plain) {
  for (const Edge edge : kEdges) {
    GuardBuffer<uint8_t> codes_in(packed.codes, edge, 1), zeros_in(packed.zero_points, edge, 0);
    GuardBuffer<float> scales_in(packed.scales, edge, 1);
    GuardBuffer<uint8_t> codes(static_cast<int64_t>(plain.codes.size()), edge, 1);
    GuardBuffer<float> scales(static_cast<int64_t>(plain.scales.size()), edge, 1);
    GuardBuffer<uint8_t> zeros(static_cast<int64_t>(plain.zero_points.size()), edge, 0);
    void* const packed_zeros = packed.zero_points.empty() ? nullptr : zeros_in.data();
    void* const plain_zeros = plain.zero_points.empty() ? nullptr : zeros.data();
    ASSERT_EQ(gatun_packing_read(&p, codes_in.data(), scales_in.data(), packed_zeros, nullptr, codes.data(),
                                 scales.data(), plain_zeros, nullptr),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_TRUE(identical(codes.copy(), plain.codes) && identical(scales.copy(), plain.scales) &&
                identical(zeros.copy(), plain.zero_points));
    ASSERT_EQ(gatun_packing_write(&p, codes.data(), scales.data(), plain_zeros, nullptr, codes_in.data(),
                                  scales_in.data(), packed_zeros, nullptr),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_TRUE(identical(codes_in.copy(), packed.codes) && identical(scales_in.copy(), packed.scales) &&
                identical(zeros_in.copy(), packed.zero_points));
  }
}

void check_round_trip(gatun_packing_params p) {
  SCOPED_TRACE(::testing::Message() << "packing " << p.packing << ", dtype " << p.code_dtype << ", zero points "
                                    << p.zero_point << ", [" << p.columns << ", " << p.depth << "], group " << p.group);
  Rng rng(static_cast<uint64_t>(p.packing * 1000 + p.columns * 100 + p.depth));
  Packed packed = random_packed(p, rng);
  Plain plain = plain_room(p);
  ASSERT_EQ(read(p, packed, plain), GATUN_OK) << gatun_last_error();
  check_read(p, packed, plain);
  if (::testing::Test::HasFatalFailure()) return;
  check_guarded(p, packed, plain);
  for (const int32_t threads : {1, 8}) {
    p.threads = threads;
    Packed written = packed_room(p);
    ASSERT_EQ(write(p, plain, written), GATUN_OK) << gatun_last_error();
    EXPECT_TRUE(identical(written.codes, packed.codes)) << threads << " threads";
    EXPECT_TRUE(identical(written.scales, packed.scales));
    EXPECT_TRUE(identical(written.zero_points, packed.zero_points));
    Plain again = plain_room(p);
    ASSERT_EQ(read(p, written, again), GATUN_OK) << gatun_last_error();
    EXPECT_TRUE(identical(again.codes, plain.codes)) << threads << " threads";
  }
}

// Shapes: nothing, one element, less and more than a tile of 32 columns by 512, and its multiples.
struct Shape {
  int64_t columns, depth, group;
};

TEST(PackingRoundTrip, Gptq) {
  for (const int32_t packing : {GATUN_PACKING_GPTQ, GATUN_PACKING_GPTQ_V2}) {
    for (const Shape& s : {Shape{16, 16, 16}, Shape{48, 1040, 128}, Shape{0, 32, 32}, Shape{16, 0, 0},
                           Shape{80, 528, 17}, Shape{32, 512, 512}}) {
      check_round_trip(packing_params(packing, GATUN_U4, GATUN_ZERO_INTEGER, s.columns, s.depth, s.group));
      check_round_trip(packing_params(packing, GATUN_U4, GATUN_ZERO_NONE, s.columns + 8, s.depth, s.group));
      check_round_trip(packing_params(packing, GATUN_U2, GATUN_ZERO_INTEGER, s.columns, s.depth, s.group));
      check_round_trip(packing_params(packing, GATUN_U2, GATUN_ZERO_NONE, s.columns, s.depth, s.group));
      check_round_trip(packing_params(packing, GATUN_U8, GATUN_ZERO_INTEGER, s.columns + 4, s.depth, s.group));
      check_round_trip(packing_params(packing, GATUN_I8, GATUN_ZERO_NONE, s.columns + 4, s.depth, s.group));
    }
  }
}

TEST(PackingRoundTrip, Awq) {
  for (const Shape& s :
       {Shape{8, 1, 1}, Shape{24, 37, 16}, Shape{72, 1025, 128}, Shape{8, 511, 100}, Shape{0, 9, 9}, Shape{8, 0, 0}}) {
    for (const int32_t zero : {GATUN_ZERO_NONE, GATUN_ZERO_INTEGER}) {
      check_round_trip(packing_params(GATUN_PACKING_AWQ, GATUN_U4, zero, s.columns, s.depth, s.group));
    }
  }
}

TEST(PackingRoundTrip, MatMulNBits) {
  for (const Shape& s : {Shape{1, 1, 16}, Shape{3, 15, 32}, Shape{5, 17, 16}, Shape{33, 1021, 32}, Shape{7, 512, 64},
                         Shape{2, 100, 256}, Shape{0, 5, 16}, Shape{5, 0, 16}}) {
    for (const int32_t dtype : {GATUN_U2, GATUN_U4, GATUN_U8}) {
      for (const int32_t zero : {GATUN_ZERO_NONE, GATUN_ZERO_INTEGER, GATUN_ZERO_FLOAT}) {
        const int32_t codes = dtype == GATUN_U8 && zero == GATUN_ZERO_NONE ? int32_t{GATUN_I8} : dtype;
        check_round_trip(packing_params(GATUN_PACKING_MATMUL_NBITS, codes, zero, s.columns, s.depth, s.group));
      }
    }
  }
}

TEST(PackingRoundTrip, BitsAndBytesTorchAoJlama) {
  for (const Shape& s : {Shape{1, 1, 1}, Shape{1, 64, 64}, Shape{1, 5003, 64}, Shape{1, 0, 0}}) {
    check_round_trip(packing_params(GATUN_PACKING_BITSANDBYTES, GATUN_U4, GATUN_ZERO_NONE, 1, s.depth, s.group));
  }
  for (const Shape& s : {Shape{1, 2, 2}, Shape{33, 1030, 32}, Shape{4, 514, 514}, Shape{0, 2, 2}, Shape{3, 0, 0}}) {
    check_round_trip(packing_params(GATUN_PACKING_TORCHAO, GATUN_U4, GATUN_ZERO_FLOAT, s.columns, s.depth, s.group));
  }
  for (const Shape& s : {Shape{1, 32, 32}, Shape{35, 1056, 32}, Shape{0, 32, 32}, Shape{3, 0, 32}}) {
    for (const int32_t dtype : {GATUN_U4, GATUN_I8}) {
      check_round_trip(packing_params(GATUN_PACKING_JLAMA, dtype, GATUN_ZERO_NONE, s.columns, s.depth, s.group));
    }
  }
}

// Types of scales: f16 and bf16 are read into f32, and written where they are exact.
TEST(PackingRoundTrip, TypesOfFloats) {
  Rng rng(5);
  for (const int32_t packed_dtype : {GATUN_F16, GATUN_BF16}) {
    for (const int32_t dtype : {int32_t{GATUN_F32}, packed_dtype}) {
      if (dtype == GATUN_BF16) continue;
      gatun_packing_params p = packing_params(GATUN_PACKING_TORCHAO, GATUN_U4, GATUN_ZERO_FLOAT, 3, 40, 16);
      p.packed_scale_dtype = p.packed_zero_dtype = packed_dtype;
      p.scale_dtype = dtype;
      std::vector<float> scales(9), zeros(9);
      for (float& s : scales) s = std::ldexp(static_cast<float>(rng.integer(1, 255)), -10);
      for (float& z : zeros) z = std::ldexp(static_cast<float>(rng.integer(-255, 255)), -9);
      Bytes packed_scales = from_floats(scales, packed_dtype), packed_zeros = from_floats(zeros, packed_dtype);
      Bytes codes = rng.integers<uint8_t>(60, 0, 255), codes_out(60), scales_out(36), zeros_out(36);
      ASSERT_EQ(gatun_packing_read(&p, codes.data(), packed_scales.data(), packed_zeros.data(), nullptr,
                                   codes_out.data(), scales_out.data(), zeros_out.data(), nullptr),
                GATUN_OK)
          << gatun_last_error();
      const std::vector<double> read_scales = to_doubles(scales_out.data(), dtype, 9),
                                read_zeros = to_doubles(zeros_out.data(), GATUN_F32, 9);
      for (size_t n = 0; n < 3; ++n) {
        for (size_t g = 0; g < 3; ++g) {
          EXPECT_EQ(read_scales[n * 3 + g], double{scales[g * 3 + n]});
          EXPECT_EQ(read_zeros[n * 3 + g], double{zeros[g * 3 + n]} - 8 * double{scales[g * 3 + n]});
        }
      }
      Bytes codes_back(60), scales_back(18), zeros_back(18);
      ASSERT_EQ(gatun_packing_write(&p, codes_out.data(), scales_out.data(), zeros_out.data(), nullptr,
                                    codes_back.data(), scales_back.data(), zeros_back.data(), nullptr),
                GATUN_OK)
          << gatun_last_error();
      EXPECT_TRUE(identical(codes_back, codes) && identical(scales_back, packed_scales) &&
                  identical(zeros_back, packed_zeros));
    }
  }
}

// Products with a sorted depth: those of the definition, with the group that group_index gives each k. Small integers,
// so == is meant.
TEST(PackingRoundTrip, ActOrderWithPermutedRows) {
  Rng rng(9);
  const int64_t columns = 40, depth = 1096, group = 100, rows = 3;
  const gatun_packing_params p =
      packing_params(GATUN_PACKING_GPTQ, GATUN_U4, GATUN_ZERO_INTEGER, columns, depth, group);
  Packed packed = random_packed(p, rng);
  packed.scales = rng.small_integers(columns * groups_of(p), 1, 3);
  std::vector<int32_t> group_index(static_cast<size_t>(depth)), permutation(group_index.size());
  for (size_t k = 0; k < group_index.size(); ++k) group_index[k] = static_cast<int32_t>(k) / 100;
  for (size_t k = group_index.size() - 1; k > 0; --k) {
    std::swap(group_index[k], group_index[static_cast<size_t>(rng.integer(0, static_cast<int64_t>(k)))]);
  }
  Plain plain = plain_room(p);
  ASSERT_EQ(read(p, packed, plain, group_index.data(), permutation.data()), GATUN_OK) << gatun_last_error();
  const std::vector<float> x = rng.small_integers(rows * depth, -3, 3);
  GuardBuffer<float> x_in(x), x_sorted(rows * depth);
  ASSERT_EQ(
      gatun_packing_permute(GATUN_F32, rows, depth, depth, depth, 2, permutation.data(), x_in.data(), x_sorted.data()),
      GATUN_OK)
      << gatun_last_error();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < columns; ++n) {
      double wanted = 0, actual = 0;
      const Bytes row(plain.codes.begin() + n * row_bytes(p), plain.codes.begin() + (n + 1) * row_bytes(p));
      for (int64_t k = 0; k < depth; ++k) {
        const int64_t g = group_index[static_cast<size_t>(k)];
        const int q = expected_code(p, packed.codes, n, k) - expected_zero_point(p, packed.zero_points, n, g);
        wanted += double{x[static_cast<size_t>(r * depth + k)]} * q *
                  double{packed.scales[static_cast<size_t>(g * columns + n)]};
        const size_t block = static_cast<size_t>(n * groups_of(p) + k / group);
        actual += double{x_sorted[r * depth + k]} * (lowest_first(row, k, 4) - plain.zero_points[block]) *
                  double{plain.scales[block]};
      }
      ASSERT_EQ(actual, wanted) << "row " << r << ", column " << n;
    }
  }
  for (const int32_t threads : {1, 8}) {
    gatun_packing_params with = p;
    with.threads = threads;
    Packed written = packed_room(p);
    std::vector<int32_t> index(group_index.size());
    ASSERT_EQ(write(with, plain, written, permutation.data(), index.data()), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(index, group_index);
    EXPECT_TRUE(identical(written.codes, packed.codes) && identical(written.zero_points, packed.zero_points) &&
                identical(written.scales, packed.scales));
  }
}

TEST(PackingRoundTrip, PermuteTakesAllFloatsAndStrides) {
  Rng rng(11);
  const int64_t rows = 70, depth = 1031, x_stride = depth + 3, y_stride = depth + 1;
  std::vector<int32_t> permutation(static_cast<size_t>(depth));
  std::iota(permutation.begin(), permutation.end(), 0);
  std::reverse(permutation.begin(), permutation.end());
  std::swap(permutation[0], permutation[7]);
  for (const int32_t dtype : {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_F8E4M3, GATUN_F8E5M2}) {
    const int64_t element = dtype == GATUN_F32 ? 4 : dtype == GATUN_F16 || dtype == GATUN_BF16 ? 2 : 1;
    const Bytes x = rng.integers<uint8_t>(((rows - 1) * x_stride + depth) * element, 0, 255);
    for (const int32_t threads : {1, 8}) {
      GuardBuffer<uint8_t> x_in(x), y(((rows - 1) * y_stride + depth) * element, Edge::back);
      const Bytes before = y.copy();
      ASSERT_EQ(gatun_packing_permute(dtype, rows, depth, x_stride, y_stride, threads, permutation.data(), x_in.data(),
                                      y.data()),
                GATUN_OK)
          << gatun_last_error();
      Bytes expected = before;  // gaps stay
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t j = 0; j < depth; ++j) {
          std::memcpy(expected.data() + (r * y_stride + j) * element,
                      x.data() + (r * x_stride + permutation[static_cast<size_t>(j)]) * element,
                      static_cast<size_t>(element));
        }
      }
      EXPECT_TRUE(identical(y.copy(), expected)) << dtype;
    }
  }
}

}  // namespace
}  // namespace gatun::test
