// The kernels of sm90_tile.h.
#include "qmatmul/sm90_tile.h"

namespace gatun::cuda::qmatmul {
namespace {

template <class T, class Arithmetic>
GATUN_KERNEL(kTileThreads, 1)
qmatmul_tile_sm90(GATUN_GRID_CONSTANT TensorMap x_map, Job job) {
  make_tile<T>(&x_map, job, [&](const Place& place, const Ring<T>& ring, int first_strip, auto& sum) {
    if constexpr (T::kDirect) multiply_direct<T, Arithmetic>(job, place, ring, first_strip, sum);
    if constexpr (!T::kDirect) multiply<T, Arithmetic>(job, place, ring, first_strip, sum);
  });
}

template <class Arithmetic, int kFragments, int kRows, bool kDirect>
int32_t run(const char* name, const Job& job, void* stream) {
  using T = Tile<Arithmetic, kFragments, kRows, kDirect>;
  return launch_tile<T>(name, qmatmul_tile_sm90<T, Arithmetic>, job, stream);
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
