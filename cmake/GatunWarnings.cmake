# Flags of every C++ target. An fma exists only where it is written (-ffp-contract=off); link-time optimization and
# -ffast-math stay off, since they would move ISA-specific code or put the JVM's threads into flush-to-zero.
add_library(gatun_flags INTERFACE)
target_compile_features(gatun_flags INTERFACE cxx_std_17)
target_compile_options(
  gatun_flags INTERFACE -ffp-contract=off -fno-math-errno -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                        ${GATUN_FLAGS_${GATUN_ARCH}_baseline})
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC warns of its own vector types as template arguments and of the calling convention of inlined functions.
  target_compile_options(gatun_flags INTERFACE -Wno-ignored-attributes -Wno-psabi)
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # And of the deliberately undefined operand inside its own AVX-512 intrinsics; clang, which builds the fuzzer, keeps
    # these warnings on for our code.
    target_compile_options(gatun_flags INTERFACE -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
endif()
