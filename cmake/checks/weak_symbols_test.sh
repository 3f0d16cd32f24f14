#!/bin/sh
# weak_symbols_test.sh <checks> <c++> <nm>: weak_symbols.sh must find what leaves an ISA unit's namespace.
set -u
checks=${1:?usage: weak_symbols_test.sh <checks> <c++> <nm>}
cxx=$2 nm=$3
folder=$(mktemp -d) || exit 2
tools=$(mktemp -d) || exit 2
trap 'rm -rf "$folder" "$tools"' EXIT
failures=0

# verdict <expected status> <file name> <source>
verdict() {
  rm -f "$folder"/*
  printf '%s\n' "$3" >"$folder/$2"
  "$cxx" -std=c++17 -O0 -c "$folder/$2" -o "$folder/$2.o" || exit 2
  sh "$checks/weak_symbols.sh" "$nm" "$folder" >"$folder/log"
  if [ $? != "$1" ]; then
    printf 'expected status %s for %s:\n%s\n' "$1" "$2" "$3"
    cat "$folder/log"
    failures=$((failures + 1))
  fi
}

own='namespace gatun::avx2 {
template <int N> inline int f(int x) { static int count = N; return count += x; }
struct Table { int (*function)(int); virtual int run() const { return 1; } };
inline auto g() { return [](auto x) { return x + 1; }; }
extern const int kernel;
const int kernel = f<3>(1) + Table().run() + g()(1);
}'
verdict 0 x86_avx2.cc "$own"
verdict 1 x86_avx512.cc "$own"
verdict 1 scalar.cc "$own"
verdict 1 x86_avx2.cc "$own
inline int leaked(int x) { return x; }
int (*use)(int) = leaked;"
verdict 1 x86_avx2.cc "$own
namespace gatun { inline int leaked(int x) { return x; }
namespace avx2 { int use(int x) { return leaked(x); } } }"
verdict 1 x86_avx2.cc "#include <algorithm>
$own
namespace gatun::avx2 { int use(int x, int y) { return std::max(x, y); } }"
verdict 1 x86_avx2.cc 'namespace gatun::avx2x { int f() { return 1; } }
namespace gatun { int avx2() { return 1; } }'
verdict 0 x86_avx512vnni.cc 'namespace gatun::avx512vnni { int f() { return 1; } }
static int local() { return 2; }
namespace { int g() { return local(); } }
namespace gatun::avx512vnni { int h() { return g(); } }'
verdict 2 qmatmul.cc 'int no_isa_unit() { return 1; }'
verdict 2 x86_avx2.cc 'static const int nothing = 1;'
# A tool that fails, whatever it has printed, or that prints nothing.
printf '#!/bin/sh\n"%s" "$@"\nexit 1\n' "$nm" >"$tools/failing"
chmod +x "$tools/failing"
for nm in false true "$tools/failing" "$tools/missing"; do
  verdict 2 x86_avx2.cc "$own"
done

[ $failures = 0 ] && echo "weak_symbols: every planted symbol was caught"
exit $failures
