# The only list of CUDA architectures and of nvcc's flags.
#
# Kernel files are *.cu. sm90*.cu use instructions that only sm_90a has (wgmma, TMA with mbarriers) and are compiled for it
# alone; all others are compiled for sm_80 and sm_90a, and as PTX for what comes after. Without nvcc, the variable
# GATUN_NVCC is empty, and nothing but the emulated kernels can be built.
set(GATUN_CUDA_ARCHITECTURES 80-real 90a-real 80-virtual)
set(GATUN_CUDA_ARCHITECTURES_sm90 90a-real)

# An fma only where it is written, as on the CPU; division and subnormals as IEEE 754 says, which is nvcc's default.
set(GATUN_CUDA_FLAGS -fmad=false --expt-relaxed-constexpr -Xptxas=-v,-warn-spills)

find_program(GATUN_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin)
if(GATUN_NVCC)
  set(CMAKE_CUDA_COMPILER ${GATUN_NVCC})
  # Newer toolkits have dropped what this CMake would take by itself.
  set(CMAKE_CUDA_ARCHITECTURES ${GATUN_CUDA_ARCHITECTURES})
endif()
