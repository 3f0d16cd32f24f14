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
// So 820 Tflop/s at most, of cuBLAS' 790 in dense bf16; 256 x 128 would have 677. A warp takes 77 instructions a stage,
// 9 % of the slots. Where nothing multiplies, at the beginning and the end of a tile, are about 6500 cycles, 6 % of a
// depth of 4096. Prediction: 680 to 760 Tflop/s, 0.86 to 0.96 times cuBLAS (int8 twice that). Two blocks of a cluster
// that share x by multicast would read 30720 bytes each, 1229 cycles: shared memory would be the limit then, 1.1
// Pflop/s. Not measured: emulated only.
#include "nm_matmul/left_operands.h"
#include "ptx/wgmma_sp.h"
#include "qmatmul/sm90_ring.h"

namespace gatun::cuda::nm_matmul {
namespace {

using qmatmul::Job;
using qmatmul::Place;
using qmatmul::Ring;

constexpr int kFragments = 2, kRows = 192;
constexpr int kSlices = 2;                   // of a stage, a product each
constexpr int kSliceOfDescriptor = 64 / 16;  // bytes of a row in the unit of descriptors

template <bool kBf16>
struct Halves : SparseHalves<kBf16> {
  using SparseHalves<kBf16>::SparseHalves;

  template <int kSlice>
  static GATUN_DEVICE void multiply(float (&d)[kRows / 2], const SparseFragment& of, uint64_t b) {
    if constexpr (kBf16) wgmma_sp_bf16<kRows, kSlice>(d, of.a, of.metadata, b, true);
    if constexpr (!kBf16) wgmma_sp_f16<kRows, kSlice>(d, of.a, of.metadata, b, true);
  }
};

struct Bytes : SparseBytes {
  using SparseBytes::SparseBytes;

  template <int>
  static GATUN_DEVICE void multiply(int32_t (&d)[kRows / 2], const SparseFragment& of, uint64_t b) {
    wgmma_sp_i8<kRows>(d, of.a, of.metadata, b, true);
  }
};

// What qmatmul::Tile wants to know of a left operand.
template <class Left>
struct Operand : Left {
  static constexpr int kElementBytes = Left::kHalves ? 2 : 1, kUnitDepth = nm_matmul::kUnitDepth;
  static constexpr int kStageDepth = kSlices * Left::kSliceDepth;
};

template <class Left>
using Tile = qmatmul::Tile<Operand<Left>, kFragments, kRows, true>;

// All products of a group of warps.
template <class Left>
GATUN_DEVICE void multiply(const Job& job, const Place& place, const Ring<Tile<Left>>& ring, int first_strip,
                           float (&sum)[kFragments][kRows / 2]) {
  const Left left(job);
  SparseFragment of[kFragments][kSlices] = {};
  qmatmul::multiply_depth<Tile<Left>>(job, place, ring, first_strip, sum, [&](int stage, int f, int strip, auto& part) {
    const uint8_t* const units = ring.strip(stage, strip);
    const uint64_t b = shared_matrix(ring.x(stage));
    const auto slice = [&](auto index) {
      constexpr int kSlice = decltype(index)::value;
      SparseFragment& own = of[f][kSlice];
      // The product of the stage before that read these registers; all later ones may be running.
      wgmma_wait<kFragments * kSlices - 1>(own.a, own.metadata);
      own = left.load(units, kSlice, {});
      wgmma_fence(own.a, own.metadata);
      Left::template multiply<kSlice>(part, own, b + kSlice * kSliceOfDescriptor);
      wgmma_commit();
    };
    slice(qmatmul::Step<0>());
    slice(qmatmul::Step<1>());
  });
}

template <class Left>
GATUN_KERNEL(qmatmul::kTileThreads, 1)
nm_matmul_sparse_sm90(GATUN_GRID_CONSTANT TensorMap x_map, Job job) {
  using T = Tile<Left>;
  qmatmul::make_tile<T>(&x_map, job, [&](const Place& place, const Ring<T>& ring, int first_strip, auto& sum) {
    multiply<Left>(job, place, ring, first_strip, sum);
  });
}

template <class Left>
int32_t run(const char* name, const SparseJob& job, void* stream) {
  return qmatmul::launch_tile<Tile<Left>>(name, nm_matmul_sparse_sm90<Left>, job.product, stream);
}

}  // namespace

int32_t run_nm_matmul_sparse_f16_m192n256_sm90(const SparseJob& job, void* stream) {
  return run<Halves<false>>("nm_matmul_sparse_f16_m192n256_sm90", job, stream);
}
int32_t run_nm_matmul_sparse_bf16_m192n256_sm90(const SparseJob& job, void* stream) {
  return run<Halves<true>>("nm_matmul_sparse_bf16_m192n256_sm90", job, stream);
}
int32_t run_nm_matmul_sparse_i8_m192n256_sm90(const SparseJob& job, void* stream) {
  return run<Bytes>("nm_matmul_sparse_i8_m192n256_sm90", job, stream);
}

}  // namespace gatun::cuda::nm_matmul
