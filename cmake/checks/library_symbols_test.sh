#!/bin/sh
# library_symbols_test.sh <checks> <c++> <nm> <readelf>: library_symbols.sh must find each planted fault.
set -u
checks=${1:?usage: library_symbols_test.sh <checks> <c++> <nm> <readelf>}
cxx=$2 nm=$3 readelf=$4
folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
failures=0

# verdict <expected status> <GLIBC version> <source> [<link option>...]
verdict() {
  expected=$1 newest=$2
  printf '%s\n' "$3" >"$folder/planted.cc"
  source=$3
  shift 3
  "$cxx" -std=c++17 -fPIC -shared -fvisibility=hidden "$folder/planted.cc" -o "$folder/planted.so" "$@" || exit 2
  sh "$checks/library_symbols.sh" "$nm" "$readelf" "$folder/planted.so" "$newest" $prefix >"$folder/log"
  if [ $? != "$expected" ]; then
    printf 'expected status %s for GLIBC %s and\n%s\n' "$expected" "$newest" "$source"
    cat "$folder/log"
    failures=$((failures + 1))
  fi
}

prefix=
static='-static-libstdc++ -static-libgcc'
api='#include <pthread.h>
#define API extern "C" __attribute__((visibility("default")))
API int gatun_planted(void) { return 1; }'
thread='API int gatun_start(pthread_t* t) { return pthread_create(t, nullptr, [](void* p) { return p; }, nullptr); }'
# Option lists are split on purpose.
verdict 0 99.9 "$api
$thread" $static
verdict 1 2.1 "$api
$thread" $static
verdict 1 99.9 "$api
API int planted(void) { return 2; }" $static
verdict 1 99.9 "$api
namespace gatun { __attribute__((visibility(\"default\"))) int f() { return 3; } }" $static
verdict 1 99.9 'int nothing() { return 1; }' $static
verdict 1 99.9 "#include <string>
$api
API int gatun_throw(int x) { throw std::string(static_cast<size_t>(x), 'x'); }"
prefix=gatun_cuda_
verdict 1 99.9 "$api" $static
verdict 0 99.9 "#include <pthread.h>
extern \"C\" __attribute__((visibility(\"default\"))) int gatun_cuda_planted(pthread_t* t) {
  return pthread_create(t, nullptr, [](void* p) { return p; }, nullptr);
}" $static
prefix=
# A library of CUDA.
printf 'int planted_driver() { return 1; }' >"$folder/driver.cc"
"$cxx" -fPIC -shared "$folder/driver.cc" -Wl,-soname,libcuda.so.1 -o "$folder/libcuda.so" || exit 2
verdict 1 99.9 "$api
int planted_driver();
API int gatun_driver() { return planted_driver(); }" $static -L"$folder" -lcuda

# A tool that fails, whatever it has printed, or that prints nothing.
tools=$folder/tools
mkdir "$tools"
for tool in "$nm" "$readelf"; do
  printf '#!/bin/sh\n"%s" "$@"\nexit 1\n' "$tool" >"$tools/failing-${tool##*/}"
done
chmod +x "$tools"/*
sound_nm=$nm
for nm in false "$tools/failing-${nm##*/}" "$tools/missing"; do
  verdict 2 99.9 "$api" $static
done
nm=true
verdict 1 99.9 "$api" $static
nm=$sound_nm
for readelf in false "$tools/failing-${readelf##*/}" "$tools/missing"; do
  verdict 2 99.9 "$api" $static
done
readelf=true
verdict 1 99.9 "$api" $static

[ $failures = 0 ] && echo "library_symbols: every planted fault was caught"
exit $failures
