// The text files of the tree, and their comments apart from their code: what the house's rules are
// checked on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longrun {

struct Source {
  std::string path;  // from the root
  std::string text;  // empty unless the path is that of a text that people write and read
};

// Every file of the tree, sorted by path, without hidden folders and build/.
const std::vector<Source>& Tree();

// C++ and CUDA.
bool IsSource(std::string_view path);
bool IsHeader(std::string_view path);
// Comments begin with #: Python, CMake, the shell.
bool IsScript(std::string_view path);
bool IsMarkdown(std::string_view path);

// Both keep each character in its line and column: what is left out becomes blanks (newlines stay).
//
// C++ or Protobuf without comments and without what its string and character literals contain.
std::string CodeOf(std::string_view text);
// Only the comments, with their marks; of Markdown, everything; empty for other files.
std::string CommentsOf(const Source& source);

// Characters of UTF-8, not bytes.
int ColumnsOf(std::string_view line);

// Whether `c` may stand in a C++ name.
bool IsNameLetter(char c);

// One complaint a line, for the message of a failed expectation.
std::string Lines(const std::vector<std::string>& lines);

}  // namespace longrun
