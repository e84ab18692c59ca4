# LibTorch from the wheel in .venv, or from a path the user gives (LONGRUN_TORCH_ROOT, as a CMake or
# an environment variable). Only the CPU half is linked; where there is a GPU the trainer loads
# libtorch_cuda.so at run time, so one build serves both.
if(NOT LONGRUN_TORCH_ROOT)
  if(DEFINED ENV{LONGRUN_TORCH_ROOT})
    set(LONGRUN_TORCH_ROOT $ENV{LONGRUN_TORCH_ROOT})
  else()
    file(GLOB found ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
    if(found)
      list(GET found 0 LONGRUN_TORCH_ROOT)
    endif()
  endif()
endif()
set(LONGRUN_TORCH_ROOT "${LONGRUN_TORCH_ROOT}" CACHE PATH "the folder that holds LibTorch's include/ and lib/")
if(NOT EXISTS ${LONGRUN_TORCH_ROOT}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "LibTorch not found in \"${LONGRUN_TORCH_ROOT}\": run ./dev setup, or set LONGRUN_TORCH_ROOT "
                      "to the folder of torch 2.11.0 (python3 -c 'import torch; print(torch.__path__[0])')")
endif()

# -idirafter: LibTorch carries its own protobuf and fmt headers, which must never shadow Debian's.
add_library(longrun_torch INTERFACE)
target_compile_options(longrun_torch INTERFACE
  "SHELL:-idirafter ${LONGRUN_TORCH_ROOT}/include"
  "SHELL:-idirafter ${LONGRUN_TORCH_ROOT}/include/torch/csrc/api/include")
# Tensor.h then declares its operators without including them all.
target_compile_definitions(longrun_torch INTERFACE AT_PER_OPERATOR_HEADERS)
# The wheel finds its NVIDIA libraries beside itself; where they are not, the toolkit's are named.
set(_lr_nvidia ${LONGRUN_TORCH_ROOT}/../nvidia/cu13/lib)
set(_lr_rpath ${LONGRUN_TORCH_ROOT}/lib)
set(_lr_rpath_link ${LONGRUN_TORCH_ROOT}/lib:${_lr_nvidia}:/usr/local/cuda/lib64)
target_link_libraries(longrun_torch INTERFACE "-Wl,-rpath,${_lr_rpath}" "-Wl,-rpath-link,${_lr_rpath_link}"
  -Wl,--no-as-needed ${LONGRUN_TORCH_ROOT}/lib/libtorch_cpu.so ${LONGRUN_TORCH_ROOT}/lib/libc10.so -Wl,--as-needed)
add_library(longrun::torch ALIAS longrun_torch)
