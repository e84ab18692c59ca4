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

function(longrun_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(longrun_${name} STATIC ${ARG_SOURCES})
  add_library(longrun::${name} ALIAS longrun_${name})
  target_include_directories(longrun_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(longrun_${name} PUBLIC ${ARG_DEPS} PRIVATE longrun::warnings ${ARG_PRIVATE_DEPS})
  set_target_properties(longrun_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=")
  set(LONGRUN_SANITIZER_OPTIONS ${CMAKE_SOURCE_DIR}/tests/sanitizer_options.cc)
endif()

function(longrun_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES} ${LONGRUN_SANITIZER_OPTIONS})
  target_link_libraries(${name} PRIVATE longrun::warnings ${ARG_DEPS})
endfunction()

# How many times longer a test may take in this build: a sanitizer's price.
set(LONGRUN_TEST_TIMEOUT_FACTOR 1 CACHE STRING "every test's time limit is multiplied by this")

# longrun_test(base/json SOURCES json_test.cc DEPS longrun::base LABELS fast): one test program,
# run under the environment that every launch of the trainer has as well. On x86-64, a test's own code
# is compiled with -O1 in a release build: it takes two thirds of the time to compile, and the libraries
# that it tests are optimised as in the programs. (Where every processor has FMA, the level would decide
# whether a product and a sum become one, and a test would round differently from what it tests.) At -O1,
# GCC 12 wrongly warns of the std::string code in operator+ (its bug 105329), depending on the length of
# the checkout's path.
function(longrun_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS;DATA;RESOURCE" ${ARGN})
  string(REPLACE "/" "_" target "test_${name}")
  add_executable(${target} ${ARG_SOURCES} ${LONGRUN_SANITIZER_OPTIONS})
  target_link_libraries(${target} PRIVATE longrun::warnings longrun::testing ${ARG_DEPS})
  set(compiles_fast $<AND:$<CONFIG:Release>,$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>>)
  target_compile_options(${target} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,${compiles_fast}>:-O1>
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow;-Wno-stringop-overread>)
  target_compile_definitions(${target} PRIVATE LONGRUN_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
    LONGRUN_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  math(EXPR timeout "${ARG_TIMEOUT} * ${LONGRUN_TEST_TIMEOUT_FACTOR}")
  add_test(NAME ${name} COMMAND ${target})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${timeout}
    ENVIRONMENT "OMP_WAIT_POLICY=passive;OMP_NUM_THREADS=1")
endfunction()
