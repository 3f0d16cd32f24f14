#!/bin/sh
# Regenerates bindings/src/generated/java from the C headers. Needs the `jextract` of JDK 22 on the PATH: later ones split
# gatun_h in two.
set -eu
cd "$(dirname "$0")/../.."
command -v jextract >/dev/null || { echo "generate.sh: no jextract on the PATH; get jextract 22" >&2; exit 2; }
output=bindings/src/generated/java
# What is there stays until jextract has succeeded.
new=$(mktemp -d bindings/src/generated/new.XXXXXX)
trap 'rm -rf "$new"' EXIT
jextract @bindings/jextract/gatun.args --output "$new" native/include/gatun/*.h
jextract @bindings/jextract/gatun_cuda.args --output "$new" cuda/include/gatun/*.h
rm -rf "$output"
mv "$new" "$output"
chmod 755 "$output"
echo "$(find "$output" -name '*.java' | wc -l) files in $output"
