// mma, mma.sp, ldmatrix and stmatrix: products of matrices that ldmatrix brings to registers, against plain ones.
#include "ptx/mma.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "every_way.h"
#include "gatun/status.h"
#include "ptx/launch.h"
#include "ptx/ldmatrix.h"
#include "ptx/mma_sp.h"
#include "ptx/stmatrix.h"
#include "ptx/warp.h"

namespace gatun::emulator {
namespace {

using namespace gatun::cuda;
using test::Rng;

constexpr int kWarps = 3;  // each with matrices of its own
constexpr int kRowBytes = 32;

// d of a warp, from and to rows of 8.
template <class T>
void move_d(T (&d)[4], T* rows, bool store) {
  for (int i = 0; i < 4; ++i) {
    T& at = rows[(lane() / 4 + i / 2 * 8) * 8 + lane() % 4 * 2 + i % 2];
    (store ? at : d[i]) = (store ? d[i] : at);
  }
}

// a: rows of 32 bytes, 16 a warp; b: 8 a warp; c: 16 x 8 a warp, which becomes the result.
template <class Sum, void (*multiply)(Sum (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]), bool swap_lanes>
void multiply_tile(const uint8_t* a, const uint8_t* b, Sum* c) {
  uint8_t* const shared = shared_memory() + warp() * 24 * kRowBytes;
  for (int i = lane(); i < 16 * kRowBytes; i += 32) shared[i] = a[warp() * 16 * kRowBytes + i];
  for (int i = lane(); i < 8 * kRowBytes; i += 32) shared[16 * kRowBytes + i] = b[warp() * 8 * kRowBytes + i];
  warp_barrier();
  uint32_t a_tile[4], b_tile[2];
  load_matrix_x4(a_tile, shared + lane() % 16 * kRowBytes + lane() / 16 * 16);
  load_matrix_x2(b_tile, shared + (16 + lane() % 8) * kRowBytes + lane() / 8 % 2 * 16);
  if (swap_lanes) a_tile[0] = shuffle_xor(a_tile[0], 1);
  Sum d[4];
  move_d(d, c + warp() * 128, false);
  multiply(d, a_tile, b_tile);
  move_d(d, c + warp() * 128, true);
}

template <class A, class B, void (*multiply)(typename A::Sum (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]),
          bool swap_lanes = false>
bool is_product() {
  constexpr int64_t kDepth = kRowBytes / static_cast<int64_t>(sizeof(typename A::Type));
  bool same = true;
  Rng rng(3);
  const auto a = random_integers<A>(rng, kWarps * 16 * kDepth);
  const auto b = random_integers<B>(rng, kWarps * 8 * kDepth);
  std::vector<typename A::Sum> c(kWarps * 128);
  for (auto& value : c) value = static_cast<typename A::Sum>(rng.integer(-1000, 1000));
  auto d = c;
  EXPECT_EQ(launch("multiply_tile", multiply_tile<typename A::Sum, multiply, swap_lanes>,
                   {1, 1, 1, kWarps * 32, kWarps * 24 * kRowBytes}, nullptr, reinterpret_cast<const uint8_t*>(a.data()),
                   reinterpret_cast<const uint8_t*>(b.data()), d.data()),
            GATUN_OK)
      << last_fault();
  for (int64_t w = 0; w < kWarps; ++w) {
    const auto expected = product<A, B>({a.begin() + w * 16 * kDepth, a.begin() + (w + 1) * 16 * kDepth},
                                        {b.begin() + w * 8 * kDepth, b.begin() + (w + 1) * 8 * kDepth},
                                        {c.begin() + w * 128, c.begin() + (w + 1) * 128}, 16, 8, kDepth);
    same = same && std::equal(expected.begin(), expected.end(), d.begin() + w * 128);
  }
  return same;
}

TEST(Mma, IsTheProductOfWhatLdmatrixLoads) {
  in_every_way([] {
    EXPECT_TRUE((is_product<F16, F16, mma_f16>()));
    EXPECT_TRUE((is_product<Bf16, Bf16, mma_bf16>()));
    EXPECT_TRUE((is_product<I8, I8, mma_i8>()));
    EXPECT_TRUE((is_product<U8, I8, mma_u8_i8>()));
  });
}

TEST(PlantedMma, AFragmentOfTheWrongLaneIsSeen) {
  EXPECT_EQ(ways(is_product<F16, F16, mma_f16, true>), 0);
  EXPECT_EQ(ways(is_product<I8, I8, mma_i8, true>), 0);
}

void one_product(float a, float b, float* out) {
  float d[4] = {out[0], 0, 0, 0};
  const uint32_t a_bits = lane() == 0 ? uint32_t{f32_to_f16(a)} : 0u,
                 b_bits = lane() == 0 ? uint32_t{f32_to_f16(b)} : 0u;
  mma_f16(d, {a_bits, 0, 0, 0}, {b_bits, 0});
  if (lane() == 0) out[0] = d[0];
}

TEST(Mma, IsRoundedOnceAndNaNIsCanonical) {
  const auto multiply = [](float a, float b, float c) {
    EXPECT_EQ(launch("one_product", one_product, {1, 1, 1, 32, 0}, nullptr, a, b, &c), GATUN_OK);
    return c;
  };
  EXPECT_EQ(multiply(1.0f / 2048, 1.0f / 4096, 1.0f), 1.0f + 0x1p-23f);
  EXPECT_EQ(multiply(0x1p-12f, 0x1p-12f, 1.0f), 1.0f);  // a tie
  EXPECT_EQ(float_bits(multiply(INFINITY, 0, 1)), 0x7fffffffu);
  EXPECT_EQ(multiply(INFINITY, 2, 1), INFINITY);
  EXPECT_EQ(multiply(-INFINITY, 2, 1), -INFINITY);
  EXPECT_EQ(float_bits(multiply(NAN, 0, 1)), 0x7fffffffu);
  // Every value of f16 is widened as everywhere else.
  for (uint32_t x = 0; x < 0x10000; x += 0x0fd) {
    const float value = f16_to_f32(static_cast<uint16_t>(x));
    if (value == value) {
      EXPECT_EQ(multiply(value, 1, 0), value) << x;
    }
  }
}

// ---- mma.sp ----

// b: 8 rows of 64 bytes.
template <class Sum, void (*multiply)(Sum (&)[4], const uint32_t (&)[4], const uint32_t (&)[4], uint32_t)>
void multiply_sparse_tile(const uint8_t* a, const uint8_t* b, const uint32_t* metadata, Sum* c) {
  uint8_t* const shared = shared_memory();
  for (int i = lane(); i < 16 * kRowBytes; i += 32) shared[i] = a[i];
  for (int i = lane(); i < 8 * 2 * kRowBytes; i += 32) shared[16 * kRowBytes + i] = b[i];
  warp_barrier();
  uint32_t a_tile[4], b_tile[4];
  load_matrix_x4(a_tile, shared + lane() % 16 * kRowBytes + lane() / 16 * 16);
  load_matrix_x4(b_tile, shared + 16 * kRowBytes + lane() % 8 * 2 * kRowBytes + lane() / 8 * 16);
  Sum d[4];
  move_d(d, c, false);
  multiply(d, a_tile, b_tile, metadata[lane()]);
  move_d(d, c, true);
}

template <class Element,
          void (*multiply)(typename Element::Sum (&)[4], const uint32_t (&)[4], const uint32_t (&)[4], uint32_t)>
void check_sparse(int selector) {
  Rng rng(4);
  constexpr int64_t kStored = kRowBytes / static_cast<int64_t>(sizeof(typename Element::Type)), kDepth = 2 * kStored;
  const Sparse<Element> a(rng, 16, kStored);
  const auto b = random_integers<Element>(rng, 8 * kDepth);
  std::vector<uint32_t> metadata(32, 0x44444444u);
  for (int64_t lane = 0; lane < 32; ++lane) {
    const int64_t g = lane / 4, t = lane % 4;
    if (sizeof(typename Element::Type) == 1) {
      metadata[static_cast<size_t>(lane)] = a.places(g + t % 2 * 8, t / 2 * 16, 16);
    } else if (t / 2 == selector) {
      metadata[static_cast<size_t>(lane)] = a.places(g, t % 2 * 8, 8) | a.places(g + 8, t % 2 * 8, 8) << 16;
    }
  }
  std::vector<typename Element::Sum> c(128);
  for (auto& value : c) value = static_cast<typename Element::Sum>(rng.integer(-1000, 1000));
  auto d = c;
  ASSERT_EQ(launch("multiply_sparse_tile", multiply_sparse_tile<typename Element::Sum, multiply>,
                   {1, 1, 1, 32, 32 * kRowBytes}, nullptr, reinterpret_cast<const uint8_t*>(a.stored.data()),
                   reinterpret_cast<const uint8_t*>(b.data()), metadata.data(), d.data()),
            GATUN_OK)
      << last_fault();
  EXPECT_EQ(d, (product<Element, Element>(a.whole, b, c, 16, 8, kDepth)));
}

TEST(MmaSparse, IsTheProductOfTheWholeMatrix) {
  in_every_way([] {
    check_sparse<F16, mma_sp_f16<0>>(0);
    check_sparse<F16, mma_sp_f16<1>>(1);
    check_sparse<Bf16, mma_sp_bf16<0>>(0);
    check_sparse<Bf16, mma_sp_bf16<1>>(1);
    check_sparse<I8, mma_sp_i8>(0);
  });
}

void descending_metadata(float* out) {
  float d[4] = {};
  mma_sp_f16<0>(d, {0, 0, 0, 0}, {0, 0, 0, 0}, 0x44444441u);
  out[lane()] = d[0];
}

TEST(MmaSparse, MetadataMustAscend) {
  float out[32];
  EXPECT_EQ(launch("descending_metadata", descending_metadata, {1, 1, 1, 32, 0}, nullptr, out), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("ascend"), std::string::npos) << last_fault();
}

// ---- ldmatrix, stmatrix ----

// Four 8 x 8 matrices, one behind the other, to `out`, transposed if one of the two moves says so.
template <bool load_transposed, bool store_transposed>
void move_matrices(const uint16_t* from, uint16_t* out) {
  uint16_t* const shared = reinterpret_cast<uint16_t*>(shared_memory());
  for (int i = lane(); i < 256; i += 32) shared[i] = from[i];
  warp_barrier();
  uint32_t r[4];
  (load_transposed ? load_matrix_x4_transposed : load_matrix_x4)(r, shared + 8 * lane());
  uint32_t two[2];
  (load_transposed ? load_matrix_x2_transposed : load_matrix_x2)(two, lane() < 16 ? shared + 8 * lane() : nullptr);
  if (two[0] != r[0] || two[1] != r[1]) r[0] = ~r[0];
  (store_transposed ? store_matrix_x4_transposed : store_matrix_x4)(shared + 256 + 8 * lane(), r);
  warp_barrier();
  for (int i = lane(); i < 256; i += 32) out[i] = shared[256 + i];
}

TEST(Ldmatrix, MatricesAndTheirTransposed) {
  Rng rng(5);
  const auto from = rng.integers<uint16_t>(256, 0, 65535);
  std::vector<uint16_t> flipped(256);
  for (size_t i = 0; i < 256; ++i) flipped[i] = from[i / 64 * 64 + i % 8 * 8 + i / 8 % 8];
  const Grid grid = {1, 1, 1, 32, 1024};
  in_every_way([&] {
    std::vector<uint16_t> out(256);
    ASSERT_EQ(launch("straight", move_matrices<false, false>, grid, nullptr, from.data(), out.data()), GATUN_OK);
    EXPECT_EQ(out, from);
    ASSERT_EQ(launch("both", move_matrices<true, true>, grid, nullptr, from.data(), out.data()), GATUN_OK);
    EXPECT_EQ(out, from);
    ASSERT_EQ(launch("load", move_matrices<true, false>, grid, nullptr, from.data(), out.data()), GATUN_OK);
    EXPECT_EQ(out, flipped);
    ASSERT_EQ(launch("store", move_matrices<false, true>, grid, nullptr, from.data(), out.data()), GATUN_OK);
    EXPECT_EQ(out, flipped);
  });
}

void load_at(int64_t offset) {
  uint32_t r[4];
  load_matrix_x4(r, shared_memory() + 16 * lane() + offset);
}

TEST(Ldmatrix, AddressesAreChecked) {
  const Grid grid = {1, 1, 1, 32, 1024};
  EXPECT_EQ(launch("load_at", load_at, grid, nullptr, 512), GATUN_OK);
  EXPECT_EQ(launch("load_at", load_at, grid, nullptr, 8), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("aligned"), std::string::npos) << last_fault();
  EXPECT_EQ(launch("load_at", load_at, grid, nullptr, 528), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("of 1024 bytes of shared memory"), std::string::npos) << last_fault();
}

}  // namespace
}  // namespace gatun::emulator
