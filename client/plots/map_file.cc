#include "client/plots/map_file.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string_view>

#include "base/str.h"

namespace longrun::client {

std::string AttentionMapNpy(const AttentionMap& map) {
  static_assert(std::endian::native == std::endian::little,
                "'<f4' is written as it lies in memory");
  constexpr std::size_t kPreamble = 10, kAlignment = 64;  // magic, version, and the header's length
  std::string header = Str("{'descr': '<f4', 'fortran_order': False, 'shape': (", map.Side(), ", ",
                           map.Side(), "), }");
  const std::size_t unpadded = kPreamble + header.size() + 1;
  header.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  header += '\n';
  std::string bytes(std::string_view("\x93NUMPY\x01\x00", 8));
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(map.values.data()), map.values.size() * sizeof(float));
  return bytes;
}

std::string HeatMapCsv(const HeatMap& heat) {
  const std::int64_t side = heat.map.Side();
  std::string out;
  for (std::int64_t r = 0; r < side; ++r) {
    for (std::int64_t c = 0; c < side; ++c) {
      if (c > 0) out += ',';
      const float value = heat.map.values[static_cast<std::size_t>(r * side + c)];
      if (heat.map.VisiblePairs(r, c) == 0 || std::isnan(value)) continue;
      char text[32];
      std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
      out += text;
    }
    out += '\n';
  }
  return out;
}

}  // namespace longrun::client
