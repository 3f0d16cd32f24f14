#!/bin/sh
# cuda_headers.sh <root>: what the search path of headers tells apart, by name alone. Each header of cuda/src/ptx has its
# twin in cuda/emulator/ptx, and the other way round; no header of cuda/src has the name of one of native/src.
set -u
root=${1:?usage: cuda_headers.sh <root>}
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

# headers <folder>: the paths of its headers.
headers() { (cd "$root/$1" 2>/dev/null && find . -type f \( -name '*.h' -o -name '*.inc' \) | sed 's:^\./::' | LC_ALL=C sort); }

found=0
for folder in cuda/src/ptx cuda/emulator/ptx cuda/src native/src; do
  headers "$folder" >"$scratch/headers"
  [ -s "$scratch/headers" ] || { echo "cuda_headers: there are no headers in $root/$folder"; exit 2; }
  mv "$scratch/headers" "$scratch/$(echo "$folder" | tr / .)"
done
alone=$(LC_ALL=C comm -3 "$scratch/cuda.src.ptx" "$scratch/cuda.emulator.ptx" | tr -d '\t')
if [ -n "$alone" ]; then
  printf 'in one of cuda/src/ptx and cuda/emulator/ptx only:\n%s\n' "$alone"
  found=1
fi
twice=$(LC_ALL=C comm -12 "$scratch/cuda.src" "$scratch/native.src")
if [ -n "$twice" ]; then
  printf 'both in cuda/src and in native/src, of which the search path finds one:\n%s\n' "$twice"
  found=1
fi
[ $found = 0 ] && echo "cuda_headers: $(grep -c '' "$scratch/cuda.src.ptx") headers of ptx/ have their twins"
exit $found
