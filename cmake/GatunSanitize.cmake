# GATUN_SANITIZE: everything under AddressSanitizer and UndefinedBehaviorSanitizer; the first finding ends the process.
# -O1: kernels are inlined anyway, and at -O3 the checks take minutes to compile.
option(GATUN_SANITIZE "Build with ASan and UBSan" OFF)
if(GATUN_SANITIZE)
  # A float out of an integer's range is undefined behaviour, too, but not part of `undefined`.
  target_compile_options(gatun_flags INTERFACE -fsanitize=address,undefined,float-cast-overflow
                                               -fno-sanitize-recover=all -O1 -fno-omit-frame-pointer)
  target_link_options(gatun_flags INTERFACE -fsanitize=address,undefined)
  # It is the library that is checked. With all of the checks, tests and the references that they compare with would take
  # most of the time.
  set(GATUN_TEST_FLAGS -fno-sanitize=undefined,float-cast-overflow)
  set(GATUN_REFERENCE_FLAGS -fno-sanitize=all -O2)
endif()
