#include "client/plots/picture_file.h"

#include "client/plots/plot_cairo.h"
#include "client/plots/plot_svg.h"

namespace longrun::client {

bool IsPictureFile(const std::string& name) {
  return name.ends_with(".svg") || name.ends_with(".png") || name.ends_with(".pdf");
}

Result<std::string> RenderPicture(const Drawing& drawing, const std::string& name) {
  if (name.ends_with(".png")) return RenderPng(drawing);
  if (name.ends_with(".pdf")) return RenderPdf(drawing);
  return RenderSvg(drawing);
}

}  // namespace longrun::client
