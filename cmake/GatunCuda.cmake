# The only list of CUDA architectures and of nvcc's flags.
#
# Kernel files are *.cu. sm90*.cu use instructions that only sm_90a has (wgmma, TMA with mbarriers) and are compiled for it
# alone; all others are compiled for sm_80 and sm_90a, and as PTX for what comes after. Without nvcc, the variable
# GATUN_NVCC is empty, and nothing but the emulated kernels can be built.
set(GATUN_CUDA_ARCHITECTURES 80-real 90a-real 80-virtual)
set(GATUN_CUDA_ARCHITECTURES_sm90 90a-real)

# An fma only where it is written, as on the CPU; division and subnormals as IEEE 754 says, which is nvcc's default.
set(GATUN_CUDA_FLAGS -fmad=false --expt-relaxed-constexpr -Xptxas=-v)

set(GATUN_NVCC_KEPT ${CMAKE_CURRENT_LIST_DIR}/nvcc_kept.sh)
if(DEFINED ENV{CUDACXX})
  set(GATUN_NVCC $ENV{CUDACXX} CACHE FILEPATH "nvcc; OFF for none")
endif()
find_program(GATUN_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(GATUN_NVCC)
  set(CMAKE_CUDA_COMPILER ${GATUN_NVCC})
  # Newer toolkits have dropped what this CMake would take by itself.
  set(CMAKE_CUDA_ARCHITECTURES ${GATUN_CUDA_ARCHITECTURES})
endif()

# gatun_cuda_kernels(<target> <variable> <file>...): compiles the files, each for its architectures. <variable> is what their
# objects are. Beside each object, the folder <object>.kept has its PTX and machine code, and what the assembler says.
function(gatun_cuda_kernels target variable)
  set(objects)
  set(launcher sh ${GATUN_NVCC_KEPT} ${CMAKE_CUDA_COMPILER_LAUNCHER})
  foreach(group all sm90)
    set(files ${ARGN})
    set(architectures ${GATUN_CUDA_ARCHITECTURES})
    if(group STREQUAL sm90)
      list(FILTER files INCLUDE REGEX "/sm90[^/]*$")
      set(architectures ${GATUN_CUDA_ARCHITECTURES_sm90})
    else()
      list(FILTER files EXCLUDE REGEX "/sm90[^/]*$")
    endif()
    if(files)
      add_library(${target}_${group} OBJECT ${files})
      target_include_directories(${target}_${group} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include
                                                             ${native}/src ${native}/include)
      target_compile_features(${target}_${group} PRIVATE cuda_std_17)
      target_compile_options(${target}_${group} PRIVATE ${GATUN_CUDA_FLAGS})
      set_target_properties(
        ${target}_${group} PROPERTIES CUDA_ARCHITECTURES "${architectures}" POSITION_INDEPENDENT_CODE ON
                                      CUDA_VISIBILITY_PRESET hidden
                                      CUDA_COMPILER_LAUNCHER "${launcher}")
      list(APPEND objects $<TARGET_OBJECTS:${target}_${group}>)
    endif()
  endforeach()
  set(${variable} ${objects} PARENT_SCOPE)
endfunction()
