#!/bin/sh
# nvcc_kept.sh <nvcc> <argument>...: compiles, and keeps what checks read in the folder <object>.kept: PTX and machine code
# of each architecture, and `log`, what the assembler says of registers, stack frames and spills. That is shown only if the
# compilation fails; warnings always are.
set -u

object=
before=
for argument; do
  [ "$before" != -o ] || object=$argument
  before=$argument
done
# The compiler's version is asked without an object.
[ -n "$object" ] || exec "$@"

kept=$object.kept
rm -rf "$kept"
mkdir -p "$kept" || exit 1
status=0
"$@" --keep --keep-dir "$kept" 2>"$kept/log" || status=$?
if [ "$status" -ne 0 ]; then
  cat "$kept/log" >&2
else
  grep -Ev '^ptxas info|bytes stack frame|^$' "$kept/log" >&2
fi
find "$kept" -type f ! -name '*.ptx' ! -name '*.cubin' ! -name log -exec rm -f {} +
exit "$status"
