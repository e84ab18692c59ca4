// Whether files can be written in a folder, and what to do when they cannot: asked after something has
// failed, so that a user reads the cause and not where a program noticed it.
#pragma once

#include <string>

namespace longrun {

// What writing a small file in the folder fails with; 0 when it does not. The file is removed again.
int WriteErrno(const std::string& folder);

// What making a folder in the folder fails with; 0 when it does not. It is removed again.
int MakeErrno(const std::string& folder);

struct WriteProblem {
  std::string found;   // "the disk of /a/b is full"
  std::string remedy;  // "make room there, or ..."
};

// Of an error number of WriteErrno.
WriteProblem DescribeWriteErrno(int error_number, const std::string& folder);

}  // namespace longrun
