// The output form of a picture, which the ending of its file's name decides.
#pragma once

#include <string>

#include "base/status.h"
#include "client/plots/drawing.h"

namespace longrun::client {

// Whether the name ends in .svg, .png or .pdf.
bool IsPictureFile(const std::string& name);

// The bytes of such a file.
Result<std::string> RenderPicture(const Drawing& drawing, const std::string& name);

}  // namespace longrun::client
