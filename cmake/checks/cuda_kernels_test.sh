#!/bin/sh
# cuda_kernels_test.sh <checks> <nvcc>: cuda_spills.sh and cuda_instructions.sh must find what planted kernels do in local
# memory and what they lack.
set -u
checks=${1:?usage: cuda_kernels_test.sh <checks> <nvcc>}
nvcc=$2
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
failures=0
object=$scratch/kernels.dir/src/planted/simt.cu.o
mkdir -p "$(dirname "$object")"

# compile <source>: as the build does; fails if the compiler does.
compile() {
  printf '%s\n' "$1" >"$scratch/simt.cu"
  sh "$checks/../nvcc_kept.sh" "$nvcc" -std=c++17 $architecture -Xptxas=-v -c "$scratch/simt.cu" -o "$object" \
    2>"$scratch/errors"
}
# verdict <expected status> <what the check says> <rules> <check> [<argument>...]: of what was compiled last.
verdict() {
  expected=$1 said=$2 check=$4
  printf '%s\n' "# Rules." "$3" >"$scratch/rules"
  shift 4
  sh "$checks/$check.sh" "$scratch/rules" "$@" "$object" >"$scratch/log" 2>&1
  if [ $? != "$expected" ] || ! grep -qE "$said" "$scratch/log"; then
    printf 'expected status %s and "%s" of %s with the rule %s\n' "$expected" "$said" "$check" \
      "$(tail -n 1 "$scratch/rules")"
    cat "$scratch/log"
    failures=$((failures + 1))
  fi
}
fail() {
  echo "$*"
  failures=$((failures + 1))
}

# The flags stand in cmake/GatunCuda.cmake; here, one target is enough, and the compiler's own will do.
architecture=
kernel='namespace planted { namespace {
template <int size> __global__ void KERNEL(const float4* x, float4* y, int n) {
  float4 values[size];
  for (int i = 0; i < size; ++i) values[i] = x[i * n];
  for (int i = 0; i < size; ++i) values[i * n % size].x += values[i].y;
  y[threadIdx.x] = values[n % size];
} }
void launch(const float4* x, float4* y) { KERNEL<SIZE><<<1, 32>>>(x, y, 3); } }'

compile "$(echo "$kernel" | sed 's/KERNEL/sound/; s/KERNEL/sound/; s/SIZE/1/')" || cat "$scratch/errors"
verdict 0 '1 kernels keep all' '' cuda_spills
verdict 0 'keep all' 'spills planted/simt\.cu:.*sound<1>.* because' cuda_spills
verdict 1 'there is no such kernel' 'spills planted/simt\.cu:.*other.* because' cuda_spills
verdict 0 '1 instructions are there' 'ptx planted/simt\.cu:.* st\.global.*v4' cuda_instructions ptx -
verdict 0 '1 instructions are there' 'ptx planted/simt\.cu:planted::sound<1>\(.* ld\.global.*v4' cuda_instructions ptx -
verdict 1 'sound<1>.*: no mma' 'ptx planted/simt\.cu:.* mma\.sync' cuda_instructions ptx -
verdict 1 'there is no such kernel' 'ptx planted/sm80\.cu:.* ld\.global' cuda_instructions ptx -
verdict 77 skipped 'sass .* HMMA' cuda_instructions sass "$scratch/no-cuobjdump"

# Machine code, as cuobjdump prints it.
mkdir "$scratch/tools"
{
  echo '#!/bin/sh'
  echo "echo '		Function : _ZN7planted5soundEv'"
  echo "echo '        /*0150*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;'"
} >"$scratch/tools/cuobjdump"
printf '#!/bin/sh\nexit 1\n' >"$scratch/tools/failing"
chmod +x "$scratch"/tools/*
verdict 0 '1 instructions' 'sass planted/simt\.cu:.*sound.* HMMA' cuda_instructions sass "$scratch/tools/cuobjdump"
verdict 1 'no HGMMA' 'sass planted/simt\.cu:.*sound.* HGMMA' cuda_instructions sass "$scratch/tools/cuobjdump"
verdict 2 failed 'sass .* HMMA' cuda_instructions sass "$scratch/tools/failing"

# What the assembler says of lost performance and of ignored requests.
cp "$object.kept/log" "$scratch/sound"
for line in "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to x" \
  "ptxas info    : (C7508) setmaxnreg ignored; unable to determine register count at entry"; do
  printf '%s\n' "$line" | cat "$scratch/sound" - >"$object.kept/log"
  verdict 1 'C75' '' cuda_spills
done
: >"$object.kept/log"
verdict 2 'nothing of any kernel' '' cuda_spills
rm -f "$object".kept/*.ptx
verdict 2 'nothing was kept' 'ptx .* ld' cuda_instructions ptx -

compile "$(echo "$kernel" | sed 's/KERNEL/framed/; s/KERNEL/framed/; s/SIZE/40/')" || cat "$scratch/errors"
verdict 1 'framed<40>.*bytes of stack frame' '' cuda_spills
verdict 1 'framed<40>' 'spills planted/simt\.cu:.*framed<41>.* because' cuda_spills
verdict 0 '' 'spills planted/simt\.cu:.*framed<40>.* because' cuda_spills

# A bound of 24 registers does not hold 40 sums.
compile '__global__ void __maxnreg__(24) spilled(const float* x, float* y, int n) {
  float sum[40] = {};
  for (int j = 0; j < n; ++j)
#pragma unroll
    for (int i = 0; i < 40; ++i) sum[i] = sum[i] * x[j] + x[j + i];
#pragma unroll
  for (int i = 0; i < 40; ++i) y[i * n] = sum[i];
}' || cat "$scratch/errors"
verdict 1 'spilled.* [1-9][0-9]* of spill stores' '' cuda_spills

# Errors and warnings of the compiler are seen, and what it says of registers is not.
compile '__global__ void broken(float* x) { *x = y; }' && fail "a kernel with an error was compiled"
grep -q 'identifier "y" is undefined' "$scratch/errors" || fail "no error was shown"
compile '__global__ void warned(float* x) { int unused; *x = 1; }' || fail "a warning is no error"
grep -q 'never referenced' "$scratch/errors" || fail "no warning was shown"
grep -q registers "$scratch/errors" && fail "what the assembler says was shown"

[ $failures = 0 ] && echo "cuda_kernels: everything planted was caught"
exit $failures
