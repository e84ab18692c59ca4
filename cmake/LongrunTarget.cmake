# Targets of the house. longrun_library(base SOURCES ... DEPS ...) makes longrun::base; the include
# root is the repository's root; warnings are errors.
find_package(Threads REQUIRED)

add_library(longrun_warnings INTERFACE)
target_compile_options(longrun_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wconversion -Wshadow>)
set(CMAKE_COMPILE_WARNING_AS_ERROR ON)
add_library(longrun::warnings ALIAS longrun_warnings)

# The header-only libraries that the trainer needs where no -dev package is: ./dev setup fills this
# folder, and it can be copied along with the tree.
set(LONGRUN_DEPS ${CMAKE_SOURCE_DIR}/.deps CACHE PATH "folder of header-only libraries (include/)")
add_library(longrun_headers INTERFACE)
target_include_directories(longrun_headers SYSTEM INTERFACE ${LONGRUN_DEPS}/include)
add_library(longrun::headers ALIAS longrun_headers)

# longrun_precompiled(json HEADERS <nlohmann/json.hpp> DEPS longrun::headers): headers that many
# targets include, compiled once for all that name them (PRECOMPILED json). Only headers of other
# projects, which do not change. A compiler accepts them only with the flags that it made them with.
# Each source still includes what it uses.
function(longrun_precompiled name)
  cmake_parse_arguments(ARG "" "" "HEADERS;OPTIONS;DEPS" ${ARGN})
  # CMake compiles a header only for a source.
  set(source ${CMAKE_CURRENT_BINARY_DIR}/precompiled_${name}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "// Written by cmake/LongrunTarget.cmake.\n")
  add_library(longrun_precompiled_${name} OBJECT ${source})
  target_link_libraries(longrun_precompiled_${name} PRIVATE longrun::warnings ${ARG_DEPS})
  target_compile_options(longrun_precompiled_${name} PRIVATE ${ARG_OPTIONS})
  target_precompile_headers(longrun_precompiled_${name} PRIVATE ${ARG_HEADERS})
endfunction()

function(longrun_library name)
  cmake_parse_arguments(ARG "" "PRECOMPILED" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(longrun_${name} STATIC ${ARG_SOURCES})
  add_library(longrun::${name} ALIAS longrun_${name})
  target_include_directories(longrun_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(longrun_${name} PUBLIC ${ARG_DEPS} PRIVATE longrun::warnings ${ARG_PRIVATE_DEPS})
  set_target_properties(longrun_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  if(ARG_PRECOMPILED)
    target_precompile_headers(longrun_${name} REUSE_FROM longrun_precompiled_${ARG_PRECOMPILED})
    target_compile_options(longrun_${name} PRIVATE ${LONGRUN_FALSE_WARNINGS_OFF})
  endif()
endfunction()

if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=")
  add_library(longrun_sanitizer_options OBJECT ${CMAKE_SOURCE_DIR}/tests/sanitizer_options.cc
    ${CMAKE_SOURCE_DIR}/tests/grpc_order.cc)
  target_compile_definitions(longrun_sanitizer_options PRIVATE LONGRUN_RACES="${CMAKE_BINARY_DIR}/races/race")
  set(LONGRUN_SANITIZER_OPTIONS $<TARGET_OBJECTS:longrun_sanitizer_options>)
endif()

function(longrun_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES} ${LONGRUN_SANITIZER_OPTIONS})
  target_link_libraries(${name} PRIVATE longrun::warnings ${ARG_DEPS})
endfunction()

# How many times longer a test may take in this build: a sanitizer's price.
set(LONGRUN_TEST_TIMEOUT_FACTOR 1 CACHE STRING "every test's time limit is multiplied by this")

# GCC 12 wrongly warns of the code of std::string (its bug 105329): at -O1, and of sources that
# include a precompiled header, depending on the length of the checkout's path.
set(LONGRUN_FALSE_WARNINGS_OFF
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow;-Wno-stringop-overread>)

# Code whose speed does not matter is compiled with these, -O1 in a release build on x86-64: it
# takes two thirds of the time. (Where every processor has FMA, the level would decide whether a
# product and a sum become one, and a test would round differently from what it tests.)
set(_lr_is_fast $<AND:$<CONFIG:Release>,$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>>)
set(LONGRUN_FAST_COMPILATION $<$<AND:$<COMPILE_LANGUAGE:CXX>,${_lr_is_fast}>:-O1> ${LONGRUN_FALSE_WARNINGS_OFF})

# What `./dev gpu` builds first, where a GPU is lent for minutes: the tests with the label gpu, the
# trainer, and the benchmarks of kernels/cuda.
add_custom_target(gpu_programs)

# longrun_add_test(name target LABELS ...): runs a test program under the environment that every
# launch of the trainer has as well, besides that of ENVIRONMENT. FILTER names those of its tests
# that are run, by GoogleTest's rules. SHARDS n makes n tests of it, name/1 to name/n, which may run
# at the same time, each with every n-th test of the program. TIMEOUT, in seconds, only ends a test
# that hangs: it should be three times what the test takes beside others on two cores, or more;
# `./dev test` prints the tests that took longer.
function(longrun_add_test name target)
  cmake_parse_arguments(ARG "" "TIMEOUT;FILTER;SHARDS" "LABELS;ENVIRONMENT" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  math(EXPR timeout "${ARG_TIMEOUT} * ${LONGRUN_TEST_TIMEOUT_FACTOR}")
  set(environment "OMP_WAIT_POLICY=passive;OMP_NUM_THREADS=1" ${ARG_ENVIRONMENT})
  if(ARG_FILTER)
    list(APPEND environment "GTEST_FILTER=${ARG_FILTER}")
  endif()
  if(NOT ARG_SHARDS)
    add_test(NAME ${name} COMMAND ${target})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${timeout} ENVIRONMENT "${environment}")
    return()
  endif()
  foreach(shard RANGE 1 ${ARG_SHARDS})
    math(EXPR index "${shard} - 1")
    add_test(NAME ${name}/${shard} COMMAND ${target})
    set_tests_properties(${name}/${shard} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${timeout}
      ENVIRONMENT "${environment};GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${index}")
  endforeach()
endfunction()

# longrun_test(base/json SOURCES json_test.cc DEPS longrun::base LABELS fast): one test program, and
# longrun_add_test of it, with the same options. A test's own code is compiled fast; the libraries
# that it tests are optimised as in the programs. PRECOMPILED names other headers than GoogleTest's.
function(longrun_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT;PRECOMPILED;FILTER;SHARDS" "SOURCES;DEPS;LABELS" ${ARGN})
  string(REPLACE "/" "_" target "test_${name}")
  add_executable(${target} ${ARG_SOURCES} ${LONGRUN_SANITIZER_OPTIONS})
  target_link_libraries(${target} PRIVATE longrun::warnings longrun::testing ${ARG_DEPS})
  target_compile_options(${target} PRIVATE ${LONGRUN_FAST_COMPILATION})
  if(NOT ARG_PRECOMPILED)
    set(ARG_PRECOMPILED tests)
  endif()
  target_precompile_headers(${target} REUSE_FROM longrun_precompiled_${ARG_PRECOMPILED})
  target_compile_definitions(${target} PRIVATE LONGRUN_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
    LONGRUN_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(gpu IN_LIST ARG_LABELS)
    add_dependencies(gpu_programs ${target})
  endif()
  longrun_add_test(${name} ${target} LABELS ${ARG_LABELS} TIMEOUT "${ARG_TIMEOUT}" FILTER "${ARG_FILTER}"
    SHARDS "${ARG_SHARDS}")
endfunction()
