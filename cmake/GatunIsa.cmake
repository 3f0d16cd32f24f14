# The only list of instruction-set tiers and of -m flags.
#
# A source file named <arch>_<tier>.cc is an ISA unit: it is compiled with its tier's flags and with GATUN_ISA set to the
# tier's name, which is also the namespace (gatun::<tier>) that all of its code lives in. scalar.cc is the unit of the
# scalar tier and is compiled like everything else, but on ARM.

set(GATUN_FLAGS_x86_baseline -march=x86-64-v2)
set(GATUN_FLAGS_x86_avx2 -march=x86-64-v3)
set(GATUN_FLAGS_x86_avxvnni -march=x86-64-v3 -mavxvnni)
set(GATUN_FLAGS_x86_avx512 -march=x86-64-v4)
set(GATUN_FLAGS_x86_avx512vnni -march=x86-64-v4 -mavx512vnni -mavx512bf16 -mavx512vbmi)
# On 64-bit ARM all compilers may use NEON, units of the scalar tier, too: GATUN_NEON is what vec.h asks for. No processor
# needs the scalar tier, which others are compared with: -O1, as -O3 takes minutes.
set(GATUN_FLAGS_arm64_scalar -O1)
set(GATUN_FLAGS_arm64_baseline -march=armv8-a)
set(GATUN_FLAGS_arm64_neon -march=armv8-a -DGATUN_NEON)
set(GATUN_FLAGS_arm64_dotprod -march=armv8.2-a+dotprod -DGATUN_NEON)
set(GATUN_FLAGS_arm64_i8mm -march=armv8.2-a+dotprod+i8mm -DGATUN_NEON)
# Of the emulated CUDA kernels, beside the baseline: fma() as an instruction.
set(GATUN_FLAGS_x86_emulator -mavx2 -mfma)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Otherwise GCC 12 writes large arguments of kernels below the stack pointer before it moves that, and valgrind objects.
  list(APPEND GATUN_FLAGS_x86_emulator -maccumulate-outgoing-args)
  # And on ARM, unlike on x86, it moves loads ahead before it has given out the registers, and spills sums of tiles.
  foreach(tier neon dotprod i8mm)
    list(APPEND GATUN_FLAGS_arm64_${tier} -fno-schedule-insns)
  endforeach()
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(GATUN_ARCH x86)
  set(GATUN_TIERS scalar avx2 avxvnni avx512 avx512vnni)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(GATUN_ARCH arm64)
  set(GATUN_TIERS scalar neon dotprod i8mm)
else()
  set(GATUN_ARCH ${CMAKE_SYSTEM_PROCESSOR})
  set(GATUN_TIERS scalar)
endif()

# For test builds: the kernels of tier avxvnni with the EVEX encoding of their instructions, so that a processor with
# AVX-512 VNNI but without AVX-VNNI runs them, too.
option(GATUN_EVEX_VNNI "Encode the avxvnni tier's dot products for AVX-512 processors (tests only)" OFF)
if(GATUN_EVEX_VNNI)
  add_compile_definitions(GATUN_EVEX_VNNI)
endif()

# gatun_isa_sources(<variable> <file>...): of the files, those that belong to this architecture, their flags set.
function(gatun_isa_sources variable)
  set(kept)
  foreach(file IN LISTS ARGN)
    get_filename_component(name ${file} NAME_WE)
    if(name STREQUAL scalar)
      set_source_files_properties(${file} PROPERTIES COMPILE_DEFINITIONS GATUN_ISA=scalar
                                                     COMPILE_OPTIONS "${GATUN_FLAGS_${GATUN_ARCH}_scalar}")
      list(APPEND kept ${file})
    elseif(name MATCHES "^(x86|arm64)_([a-z0-9]+)$")
      set(tier ${CMAKE_MATCH_2})
      if(CMAKE_MATCH_1 STREQUAL GATUN_ARCH)
        if(NOT tier IN_LIST GATUN_TIERS)
          message(FATAL_ERROR "${file}: there is no tier ${tier}; GATUN_TIERS = ${GATUN_TIERS}")
        endif()
        set(flags ${GATUN_FLAGS_${GATUN_ARCH}_${tier}})
        if(tier IN_LIST GATUN_PLAIN_TIERS)
          list(APPEND flags -fno-sanitize=all)
        endif()
        set_source_files_properties(${file} PROPERTIES COMPILE_DEFINITIONS GATUN_ISA=${tier} COMPILE_OPTIONS "${flags}")
        list(APPEND kept ${file})
      endif()
    else()
      list(APPEND kept ${file})
    endif()
  endforeach()
  set(${variable} ${kept} PARENT_SCOPE)
endfunction()
