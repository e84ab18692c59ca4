#include "base/program.h"

#include <cstdio>
#include <exception>

namespace longrun {
namespace {

int Failed(const char* program, const char* what, int failed) {
  std::fprintf(stderr, "%s: %s (a mistake of the program itself: please report it)\n", program,
               what);
  return failed;
}

}  // namespace

int RunMain(const char* program, int failed, int (*main)(int, char**), int argc, char** argv) {
  try {
    return main(argc, argv);
  } catch (const std::exception& error) {
    return Failed(program, error.what(), failed);
  } catch (...) {
    return Failed(program, "an exception without a text", failed);
  }
}

}  // namespace longrun
