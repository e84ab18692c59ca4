# Decides once whether CUDA is compiled: LONGRUN_HAS_CUDA. AUTO takes nvcc where it is; ON demands
# it. LONGRUN_CUDA_ARCHITECTURES names the GPUs that code is compiled for, in the words of CMake's
# CUDA_ARCHITECTURES: 80-real is machine code for compute capability 8.0, 80-virtual is PTX, which
# the driver of every newer GPU compiles. Empty: this machine's GPUs
# (LongrunCudaArchitectures.cmake). The trainer refuses a GPU for which there is no code
# (kernels/cuda_architectures.h).
include(LongrunCudaArchitectures)
set(LONGRUN_CUDA_ARCHITECTURES "" CACHE STRING "CUDA architectures to compile for; empty: those of this machine's GPUs")
set(LONGRUN_HAS_CUDA OFF)
if(NOT LONGRUN_CUDA STREQUAL "OFF")
  find_program(LONGRUN_NVCC nvcc HINTS /usr/local/cuda/bin)
  if(LONGRUN_NVCC)
    set(longrun_cuda_architectures ${LONGRUN_CUDA_ARCHITECTURES})
    if(NOT longrun_cuda_architectures)
      longrun_local_cuda_architectures(longrun_cuda_architectures ${LONGRUN_NVCC} nvidia-smi)
    endif()
    foreach(architecture IN LISTS longrun_cuda_architectures)
      if(NOT architecture MATCHES "^[0-9]+[af]?(-real|-virtual)?$")
        message(FATAL_ERROR "LONGRUN_CUDA_ARCHITECTURES has \"${architecture}\": expected numbers of compute "
          "capabilities, such as \"80-real;90a-real;80-virtual\"")
      endif()
    endforeach()
    set(CMAKE_CUDA_COMPILER ${LONGRUN_NVCC})
    set(CMAKE_CUDA_ARCHITECTURES ${longrun_cuda_architectures})
    set(CMAKE_CUDA_STANDARD 17)
    enable_language(CUDA)
    find_package(CUDAToolkit 12.8 REQUIRED)
    set(LONGRUN_HAS_CUDA ON)
    message(STATUS "CUDA: compiled for ${longrun_cuda_architectures} (${CMAKE_CUDA_COMPILER})")
  elseif(LONGRUN_CUDA STREQUAL "ON")
    message(FATAL_ERROR "LONGRUN_CUDA=ON but there is no nvcc: install the CUDA toolkit, or set LONGRUN_NVCC")
  else()
    message(STATUS "CUDA: not compiled (no nvcc)")
  endif()
else()
  message(STATUS "CUDA: not compiled (LONGRUN_CUDA=OFF)")
endif()
