#include "client/plots/plot_cairo.h"

#include <cairo-pdf.h>
#include <cairo.h>

#include <cmath>
#include <memory>
#include <numbers>
#include <string>
#include <utility>

#include "base/str.h"

namespace longrun::client {
namespace {

constexpr double kPixelsMax = 16'384;  // per side; cairo's own limit is twice that

constexpr double kPointsPerPixel = 0.75;  // 72 points and 96 pixels an inch

struct SurfaceDeleter {
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
};
struct ContextDeleter {
  void operator()(cairo_t* context) const { cairo_destroy(context); }
};

unsigned ColourOf(const Mark& mark) {
  switch (mark.ink) {
    case Ink::kText:
      return 0x1b1b1b;
    case Ink::kFaintText:
    case Ink::kBaseline:
      return 0x5a5a5a;
    case Ink::kAxis:
      return 0x8a8a8a;
    case Ink::kGrid:
      return 0xe4e4e4;
    case Ink::kSeries:
      return kPalette[mark.series % kPaletteSize].on_light;
    case Ink::kPaper:
    case Ink::kWhite:
      return 0xffffff;
    case Ink::kBlack:
      return 0x000000;
  }
  return 0;
}

void SetColour(cairo_t* context, unsigned colour, double opacity) {
  cairo_set_source_rgba(context, ((colour >> 16) & 0xff) / 255.0, ((colour >> 8) & 0xff) / 255.0,
                        (colour & 0xff) / 255.0, opacity);
}

void TracePoints(cairo_t* context, const std::vector<DrawPoint>& points) {
  for (std::size_t i = 0; i < points.size(); ++i) {
    (i == 0 ? cairo_move_to : cairo_line_to)(context, points[i].x, points[i].y);
  }
}

void DrawText(cairo_t* context, const Mark& mark) {
  cairo_select_font_face(context, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                         mark.is_bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(context, mark.width);
  cairo_text_extents_t extents;
  cairo_text_extents(context, mark.text.c_str(), &extents);
  const double share = mark.anchor == Mark::Anchor::kStart    ? 0.0
                       : mark.anchor == Mark::Anchor::kMiddle ? 0.5
                                                              : 1.0;
  cairo_save(context);
  cairo_translate(context, mark.points.front().x, mark.points.front().y);
  if (!mark.is_upright) cairo_rotate(context, -std::numbers::pi / 2);
  cairo_move_to(context, -share * extents.x_advance, 0.35 * mark.width);
  cairo_show_text(context, mark.text.c_str());
  cairo_restore(context);
}

void TraceSymbol(cairo_t* context, const Mark& mark) {
  const auto [x, y] = mark.points.front();
  const double r = mark.width;
  if (mark.kind == Mark::Kind::kCircle) {
    cairo_new_sub_path(context);
    cairo_arc(context, x, y, r, 0.0, 2 * std::numbers::pi);
  } else if (mark.kind == Mark::Kind::kSquare) {
    cairo_rectangle(context, x - r, y - r, 2 * r, 2 * r);
  } else {
    TracePoints(context, SymbolCorners(mark));
    cairo_close_path(context);
  }
}

// Points into `pixels`, which must outlive it.
std::unique_ptr<cairo_surface_t, SurfaceDeleter> SurfaceOf(std::vector<std::uint32_t>& pixels,
                                                           const PixelImage& image) {
  // Every pixel is opaque or empty, so it equals cairo's premultiplied form.
  return std::unique_ptr<cairo_surface_t, SurfaceDeleter>(cairo_image_surface_create_for_data(
      reinterpret_cast<unsigned char*>(pixels.data()), CAIRO_FORMAT_ARGB32, image.width,
      image.height, 4 * image.width));
}

void DrawImage(cairo_t* context, const Mark& mark) {
  std::vector<std::uint32_t> pixels = mark.image->argb;
  const auto surface = SurfaceOf(pixels, *mark.image);
  const DrawPoint from = mark.points[0], to = mark.points[1];
  cairo_save(context);
  cairo_translate(context, from.x, from.y);
  cairo_scale(context, (to.x - from.x) / mark.image->width, (to.y - from.y) / mark.image->height);
  cairo_set_source_surface(context, surface.get(), 0.0, 0.0);
  cairo_pattern_set_filter(cairo_get_source(context), CAIRO_FILTER_NEAREST);
  cairo_paint(context);
  cairo_restore(context);
}

void DrawMark(cairo_t* context, const Mark& mark) {
  if (mark.kind == Mark::Kind::kImage) return DrawImage(context, mark);
  SetColour(context, ColourOf(mark), mark.kind == Mark::Kind::kArea ? kBandOpacity : 1.0);
  switch (mark.kind) {
    case Mark::Kind::kText:
      return DrawText(context, mark);
    case Mark::Kind::kLine: {
      const double dashes[] = {5.0, 4.0};
      cairo_set_dash(context, dashes, mark.is_dashed ? 2 : 0, 0.0);
      cairo_set_line_width(context, mark.width);
      TracePoints(context, mark.points);
      return cairo_stroke(context);
    }
    case Mark::Kind::kArea:
      TracePoints(context, mark.points);
      cairo_close_path(context);
      return cairo_fill(context);
    default:
      TraceSymbol(context, mark);
      if (!mark.is_hollow) return cairo_fill(context);
      cairo_set_dash(context, nullptr, 0, 0.0);
      cairo_set_line_width(context, 1.5);
      return cairo_stroke(context);
  }
}

// All marks, on white, with `scale` units of the surface for each pixel of the drawing.
cairo_status_t DrawOn(cairo_surface_t* surface, const Drawing& drawing, double scale) {
  const std::unique_ptr<cairo_t, ContextDeleter> context(cairo_create(surface));
  SetColour(context.get(), 0xffffff, 1.0);
  cairo_paint(context.get());
  cairo_scale(context.get(), scale, scale);
  cairo_set_line_join(context.get(), CAIRO_LINE_JOIN_ROUND);
  for (const Mark& mark : drawing.marks) DrawMark(context.get(), mark);
  return cairo_status(context.get());
}

cairo_status_t Append(void* closure, const unsigned char* data, unsigned length) {
  static_cast<std::string*>(closure)->append(reinterpret_cast<const char*>(data), length);
  return CAIRO_STATUS_SUCCESS;
}

Result<std::string> PngOf(cairo_surface_t* surface) {
  std::string bytes;
  const cairo_status_t status = cairo_surface_write_to_png_stream(surface, Append, &bytes);
  if (status == CAIRO_STATUS_SUCCESS) return bytes;
  return Status(Code::kInternal, Str("drawing the PNG: ", cairo_status_to_string(status)));
}

}  // namespace

Result<std::string> PixelPng(const PixelImage& image) {
  std::vector<std::uint32_t> pixels = image.argb;
  return PngOf(SurfaceOf(pixels, image).get());
}

Result<std::string> RenderPng(const Drawing& drawing, double scale) {
  const double width = drawing.width * scale;
  const double height = drawing.height * scale;
  if (!(width >= 1 && height >= 1 && width <= kPixelsMax && height <= kPixelsMax)) {
    return Status(Code::kInvalidArgument, Str("a picture of ", width, " x ", height,
                                              " pixels: each side must have 1 to ", kPixelsMax));
  }
  const std::unique_ptr<cairo_surface_t, SurfaceDeleter> surface(cairo_image_surface_create(
      CAIRO_FORMAT_RGB24, static_cast<int>(width), static_cast<int>(height)));
  const cairo_status_t status = DrawOn(surface.get(), drawing, scale);
  if (status != CAIRO_STATUS_SUCCESS) {
    return Status(Code::kInternal, Str("drawing the PNG: ", cairo_status_to_string(status)));
  }
  return PngOf(surface.get());
}

Result<std::string> RenderPdf(const Drawing& drawing) {
  std::string bytes;
  const std::unique_ptr<cairo_surface_t, SurfaceDeleter> surface(
      cairo_pdf_surface_create_for_stream(Append, &bytes, drawing.width * kPointsPerPixel,
                                          drawing.height * kPointsPerPixel));
  // Journals and older TeX refuse newer versions.
  cairo_pdf_surface_restrict_to_version(surface.get(), CAIRO_PDF_VERSION_1_4);
  const std::pair<cairo_pdf_metadata_t, std::string> facts[] = {
      {CAIRO_PDF_METADATA_TITLE, drawing.title},
      {CAIRO_PDF_METADATA_SUBJECT, drawing.description},
      {CAIRO_PDF_METADATA_CREATE_DATE, ""}};  // by itself it would be now
  for (const auto& [name, text] : facts) {
    cairo_pdf_surface_set_metadata(surface.get(), name, ToUtf8(text).c_str());
  }
  cairo_status_t status = DrawOn(surface.get(), drawing, kPointsPerPixel);
  cairo_surface_finish(surface.get());
  if (status == CAIRO_STATUS_SUCCESS) status = cairo_surface_status(surface.get());
  if (status == CAIRO_STATUS_SUCCESS) return bytes;
  return Status(Code::kInternal, Str("drawing the PDF: ", cairo_status_to_string(status)));
}

}  // namespace longrun::client
