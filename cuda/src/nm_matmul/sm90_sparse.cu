// Products with 2:4 weights of many rows on sm_90a: a tile of y by sparse asynchronous products of four warps
// (wgmma.sp).
//
//   y[m][n] = s[n] sum over kept k of w[n][k] x[m][k]       floats: s = 1
//
// A block makes a tile of 256 columns by 192 rows (qmatmul/sm90_ring.h) in stages of 128 bytes of each row of x, 64 of
// depth in 16 bits, 128 in int8. The units of that depth (form.h) lie in the ring as they are packed: lane l of warp w
// reads the 16 bytes and the word of metadata that are its own of strip w, which wgmma.sp wants in the same lanes as
// mma.sp. A product takes 64 bytes of each row of x, half a stage.
//
//              192 rows of x
//             +-----------------+
//    group 1  | 64 columns      |  fragment 0: 2 products a stage, 96 sums a thread
//             | 64 columns      |  fragment 1
//             +-----------------+
//    group 2  | 64 columns      |
//             | 64 columns      |
//             +-----------------+
//
// Sums go through all of the depth, since one scale covers it: f32, or int32, whose |sum| <= 2^17 * 128 * 127 < 2^31.
// The error is at most 2^-23 (K + 10) sum |x w|; of integers, that of the scaling alone.
//
// Tails: sm90_ring.h; depth is padded to 128 by zeros in the weights, of x too where it is prepared.
//
// Limits on an H200 (132 multiprocessors, 1.7 GHz), cycles of a stage in 16 bits (int8: the same for twice the depth,
// of 45056 bytes):
//
//   tensor cores    8 products of 64 x 192 x 32 at 4096 multiply-adds a cycle      768
//   shared memory   8 * 192 * 64 bytes of x that products read, 8 * 2560 of weights and metadata that lanes read, 43008
//                   that copies write, at 128 bytes a cycle                       1264
//   L2 cache        192 * 128 + 16 * 1152 = 43008 bytes at 25 a cycle             1720
//
// So 820 Tflop/s at most, of cuBLAS' 790 in dense bf16; 256 x 128 would have 676. In int8 45056 bytes are 1802 cycles:
// 1570 Tflop/s. A warp takes 77 instructions a stage, 9 % of the slots. Where nothing multiplies, at the beginning and
// the end of a tile, are about 6500 cycles, 6 % of a depth of 4096. Prediction where tiles fill whole rounds of 132
// blocks: 680 to 760 Tflop/s, 0.86 to 0.96 times cuBLAS, in int8 1300 to 1450. 4096 x 4096 fills 2.7 rounds of 3, and
// 97 % of the last tiles of rows: 585 to 655, 0.74 to 0.83 times. Two blocks of a cluster that share x by multicast
// would read 30720 bytes each, 1229 cycles: shared memory would be the limit then, 1.1 Pflop/s. Not measured: emulated
// only.
#include "nm_matmul/left_operands.h"
#include "ptx/wgmma_sp.h"
#include "qmatmul/sm90_ring.h"

namespace gatun::cuda::nm_matmul {
namespace {

using qmatmul::Job;
using qmatmul::Place;
using qmatmul::Ring;

constexpr int kFragments = 2, kRows = 192;
constexpr int kSlices = 2;                      // of a stage, a product each
constexpr int kRunning = kFragments * kSlices;  // products, at most: each has registers of its own
constexpr int kSliceOfDescriptor = 64 / 16;     // bytes of a row in the unit of descriptors

template <int kSlice, bool kBf16>
GATUN_DEVICE void multiply(const SparseHalves<kBf16>&, float (&d)[kRows / 2], const uint32_t (&a)[4],
                           const uint32_t& metadata, uint64_t b) {
  if constexpr (kBf16) wgmma_sp_bf16<kRows, kSlice>(d, a, metadata, b, true);
  if constexpr (!kBf16) wgmma_sp_f16<kRows, kSlice>(d, a, metadata, b, true);
}
template <int>
GATUN_DEVICE void multiply(const SparseBytes&, int32_t (&d)[kRows / 2], const uint32_t (&a)[4],
                           const uint32_t& metadata, uint64_t b) {
  wgmma_sp_i8<kRows>(d, a, metadata, b, true);
}

// What qmatmul::Tile wants to know of a left operand.
template <class Left>
struct Stored {
  using Sum = typename Left::Sum;
  static constexpr int kElementBytes = Left::kHalves ? 2 : 1, kStageDepth = kSlices * Left::kSliceDepth;
  static constexpr int kUnitDepth = nm_matmul::kUnitDepth, kUnitBytes = Left::kUnitBytes;
};

template <class Left>
using Tile = qmatmul::Tile<Stored<Left>, kFragments, kRows, true>;

// All products of a group of warps.
template <class Left>
GATUN_DEVICE void multiply_all(const Job& job, const Place& place, const Ring<Tile<Left>>& ring, int first_strip,
                               float (&sum)[kFragments][kRows / 2]) {
  const Left left(job);
  uint32_t a[kFragments][kSlices][4] = {}, metadata[kFragments][kSlices] = {};
  const auto multiply_stage = [&](int stage, int f, int strip, auto& part) {
    const uint8_t* const units = ring.strip(stage, strip);
    const uint64_t b = shared_matrix(ring.x(stage));
    const auto slice = [&](auto index) {
      constexpr int kSlice = decltype(index)::value;
      auto& own = a[f][kSlice];
      uint32_t& places = metadata[f][kSlice];
      wgmma_wait<kRunning - 1>(own, places);  // the product that read these registers
      const SparseFragment of = left.load(units, kSlice, {});
#pragma unroll
      for (int i = 0; i < 4; ++i) own[i] = of.a[i];
      places = of.metadata;
      wgmma_fence(own, places);
      multiply<kSlice>(left, part, own, places, b + kSlice * kSliceOfDescriptor);
      wgmma_commit();
    };
    slice(qmatmul::Step<0>());
    slice(qmatmul::Step<1>());
  };
  qmatmul::multiply_depth<Tile<Left>, kSlices, kRunning>(job, place, ring, first_strip, sum, multiply_stage, a,
                                                         metadata);
}

template <class Left>
GATUN_KERNEL(qmatmul::kTileThreads, 1)
nm_matmul_sparse_sm90(GATUN_GRID_CONSTANT TensorMap x_map, Job job) {
  using T = Tile<Left>;
  qmatmul::make_tile<T>(&x_map, job, [&](const Place& place, const Ring<T>& ring, int first_strip, auto& sum) {
    multiply_all<Left>(job, place, ring, first_strip, sum);
  });
}

template <class Left>
int32_t run(const char* name, const SparseJob& job, void* stream) {
  return qmatmul::launch_tile<Tile<Left>>(name, nm_matmul_sparse_sm90<Left>, job.product, stream);
}

}  // namespace

int32_t run_nm_matmul_sparse_f16_m192n256_sm90(const SparseJob& job, void* stream) {
  return run<SparseHalves<false>>("nm_matmul_sparse_f16_m192n256_sm90", job, stream);
}
int32_t run_nm_matmul_sparse_bf16_m192n256_sm90(const SparseJob& job, void* stream) {
  return run<SparseHalves<true>>("nm_matmul_sparse_bf16_m192n256_sm90", job, stream);
}
int32_t run_nm_matmul_sparse_i8_m192n256_sm90(const SparseJob& job, void* stream) {
  return run<SparseBytes>("nm_matmul_sparse_i8_m192n256_sm90", job, stream);
}

}  // namespace gatun::cuda::nm_matmul
