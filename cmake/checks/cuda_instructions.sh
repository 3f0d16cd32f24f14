#!/bin/sh
# cuda_instructions.sh <rules> ptx|sass <cuobjdump> <object>...: kernels have the instructions that they are written for, in
# what nvcc_kept.sh has kept beside the objects: PTX, and with a cuobjdump machine code. See cuda_rules.awk for the rules.
# Exit 77 if machine code was asked for and there is no cuobjdump.
set -u
rules=${1:?usage: cuda_instructions.sh <rules> ptx|sass <cuobjdump> <object>...}
kind=$2 cuobjdump=$3
shift 3
[ $# -gt 0 ] || { echo "cuda_instructions: no object"; exit 2; }
if [ "$kind" = sass ] && ! command -v "$cuobjdump" >/dev/null; then
  echo "cuda_instructions: skipped, there is no cuobjdump to read machine code with"
  exit 77
fi
checks=$(dirname "$0")
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

for object; do
  file=$(sh "$checks/cuda_file.sh" "$object")
  any=
  case $kind in
  ptx)
    for code in "$object".kept/*.ptx; do
      [ -f "$code" ] || continue
      any=yes
      # What a kernel has is between its .entry and the next one.
      awk -v file="$file" '
        match($0, /\.entry [A-Za-z0-9_$]+/) { print "kernel\t" file ":" substr($0, RSTART + 7, RLENGTH - 7); inside = 1; next }
        /^[ \t]*(\.visible |\.weak |\.extern )*\.func / { inside = 0 }
        inside { print "\t" $0 }' "$code" >>"$scratch/all"
    done
    ;;
  sass)
    for code in "$object".kept/*.cubin; do
      [ -f "$code" ] || continue
      any=yes
      "$cuobjdump" -sass "$code" >"$scratch/sass" || { echo "cuda_instructions: $cuobjdump failed"; exit 2; }
      awk -v file="$file" '
        /Function : / { print "kernel\t" file ":" $NF; next }
        { print "\t" $0 }' "$scratch/sass" >>"$scratch/all"
    done
    ;;
  esac
  [ -n "$any" ] || { echo "cuda_instructions: nothing was kept of $object"; exit 2; }
done
grep -q '^kernel' "$scratch/all" || { echo "cuda_instructions: no kernel"; exit 2; }
# Names are long, and most lines have none.
awk -F'\t' '$1 == "kernel" { print $2 }' "$scratch/all" | c++filt | sed 's/(anonymous namespace):://g; s/:void /:/' >"$scratch/names"
awk -F'\t' 'FNR == NR { name[FNR] = $0; next } $1 == "kernel" { $0 = "kernel\t" name[++n] } { print }' \
  "$scratch/names" "$scratch/all" >"$scratch/kernels"

cat >"$scratch/check.awk" <<'END'
in_rules { next }

# What the kernel that ends here lacks.
function finish(rule) {
  for (rule in missing) {
    printf "%s: no %s\n", kernel, rest[rule]
    wrong = 1
  }
  delete missing
}
$1 == "kernel" {
  finish()
  kernel = $2
  kernel_count += 1
  for (rule = 1; rule <= count; ++rule) {
    if (matches(kernel, rule)) {
      missing[rule] = 1
      used[rule] = 1
      checked += 1
    }
  }
  next
}
{
  for (rule in missing) {
    if ($0 ~ rest[rule]) delete missing[rule]
  }
}
END {
  finish()
  if (unmatched()) wrong = 1
  if (!wrong) printf "cuda_instructions: %d instructions are there, in %d kernels (%s)\n", checked, kernel_count, kind
  exit wrong
}
END
awk -F'\t' -v kind="$kind" -f "$checks/cuda_rules.awk" -f "$scratch/check.awk" "$rules" "$scratch/kernels"
