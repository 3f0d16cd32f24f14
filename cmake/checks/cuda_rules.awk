# What checks of kernels have in common: the rules, a file of lines
#
#   <kind> <kernels> <rest>
#
# of which the first two are words without spaces. Kind `ptx` or `sass`: each of the kernels has an instruction that
# matches the pattern <rest>. Kind `spills`: kernels that may use local memory, and why. <kernels> is a pattern of whole
# names like `qmatmul/sm80.cu:gatun::cuda::qmatmul::tensor<4, true>(gatun::cuda::qmatmul::Job)`; \s stands for a space.
# Every rule is of at least one kernel. # begins a comment.
#
# Read with -v kind=<kind>, before the program, the file of rules being the first one.
{ in_rules = FILENAME == ARGV[1] }
in_rules {
  sub(/^#.*/, "")
  if (split($0, word, /[ \t]+/) >= 3 && word[1] == kind) {
    count += 1
    kernels[count] = word[2]
    gsub(/\\s/, " ", kernels[count])
    rest[count] = $0
    sub(/^[^ \t]+[ \t]+[^ \t]+[ \t]+/, "", rest[count])
    sub(/[ \t]+$/, "", rest[count])
    rule_line[count] = FNR
  }
}

function matches(name, rule) { return name ~ ("^(" kernels[rule] ")$") }

# The first rule of a kernel, or 0.
function matching(name, rule, first) {
  for (rule = 1; rule <= count; ++rule) {
    if (matches(name, rule)) {
      used[rule] = 1
      if (!first) first = rule
    }
  }
  return first
}

# Names the rules that were of no kernel; whether there are any.
function unmatched(rule, any) {
  for (rule = 1; rule <= count; ++rule) {
    if (!used[rule]) {
      printf "rule %d, %s %s: there is no such kernel\n", rule_line[rule], kind, kernels[rule]
      any = 1
    }
  }
  return any
}
