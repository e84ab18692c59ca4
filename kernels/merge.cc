#include "kernels/merge.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "base/str.h"
#include "kernels/scalar.h"

namespace longrun {
namespace {

constexpr double kUnseen = -std::numeric_limits<double>::infinity();

Status Wrong(std::string_view argument, std::string_view what) {
  return Status(Code::kInvalidArgument, Str("merge of attention: ", argument, ": ", what));
}

template <typename HeadsPointer, typename NumbersPointer>
Status CheckPart(std::string_view name, const HeadsViewOf<HeadsPointer>& o,
                 const NumbersViewOf<NumbersPointer>& lse, const HeadsBuffer& result) {
  if (o.batch != result.batch || o.n_row != result.n_row || o.n_head != result.n_head ||
      o.head_dim != result.head_dim) {
    return Wrong(Str(name, "o"), "has another shape than the result");
  }
  const std::int64_t n = o.batch * o.n_head * o.n_row;
  if (lse.n != n) return Wrong(Str(name, "lse"), Str("has ", lse.n, " numbers, expected ", n));
  if (HasTwoBytes(lse.scalar)) {
    return Wrong(Str(name, "lse"), Str("is ", ScalarName(lse.scalar), ", must be fp32 or fp64"));
  }
  if (o.memory != MemorySpace()) {
    return Wrong(Str(name, "o"), Str("lies in ", MemoryName(o.memory), ", must be host memory"));
  }
  if (lse.memory != MemorySpace()) {
    return Wrong(Str(name, "lse"),
                 Str("lies in ", MemoryName(lse.memory), ", must be host memory"));
  }
  if (n > 0 && (o.data == nullptr || lse.data == nullptr)) {
    return Wrong(Str(name, o.data == nullptr ? "o" : "lse"), "is null");
  }
  return {};
}

// Of row i of head (b, h).
template <typename Pointer>
std::int64_t RowAt(const HeadsViewOf<Pointer>& x, std::int64_t b, std::int64_t h, std::int64_t i) {
  return b * x.batch_step + h * x.head_step + i * x.row_step;
}

// Replaces the lse of each part by the part's share of the row, and returns the lse of all.
double SharesOf(std::span<double> lse) {
  double largest = kUnseen;
  for (const double x : lse) {
    if (std::isnan(x)) largest = x;  // a maximum could lose it
    largest = std::max(largest, x);
  }
  if (largest == kUnseen) {
    std::ranges::fill(lse, 0.0);
    return kUnseen;
  }
  double sum = 0.0;
  for (double& x : lse) {
    x = std::exp(x - largest);
    sum += x;
  }
  for (double& x : lse) x /= sum;
  return largest + std::log(sum);
}

}  // namespace

Status MergeAttention(std::span<const AttentionPart> parts, const HeadsBuffer& o,
                      const NumbersBuffer& lse) {
  if (parts.empty()) return Wrong("parts", "there is none");
  RETURN_IF_ERROR(CheckPart("", o, lse, o));
  for (std::size_t part = 0; part < parts.size(); ++part) {
    RETURN_IF_ERROR(CheckPart(Str("parts[", part, "]."), parts[part].o, parts[part].lse, o));
  }
  std::vector<double> shares(parts.size());
  std::vector<double> row(static_cast<std::size_t>(o.head_dim));
  std::int64_t at = 0;
  for (std::int64_t b = 0; b < o.batch; ++b) {
    for (std::int64_t h = 0; h < o.n_head; ++h) {
      for (std::int64_t i = 0; i < o.n_row; ++i, ++at) {
        for (std::size_t part = 0; part < parts.size(); ++part) {
          shares[part] = LoadScalar(parts[part].lse.scalar, parts[part].lse.data, at);
        }
        StoreScalar(lse.scalar, lse.data, at, SharesOf(shares));
        std::ranges::fill(row, 0.0);
        for (std::size_t part = 0; part < parts.size(); ++part) {
          if (shares[part] == 0.0) continue;
          const HeadsView& from = parts[part].o;
          const std::int64_t begin = RowAt(from, b, h, i);
          for (std::size_t c = 0; c < row.size(); ++c) {
            row[c] += shares[part] *
                      LoadScalar(from.scalar, from.data, begin + static_cast<std::int64_t>(c));
          }
        }
        const std::int64_t begin = RowAt(o, b, h, i);
        for (std::size_t c = 0; c < row.size(); ++c) {
          StoreScalar(o.scalar, o.data, begin + static_cast<std::int64_t>(c), row[c]);
        }
      }
    }
  }
  return {};
}

}  // namespace longrun
