#!/bin/sh
# cuda_headers_test.sh <checks>: cuda_headers.sh must find a header without a twin, and one name for two headers.
set -u
checks=${1:?usage: cuda_headers_test.sh <checks>}
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
failures=0

sound='cuda/src/ptx/mma.h cuda/emulator/ptx/mma.h cuda/src/norm/job.h cuda/src/norm/test.cc native/src/norm/norm.h
  native/src/norm/test.cc'
# verdict <expected status> <what the check names, or nothing> <file>...
verdict() {
  expected=$1 named=$2
  shift 2
  rm -rf "$scratch/tree"
  for file; do
    mkdir -p "$scratch/tree/$(dirname "$file")"
    : >"$scratch/tree/$file"
  done
  sh "$checks/cuda_headers.sh" "$scratch/tree" >"$scratch/log"
  if [ $? != "$expected" ] || ! grep -q "$named" "$scratch/log"; then
    printf 'expected status %s and %s for %s\n' "$expected" "$named" "$*"
    cat "$scratch/log"
    failures=$((failures + 1))
  fi
}

# Lists are split on purpose.
verdict 0 '1 headers' $sound
verdict 1 '^wgmma.h$' $sound cuda/src/ptx/wgmma.h
verdict 1 '^tma.h$' $sound cuda/emulator/ptx/tma.h
verdict 0 '2 headers' $sound cuda/src/ptx/tma.h cuda/emulator/ptx/tma.h
verdict 1 '^norm/norm.h$' $sound cuda/src/norm/norm.h
verdict 1 '^norm/kernels.inc$' $sound cuda/src/norm/kernels.inc native/src/norm/kernels.inc
verdict 2 'no headers' native/src/norm/norm.h

[ $failures = 0 ] && echo "cuda_headers: every planted header was caught"
exit $failures
