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
# Kept although the linker sees no use of it. One item: CMake would move or drop repeated flags.
# The property is the list of libraries that a package has to contain.
function(longrun_torch_keep library)
  set_property(TARGET longrun_torch APPEND PROPERTY LONGRUN_LIBRARIES ${library})
  target_link_libraries(longrun_torch INTERFACE "-Wl,--push-state,--no-as-needed,${library},--pop-state")
endfunction()
target_link_libraries(longrun_torch INTERFACE "-Wl,-rpath,${LONGRUN_TORCH_ROOT}/lib")
longrun_torch_keep(${LONGRUN_TORCH_ROOT}/lib/libtorch_cpu.so)
longrun_torch_keep(${LONGRUN_TORCH_ROOT}/lib/libc10.so)
# The OpenMP library whose threads LibTorch's operators run on, and our kernels
# (model/net/parallel.cc).
file(GLOB _lr_openmp ${LONGRUN_TORCH_ROOT}/lib/libgomp*.so* ${LONGRUN_TORCH_ROOT}/../torch.libs/libgomp*.so*)
if(NOT _lr_openmp)
  message(FATAL_ERROR "LibTorch in \"${LONGRUN_TORCH_ROOT}\" brings no libgomp: expected lib/libgomp.so.1, "
                      "as in the wheel of torch 2.11.0; run ./dev setup, or set LONGRUN_TORCH_ROOT to such a wheel")
endif()
list(GET _lr_openmp 0 _lr_openmp)
# A program looks for it along its own path before LibTorch's is known:
# torch.libs/ is not on it yet.
get_filename_component(folder ${_lr_openmp} DIRECTORY)
target_link_libraries(longrun_torch INTERFACE "-Wl,-rpath,${folder}")
longrun_torch_keep(${_lr_openmp})
add_library(longrun::torch ALIAS longrun_torch)

# The wheel's libtorch_cpu.so names two of NVIDIA's libraries (the CUDA runtime and its profiler)
# that it calls only where there is a GPU. They are taken from beside the wheel, from the toolkit,
# or from the loader's cache; on a machine that has none of these, a library that answers each call
# with an error stands in, so that LibTorch loads.
execute_process(COMMAND ${CMAKE_NM} -D --undefined-only ${LONGRUN_TORCH_ROOT}/lib/libtorch_cpu.so
  OUTPUT_VARIABLE _lr_undefined COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND /sbin/ldconfig -p OUTPUT_VARIABLE _lr_loadable ERROR_QUIET)
string(REGEX MATCHALL "@lib(cudart|cupti)\\.so\\.[0-9]+" _lr_needed "${_lr_undefined}")
list(TRANSFORM _lr_needed REPLACE "@" "")
list(REMOVE_DUPLICATES _lr_needed)
foreach(name ${_lr_needed})  # libcudart.so.13
  file(GLOB beside ${LONGRUN_TORCH_ROOT}/lib/${name} ${LONGRUN_TORCH_ROOT}/../nvidia/*/lib/${name})
  file(GLOB toolkit /usr/local/cuda/lib64/${name} /usr/local/cuda/extras/CUPTI/lib64/${name})
  set(found ${beside} ${toolkit})
  if(NOT found AND "${_lr_loadable}" MATCHES "${name} [^\n]*=> ([^\n]+)")
    set(found ${CMAKE_MATCH_1})
  endif()
  if(found)
    list(GET found 0 library)
    get_filename_component(folder ${library} DIRECTORY)
    target_link_libraries(longrun_torch INTERFACE "-Wl,-rpath,${folder}" "-Wl,-rpath-link,${folder}")
    longrun_torch_keep(${library})
    continue()
  endif()
  message(STATUS "${name}: not on this machine, a stand-in is built (no GPU can be used)")
  string(REGEX REPLACE "^lib([a-z]+)\\.so\\.([0-9]+)$" "\\1;\\2" parts ${name})
  list(GET parts 0 stem)
  list(GET parts 1 version)
  string(REGEX MATCHALL "[A-Za-z_0-9]+@${name}" functions "${_lr_undefined}")
  set(code "// Written by cmake/LongrunTorch.cmake. 35: cudaErrorInsufficientDriver; 999: CUPTI_ERROR_UNKNOWN.\n")
  foreach(function ${functions})
    string(REPLACE "@${name}" "" function ${function})
    # What is asked for a text is asked only after an error; there the caller prints it.
    if(function STREQUAL "cudaGetErrorString")
      string(APPEND code "const char* ${function}(int error) { (void)error; return \"no CUDA runtime\"; }\n")
    elseif(stem STREQUAL "cudart")
      string(APPEND code "int ${function}(void) { return 35; }\n")
    else()
      string(APPEND code "int ${function}(void) { return 999; }\n")
    endif()
  endforeach()
  set(folder ${CMAKE_BINARY_DIR}/stand_in)
  file(CONFIGURE OUTPUT ${folder}/${stem}.c CONTENT "${code}" @ONLY)
  file(CONFIGURE OUTPUT ${folder}/${stem}.map CONTENT "${name} { global: *; };\n" @ONLY)
  add_library(longrun_${stem} SHARED ${folder}/${stem}.c)
  set_target_properties(longrun_${stem} PROPERTIES OUTPUT_NAME ${stem} SOVERSION ${version}
    LIBRARY_OUTPUT_DIRECTORY ${folder} LINK_OPTIONS "-Wl,--version-script=${folder}/${stem}.map")
  target_link_libraries(longrun_torch INTERFACE longrun_${stem})
  longrun_torch_keep($<TARGET_FILE:longrun_${stem}>)
endforeach()
