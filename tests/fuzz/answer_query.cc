// The process that answers queries of the fuzz targets' coordinator. The coordinator itself would
// take four times as long to start, and look for leaks when it ends.
#include <cstdio>
#include <cstdlib>

#include "coordinator/store/query_process.h"

int main() {
  const int code = longrun::coordinator::AnswerQuery();
  std::fflush(stdout);
  std::_Exit(code);
}
