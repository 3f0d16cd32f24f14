#!/bin/sh
# weak_symbols.sh <nm> <folder of object files>: an ISA unit (x86_<tier>, arm64_<tier>, scalar) defines external symbols
# in namespace gatun::<tier> only.
#
# Why: the linker keeps one of several weak symbols of the same name. If that is the copy of an AVX-512 unit (a std::
# template, an inline function of a shared header), the library dies on processors without AVX-512.
set -u
nm=${1:?usage: weak_symbols.sh <nm> <folder>}
folder=${2:?usage: weak_symbols.sh <nm> <folder>}

units=$(find "$folder" -name 'x86_*.o' -o -name 'arm64_*.o' -o -name 'scalar.cc.o' | LC_ALL=C sort)
[ -n "$units" ] || { echo "weak_symbols: no ISA unit under $folder"; exit 2; }

found=0
count=0
for unit in $units; do
  tier=$(basename "$unit" | sed -E 's/^(x86|arm64)_//; s/\..*//')
  # External definitions are capital letters, V W u among them. Mangled: N[K] 5gatun <length><tier> ..., after the
  # prefixes of local names (Z), guard variables (GV), tables and type information (TV TI TS).
  own="^_Z(GV|TV|TI|TS|Z)*NK?5gatun${#tier}$tier"
  symbols=$("$nm" --defined-only "$unit") || exit 2
  external=$(printf '%s\n' "$symbols" | awk '$2 ~ /^[A-Zu]$/ || $2 ~ /^[vw]$/ { print $3, $2 }')
  [ -n "$external" ] || { echo "weak_symbols: $unit defines nothing"; exit 2; }
  # The reference to the personality routine is the same data in every unit that may throw.
  wrong=$(printf '%s\n' "$external" | grep -Ev "$own" | grep -v '^DW\.ref\.__gxx_personality_v0 ')
  if [ -n "$wrong" ]; then
    echo "$unit defines symbols outside of gatun::$tier:"
    printf '%s\n' "$wrong" | c++filt | sed 's/^/  /'
    found=1
  fi
  count=$((count + 1))
done
[ $found = 0 ] && echo "weak_symbols: $count ISA units define symbols in their own namespaces only"
exit $found
