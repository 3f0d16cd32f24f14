#!/bin/sh
# library_symbols.sh <nm> <readelf> <library> <GLIBC version> [<prefix>]: the shared library exports gatun_* only, or what
# begins with the prefix; it needs no library but the C library's, and no GLIBC newer than the given version. Prints the
# version that it needs, and its size.
set -u
nm=${1:?usage: library_symbols.sh <nm> <readelf> <library> <GLIBC version> [<prefix>]}
readelf=$2 library=$3 newest=$4 prefix=${5:-gatun_}
found=0

exported=$("$nm" -D --defined-only "$library") || exit 2
foreign=$(printf '%s\n' "$exported" | awk -v own="^$prefix[a-z0-9_]+\$" '$NF !~ own { print "  " $NF }')
if [ -n "$foreign" ]; then
  printf 'exported, but not %s*:\n%s\n' "$prefix" "$(printf '%s\n' "$foreign" | c++filt)"
  found=1
fi
count=$(printf '%s\n' "$exported" | grep -c " $prefix")
[ "$count" -gt 0 ] || { echo "nothing is exported"; found=1; }

dynamic=$("$readelf" -d "$library") || exit 2
needed=$(printf '%s\n' "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
foreign=$(printf '%s\n' "$needed" | grep -Ev '^(|libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|librt\.so\.1|ld-linux.*)$')
if [ -n "$foreign" ]; then
  printf 'needs other libraries than the C library:\n%s\n' "$foreign"
  found=1
fi

versions=$("$readelf" -V -W "$library") || exit 2
glibc=$(printf '%s\n' "$versions" | grep -oE 'Name: GLIBC_[0-9.]+' | sed 's/Name: GLIBC_//' | sort -V | tail -1)
if [ -z "$glibc" ]; then
  echo "needs no version of GLIBC, which no library does"
  found=1
elif [ "$(printf '%s\n%s\n' "$glibc" "$newest" | sort -V | tail -1)" != "$newest" ]; then
  echo "needs GLIBC $glibc; allowed: up to $newest"
  "$nm" -D --undefined-only "$library" | grep -F "GLIBC_$glibc" | sed 's/^ */  /'
  found=1
fi
echo "library_symbols: exports $count functions, needs GLIBC ${glibc:-unknown}, $(echo $needed); $(wc -c <"$library") bytes"
exit $found
