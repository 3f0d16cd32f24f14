#!/bin/sh
# isa_lines.sh <root>: where a line may live. Prints each line that lives elsewhere; exit 1 if there is one.
#
#   vector intrinsics, their headers      native/src/simd/, native/src/<op>/{x86,arm64}_*
#   asm                                   there, base/cpu.cc, cuda/src/ptx/
#   __CUDA_ARCH__, words of CUDA C++      cuda/src/ptx/
#   -m... and -arch flags                 cmake/GatunIsa.cmake, cmake/GatunCuda.cmake
#   CPUID, XGETBV                         native/src/base/cpu.cc
#   headers of CUDA                       cuda/src/{base,ptx}/, cuda/test/, cuda/bench/
#   libgatun_cuda's headers               cuda/, adapters/, bench/
#   the build machine's own ISA, flags that change what arithmetic means, link-time optimization: nowhere
#
# Comments may say anything.
set -u
cd "${1:?usage: isa_lines.sh <root>}" || exit 2

scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

# path:line: text of all sources and of all build files, without comments.
lines() {
  find native cuda cmake bindings java-api bench example adapters gatun pom.xml .ci CMakeLists.txt \
    \( -name target -o -name checks -o -name node_modules \) -prune -o -type f \( "$@" \) -print 2>/dev/null |
    LC_ALL=C sort | xargs -r awk "$strip"'{ print FILENAME ":" FNR ": " $0 }'
}
strip='
  FNR == 1 { inside = 0 }
  {
    if (inside) { if (!sub(/^.*\*\//, "")) next; inside = 0 }
    gsub(/\/\*([^*]|\*[^\/])*\*\//, "")
    sub(/\/\/.*/, "")
    if (sub(/\/\*.*/, "")) inside = 1
  }'
lines -name '*.c' -o -name '*.h' -o -name '*.cc' -o -name '*.inc' -o -name '*.cu' -o -name '*.cuh' >"$scratch/sources"
strip='{ sub(/(^|[ \t])#.*/, "") }'
lines -name CMakeLists.txt -o -name '*.cmake' -o -name '*.json' -o -name '*.sh' -o -name pom.xml -o -name gatun \
  -o -path '.ci/*' >"$scratch/builds"
if ! grep -q . "$scratch/sources"; then
  echo "isa_lines: no sources under $(pwd)"
  exit 2
fi

found=0
# rule <name> <list> <pattern> [<pattern of paths where it is allowed>]
rule() {
  hits=$(grep -E "^[^:]*:[0-9]+:.*($3)" "$scratch/$2" | grep -Ev "^(${4:-nowhere})")
  if [ -n "$hits" ]; then
    printf '%s:\n%s\n' "$1" "$hits"
    found=1
  fi
}

units='native/src/[a-z_0-9]+/(x86|arm64)_[a-z0-9_]+\.(cc|h|inc):'
devices='cuda/src/ptx/'

rule 'an intrinsics header outside of the ISA units' sources \
  '#[ \t]*include[ \t]*[<"]([a-z0-9]*mmintrin|x86intrin|x86gprintrin|[a-z0-9]+intrin|arm_[a-z0-9]+)\.h' \
  "native/src/simd/|$units"
rule 'an intrinsic outside of the ISA units' sources \
  '(^|[^A-Za-z0-9_])(_mm(256|512)?_[a-z0-9_]+|__m(64|128|256|512)[a-z]*|__mmask[0-9]+|__builtin_(ia32|neon|aarch64)_[a-z0-9_]+|_(cvt|load|store|k)[a-z0-9]*_mask[0-9]+|v[a-z0-9]+_([a-z]+_)?([sufp]|bf)(8|16|32|64)|(float|int|uint|bfloat)(8|16|32|64)x[0-9]+(x[0-9]+)?_t)([^A-Za-z0-9_]|$)' \
  "native/src/simd/|$units"
rule 'asm outside of the ISA units and cuda/src/ptx' sources \
  '(^|[^A-Za-z0-9_.])(asm|__asm|__asm__)[ \t]*(volatile|__volatile__|goto|inline)?[ \t]*\(' \
  "native/src/simd/|native/src/base/cpu\.cc:|$units|$devices"
rule '__CUDA_ARCH__ outside of cuda/src/ptx' sources '__CUDA_ARCH' "$devices"
rule 'CUDA C++ outside of cuda/src/ptx' sources \
  '<<<|(^|[^A-Za-z0-9_])(threadIdx|blockIdx|blockDim|gridDim|__(global|device|shared|constant|host|launch_bounds|syncthreads|syncwarp|shfl_[a-z_]+|ldg|ldcs|stcs|threadfence[a-z_]*)_*)([^A-Za-z0-9_]|$)' \
  "$devices"
rule 'target attribute or pragma: an ISA belongs to a whole unit' sources \
  '__attribute__.*[( ,](__)?(target|target_clones)(__)?[ \t]*\(|\[\[gnu::target|#[ \t]*pragma[ \t]+(GCC|clang)[ \t]+(target|attribute)'
rule 'floating-point rules changed in a source' sources \
  '#[ \t]*pragma[ \t]+(GCC[ \t]+optimize|clang[ \t]+fp|STDC[ \t]+FP_CONTRACT)|__attribute__.*[( ,](__)?optimize(__)?[ \t]*\('
rule 'CPUID outside of base/cpu.cc' sources \
  '[Cc][Pp][Uu][Ii][Dd]|[Xx][Gg][Ee][Tt][Bb][Vv]|__builtin_cpu_|getauxval' 'native/src/base/cpu\.cc:'
rule 'a header of CUDA outside of cuda/src/base and cuda/src/ptx' sources \
  '#[ \t]*include[ \t]*[<"](cuda[a-z_0-9]*\.h|cuda/|cooperative_groups|nv|cub|mma\.h|thrust|cutlass|cute)' \
  'cuda/src/(base|ptx)/|cuda/test/|cuda/bench/'
rule 'the CPU library depends on CUDA' sources '#[ \t]*include[ \t]*[<"]gatun/cuda' 'cuda/|adapters/|bench/'
before="(^|[ \t;\"'>=,])"
rule '-m flag outside of GatunIsa.cmake and GatunCuda.cmake' builds \
  "$before-m(arch|tune|cpu|fpu|abi|avx|sse|ssse|fma|f16c|bmi|amx|prefer|popcnt|lzcnt|movbe|no-|sve|vnni)" \
  'cmake/Gatun(Isa|Cuda)\.cmake:'
rule '-arch flag outside of GatunCuda.cmake' builds \
  "$before-(-gpu-architecture|-gpu-code|-generate-code|arch[= ]|gencode|code=)|CUDA_ARCHITECTURES|--cuda-gpu-arch" \
  'cmake/GatunCuda\.cmake:'
rule "the build machine's own ISA" builds '-m(arch|tune|cpu)=native|-arch=native'
rule 'a flag that changes what arithmetic means' builds \
  '-ffast-math|-Ofast|-funsafe-math|-fassociative-math|-freciprocal-math|-ffinite-math|-fno-signed-zeros|-ffp-contract=(fast|on)|-ffp-model|use_fast_math|-ftz=true'
rule 'link-time optimization' builds '-flto|INTERPROCEDURAL_OPTIMIZATION|CheckIPOSupported'

[ $found = 0 ] && echo "isa_lines: $(wc -l <"$scratch/sources") lines of source live where they may"
exit $found
