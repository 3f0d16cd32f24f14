// The kernels of sm90_tile.h.
#include "base/check.h"
#include "ptx/launch.h"
#include "qmatmul/sm90_tile.h"

namespace gatun::cuda::qmatmul {
namespace {

// Of 65536 registers a multiplying thread has 240 and a copying one 24.
template <class T, class Arithmetic>
GATUN_KERNEL(kTileThreads, 1)
qmatmul_tile_sm90(GATUN_GRID_CONSTANT TensorMap x_map, Job job) {
  const Ring<T> ring(shared_memory());
  const Place place = place_of<T>(job);
  if (thread_index() == 0) {
    for (int s = 0; s < T::kStages; ++s) {
      barrier_init(ring.full + s, 1);
      barrier_init(ring.empty + s, kMultiplyingGroups * 4);
    }
    barrier_init_fence();
  }
  block_barrier();
  const int group = warp() / 4;
  if (group == 0) {
    registers_less<24>();
    if (warp() == 0) fill_ring<T>(&x_map, job, place, ring);
  } else {
    registers_more<240>();
    float sum[T::kFragments][T::kRows / 2] = {};
    const int first_strip = (group - 1) * T::kFragments * 4 + warp() % 4;
    if constexpr (T::kDirect) multiply_direct<T, Arithmetic>(job, place, ring, first_strip, sum);
    if constexpr (!T::kDirect) multiply<T, Arithmetic>(job, place, ring, first_strip, sum);
    store_tile<T>(job, place, shared_memory(), sum);
  }
}

template <class Arithmetic, int kFragments, int kRows, bool kDirect>
int32_t run(const char* name, const Job& job, void* stream) {
  using T = Tile<Arithmetic, kFragments, kRows, kDirect>;
  TensorMap map;
  GATUN_TRY(make_tensor_map(&map, job.x.x, Arithmetic::kElementBytes, job.rows,
                            job.units * unit_depth(Arithmetic::kCodes), job.x.row_stride * Arithmetic::kElementBytes,
                            kRows, kStageRowBytes / Arithmetic::kElementBytes, kStageRowBytes));
  const int64_t tiles = blocks_of(job.rows, kRows) * blocks_of(job.strip_end - job.strip_begin, T::kStrips);
  return launch(name, qmatmul_tile_sm90<T, Arithmetic>, {tiles, job.parts, 1, kTileThreads, T::kSharedBytes}, stream,
                map, job);
}

template <int kFragments, int kRows, bool kBf16>
int32_t run_halves(const char* name, const Job& job, void* stream) {
  switch (job.kind) {
    case Codes::u4:
      return run<Halves<Codes::u4, kBf16>, kFragments, kRows, false>(name, job, stream);
    case Codes::i8:
      return run<Halves<Codes::i8, kBf16>, kFragments, kRows, false>(name, job, stream);
    case Codes::u8:
      return run<Halves<Codes::u8, kBf16>, kFragments, kRows, false>(name, job, stream);
    default:
      return run<Halves<Codes::f8e4m3, kBf16>, kFragments, kRows, false>(name, job, stream);
  }
}

template <Codes kCodes, int kFragments>
int32_t run_integers(const char* name, const Job& job, void* stream) {
  constexpr int64_t kMostDepth = 1 << 17;  // of a sum in int32
  if (job.groups == 1 && job.depth <= kMostDepth)
    return run<Integers<kCodes>, kFragments, 128, true>(name, job, stream);
  return run<Integers<kCodes>, kFragments, 128, false>(name, job, stream);
}
template <int kFragments>
int32_t run_integers(const char* name, const Job& job, void* stream) {
  return job.kind == Codes::i8 ? run_integers<Codes::i8, kFragments>(name, job, stream)
                               : run_integers<Codes::u4, kFragments>(name, job, stream);
}

}  // namespace

int32_t run_qmatmul_i8_m128n256_sm90(const Job& job, void* stream) {
  return run_integers<2>("qmatmul_i8_m128n256_sm90", job, stream);
}
int32_t run_qmatmul_i8_m128n128_sm90(const Job& job, void* stream) {
  return run_integers<1>("qmatmul_i8_m128n128_sm90", job, stream);
}
int32_t run_qmatmul_bf16_m128n256_sm90(const Job& job, void* stream) {
  return run_halves<2, 128, true>("qmatmul_bf16_m128n256_sm90", job, stream);
}
int32_t run_qmatmul_bf16_m128n128_sm90(const Job& job, void* stream) {
  return run_halves<1, 128, true>("qmatmul_bf16_m128n128_sm90", job, stream);
}
int32_t run_qmatmul_bf16_m64n128_sm90(const Job& job, void* stream) {
  return run_halves<1, 64, true>("qmatmul_bf16_m64n128_sm90", job, stream);
}
int32_t run_qmatmul_f16_m128n256_sm90(const Job& job, void* stream) {
  return run_halves<2, 128, false>("qmatmul_f16_m128n256_sm90", job, stream);
}
int32_t run_qmatmul_f16_m128n128_sm90(const Job& job, void* stream) {
  return run_halves<1, 128, false>("qmatmul_f16_m128n128_sm90", job, stream);
}
int32_t run_qmatmul_f16_m64n128_sm90(const Job& job, void* stream) {
  return run_halves<1, 64, false>("qmatmul_f16_m64n128_sm90", job, stream);
}

}  // namespace gatun::cuda::qmatmul
