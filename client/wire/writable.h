// Checks whether files can be written in a folder, and says what to do if not. Called after
// something has failed, so that the user reads the cause instead of its consequence.
#pragma once

#include <string>

namespace longrun::client {

// The errno of writing a small file in the folder; 0 if it works. The file is removed again.
int WriteErrno(const std::string& folder);

// The errno of creating a folder in the folder; 0 if it works. It is removed again.
int MakeErrno(const std::string& folder);

struct WriteProblem {
  std::string found;   // "the disk of /a/b is full"
  std::string remedy;  // "make room there, or ..."
};

// For an errno of WriteErrno.
WriteProblem DescribeWriteErrno(int error_number, const std::string& folder);

}  // namespace longrun::client
