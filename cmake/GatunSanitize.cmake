# GATUN_SANITIZE: everything under AddressSanitizer and UndefinedBehaviorSanitizer; the first finding ends the process.
# A float out of an integer's range is undefined behaviour, too, but not part of `undefined`. What null, object-size and
# pointer-overflow find, AddressSanitizer finds where memory is used, without a third of the time that compiling takes.
# -O1: kernels are inlined anyway, and at -O3 the checks take minutes to compile.
option(GATUN_SANITIZE "Build with ASan and UBSan" OFF)
set(GATUN_SANITIZERS -fsanitize=address,undefined,float-cast-overflow -fno-sanitize=null,object-size,pointer-overflow
                     -fno-sanitize-recover=all -O1 -fno-omit-frame-pointer)
if(GATUN_SANITIZE)
  target_compile_options(gatun_flags INTERFACE ${GATUN_SANITIZERS})
  target_link_options(gatun_flags INTERFACE -fsanitize=address,undefined)
  # Loops are the same in all tiers, so two are sanitized and tested: the one without vectors, and what the newest
  # processors run. The tests of the build without sanitizers guard the ends of memory in each.
  set(GATUN_PLAIN_TIERS avx2 avxvnni)
  set(GATUN_UNTESTED_TIERS ${GATUN_PLAIN_TIERS} avx512)  # whose kernels avx512vnni has
  # Of references that only tests call, which would take most of the tests' time.
  set(GATUN_REFERENCE_FLAGS -fno-sanitize=all -O2)
endif()
