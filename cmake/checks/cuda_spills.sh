#!/bin/sh
# cuda_spills.sh <rules> <object>...: no kernel has a stack frame or spills registers, and the assembler gave up none of
# what kernels rely on (it then warns of lost performance), as nvcc_kept.sh has kept beside the objects. Prints how many
# registers kernels use at most.
#
# A rule `spills <kernels> <why>` allows it to some: see cuda_rules.awk.
set -u
rules=${1:?usage: cuda_spills.sh <rules> <object>...}
shift
[ $# -gt 0 ] || { echo "cuda_spills: no object"; exit 2; }
checks=$(dirname "$0")
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

found=0
for object; do
  log=$object.kept/log
  if ! grep -q '^ptxas info .*Compiling entry function' "$log" 2>/dev/null; then
    echo "cuda_spills: $log says nothing of any kernel"
    exit 2
  fi
  if lost=$(grep -iE 'performance loss|setmaxnreg.*ignored|serialized' "$log"); then
    printf '%s:\n%s\n' "$object" "$lost"
    found=1
  fi
  # file:kernel <tab> architecture, stack frame with those of what it calls, spill stores, spill loads, registers
  awk -v file="$(sh "$checks/cuda_file.sh" "$object")" '
    /Compiling entry function/ { architecture = $NF; gsub(/\047/, "", architecture) }
    /Function properties for/ { name = $NF }
    /bytes stack frame/ { frame = $1 "\t" $5 "\t" $9 }
    match($0, /Used [0-9]+ registers/) {
      split(substr($0, RSTART), word, " ")
      print file ":" name "\t" architecture "\t" frame "\t" word[2]
    }' "$log" >>"$scratch/all"
done
c++filt <"$scratch/all" | sed 's/(anonymous namespace):://g; s/:void /:/' >"$scratch/kernels"
count=$(grep -c '' "$scratch/kernels")
compiled=$(for object; do cat "$object.kept/log"; done | grep -c 'Compiling entry function')
[ "$count" -eq "$compiled" ] || { echo "cuda_spills: understood $count of $compiled kernels"; exit 2; }

cat >"$scratch/check.awk" <<'END'
# Of each kernel.
in_rules { next }
{
  allowed = matching($1)
  excused += allowed > 0
  if (($3 > 0 || $4 > 0 || $5 > 0) && !allowed) {
    printf "%s (%s): %d bytes of stack frame, %d of spill stores, %d of spill loads\n", $1, $2, $3, $4, $5
    wrong = 1
  }
  if ($6 > most) most = $6
}
END {
  if (unmatched()) wrong = 1
  if (!wrong) print "cuda_spills: " FNR - excused " kernels keep all in registers, of which they use up to " most
  exit wrong
}
END
awk -F'\t' -v kind=spills -f "$checks/cuda_rules.awk" -f "$scratch/check.awk" "$rules" "$scratch/kernels" || found=1
exit $found
