// Lists of labels in one text.
#pragma once

#include <string>
#include <vector>

namespace longrun::client {

// The labels, with commas between them. Of several, a label that has a comma outside of parentheses
// is quoted, so that the text says where it ends: `cable, "k=8, every=64"`.
std::string JoinLabels(std::vector<std::string> labels);

}  // namespace longrun::client
