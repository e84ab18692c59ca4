# Writes OUTPUT, the source of longrun::BuildCommit(), for the tree SOURCE_DIR: the commit, "-dirty"
# behind it when tracked files were changed, "unknown" outside a checkout. LONGRUN_COMMIT (in the
# environment) and COMMIT (from the cache) go before git. Run by base/CMakeLists.txt at each build.
if(DEFINED ENV{LONGRUN_COMMIT} AND NOT "$ENV{LONGRUN_COMMIT}" STREQUAL "")
  set(COMMIT $ENV{LONGRUN_COMMIT})
endif()
if("${COMMIT}" STREQUAL "")
  set(COMMIT unknown)
  find_program(GIT git)
  if(GIT)
    execute_process(COMMAND ${GIT} rev-parse --short=12 HEAD WORKING_DIRECTORY ${SOURCE_DIR}
      OUTPUT_VARIABLE head RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(NOT failed)
      set(COMMIT ${head})
      execute_process(COMMAND ${GIT} status --porcelain --untracked-files=no
        WORKING_DIRECTORY ${SOURCE_DIR} OUTPUT_VARIABLE changes ERROR_QUIET)
      if(NOT "${changes}" STREQUAL "")
        string(APPEND COMMIT -dirty)
      endif()
    endif()
  endif()
endif()
if(NOT "${COMMIT}" MATCHES "^[A-Za-z0-9._-]+$")
  message(FATAL_ERROR "LONGRUN_COMMIT is \"${COMMIT}\": only letters, digits, '.', '_' and '-' are expected")
endif()

set(text "// Written by cmake/LongrunCommit.cmake.
#include \"base/version.h\"

namespace longrun {

std::string_view BuildCommit() { return \"${COMMIT}\"; }

}  // namespace longrun
")
set(before "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT "${before}" STREQUAL "${text}")
  file(WRITE ${OUTPUT} "${text}")
endif()
