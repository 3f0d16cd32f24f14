# Flags of every C++ target. An fma exists only where it is written (-ffp-contract=off); link-time optimization and
# -ffast-math stay off, since they would move ISA-specific code or put the JVM's threads into flush-to-zero.
add_library(gatun_flags INTERFACE)
target_compile_features(gatun_flags INTERFACE cxx_std_17)
target_compile_options(
  gatun_flags INTERFACE -ffp-contract=off -fno-math-errno -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror
                        ${GATUN_FLAGS_${GATUN_ARCH}_baseline})
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC warns of its own vector types as template arguments, of the calling convention of inlined functions, and (GCC 12)
  # of the deliberately undefined operand inside its own AVX-512 intrinsics.
  target_compile_options(gatun_flags INTERFACE -Wno-ignored-attributes -Wno-psabi -Wno-maybe-uninitialized)
endif()
