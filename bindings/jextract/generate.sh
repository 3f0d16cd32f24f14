#!/bin/sh
# Regenerates bindings/src/generated/java from the C headers. Needs a `jextract` on the PATH.
set -eu
cd "$(dirname "$0")/../.."
command -v jextract >/dev/null || { echo "generate.sh: no jextract on the PATH" >&2; exit 2; }
output=bindings/src/generated/java
rm -rf "$output"
jextract @bindings/jextract/gatun.args --output "$output" native/include/gatun/*.h
echo "$(find "$output" -name '*.java' | wc -l) files in $output"
