#!/bin/sh
# isa_lines_test.sh <checks>: isa_lines.sh must name a line planted where it may not live, and accept it where it may.
set -u
check=${1:?usage: isa_lines_test.sh <checks>}/isa_lines.sh
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
failures=0
: >"$scratch/expected"

# plant <tree> <path> <line>: adds the line to the file and prints its number.
plant() {
  file=$scratch/$1/$2
  mkdir -p "$(dirname "$file")"
  printf '%s\n' "$3" >>"$file"
  grep -c '' "$file"
}
rejects() { printf '%s:%s: %s\n' "$1" "$(plant bad "$1" "$2")" "$2" >>"$scratch/expected"; }
accepts() { plant good "$1" "$2" >/dev/null; }

for line in '#include <immintrin.h>' '#include <arm_neon.h>' '#  include "avx2intrin.h"' '__m512i sum;' \
  'x = _mm256_add_ps(x, y);' 'return _mm_getcsr();' '__mmask16 m;' 'y = vfmaq_f32(a, b, c);' 'float32x4_t v;' \
  'z = __builtin_ia32_pause();' 'int8x16_t w;'; do
  rejects native/src/qmatmul/tile.h "$line"
  rejects native/src/base/dtype.h "$line"
  rejects native/test/some_test.cc "$line"
  accepts native/src/simd/x86_avx2.h "$line"
  accepts native/src/qmatmul/x86_avx512vnni.cc "$line"
  accepts native/src/qmatmul/arm64_neon.cc "$line"
done
accepts native/src/qmatmul/tile.h '// _mm512_dpbusd_epi32 is copied by GCC 12'
accepts native/src/qmatmul/tile.h 'F32 v = add(a, b);  /* _mm_add_ps */'
rejects native/src/qmatmul/tile.h '/* harmless */ x = _mm_add_ps(x, y);'

for line in 'asm("nop");' '__asm__ volatile("nop" ::);' 'asm volatile ("nop");'; do
  rejects native/src/qmatmul/qmatmul.cc "$line"
  rejects cuda/src/qmatmul/simt.cu "$line"
  rejects cuda/src/qmatmul/sm80.cu "$line"
  rejects cuda/emulator/ptx/mma.h "$line"
  accepts cuda/src/ptx/mma.h "$line"
  accepts native/src/simd/x86_avx512.h "$line"
  accepts native/src/base/cpu.cc "$line"
done
rejects cuda/src/base/launch.cu '#if __CUDA_ARCH__ >= 800'
accepts cuda/src/ptx/mma.h '#if __CUDA_ARCH__ >= 800'

rejects native/src/norm/norm.cc '__attribute__((target("avx2"))) void f();'
rejects native/src/norm/norm.cc '#pragma GCC target("avx2")'
rejects native/src/norm/norm.cc '#pragma GCC optimize("fast-math")'
accepts native/src/norm/norm.cc '__attribute__((always_inline)) void f();'

for line in '__cpuid(1, a, b, c, d);' '#include <cpuid.h>' 'if (__builtin_cpu_supports("avx2")) {' 'read_xgetbv();'; do
  rejects native/src/norm/norm.cc "$line"
  accepts native/src/base/cpu.cc "$line"
done
rejects native/src/norm/norm.cc '#include <cuda_runtime.h>'
rejects native/src/norm/norm.cc '#include "gatun/cuda_norm.h"'
for line in '#include <cuda_runtime.h>' '#include <cuda_fp16.h>' '#include <cub/cub.cuh>' '#include "cuda.h"' \
  '#include <cooperative_groups.h>'; do
  rejects cuda/src/norm/norm.cc "$line"
  rejects cuda/src/norm/sm80.cu "$line"
  rejects cuda/emulator/block.cc "$line"
  accepts cuda/src/base/runtime.cc "$line"
  accepts cuda/test/gpu/streams.cc "$line"
done
for line in '__global__ void f() {}' 'const int i = threadIdx.x;' '__shared__ float x[4];' 'f<<<1, 32>>>();' \
  '__syncthreads();' 'x = __shfl_xor_sync(m, x, 1);' '__device__ int f();'; do
  rejects cuda/src/norm/simt.cu "$line"
  rejects cuda/src/norm/tile.h "$line"
  accepts cuda/src/ptx/thread.h "$line"
done
accepts cuda/src/norm/sm80.cu '#include "gatun/cuda_norm.h"'
accepts cuda/src/norm/sm80.cu 'GATUN_KERNEL(32, 1) f(int* y) { *y = thread_index(); }'

for flag in -mavx2 -march=x86-64-v3 -mfma -mtune=znver4 -mprefer-vector-width=512; do
  rejects native/CMakeLists.txt "target_compile_options(gatun PRIVATE $flag)"
  rejects native/CMakeLists.txt "set(CMAKE_CXX_FLAGS \"$flag\")"
  rejects cmake/GatunWarnings.cmake "  $flag)"
  rejects pom.xml "<argument>$flag</argument>"
  accepts cmake/GatunIsa.cmake "set(flags $flag)"
done
accepts gatun 'find . -mtime +1'
rejects cuda/CMakeLists.txt 'target_compile_options(gatun_cuda PRIVATE -arch=sm_80)'
rejects cuda/CMakeLists.txt 'target_compile_options(gatun_cuda PRIVATE -gencode arch=compute_80)'
accepts cmake/GatunCuda.cmake 'set(flags -arch=sm_80)'

for flag in -march=native -mtune=native -ffast-math -Ofast -flto -flto=auto -ffp-contract=fast -funsafe-math-optimizations; do
  rejects cmake/GatunIsa.cmake "set(flags $flag)"
  rejects native/CMakeLists.txt "set(flags $flag)"
done
rejects native/CMakeLists.txt 'set_target_properties(gatun PROPERTIES INTERPROCEDURAL_OPTIMIZATION ON)'
accepts native/CMakeLists.txt '# -ffast-math and -flto stay off'
accepts native/CMakeLists.txt 'set(flags -ffp-contract=off)'

sh "$check" "$scratch/bad" >"$scratch/log" && echo "a tree full of violations was accepted" && failures=1
while IFS= read -r planted; do
  grep -qF "${planted%%: *}: " "$scratch/log" || { echo "not rejected: $planted"; failures=1; }
done <"$scratch/expected"
sh "$check" "$scratch/good" || { echo "these lines are allowed"; failures=1; }
# No sources at all is a wrong root, not a clean tree.
mkdir "$scratch/empty"
sh "$check" "$scratch/empty" >/dev/null && echo "an empty tree was accepted" && failures=1

[ $failures = 0 ] && echo "isa_lines: all $(grep -c '' "$scratch/expected") planted lines were caught"
exit $failures
