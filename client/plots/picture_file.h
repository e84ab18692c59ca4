// The form of a picture by the name of its file.
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
