#include "model/net/packed_heads.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/check.h"

namespace longrun {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Part 0, 1 or 2 of x_BTC, which is dense.
at::Tensor Part(const at::Tensor& x_BTC, std::int64_t n_head, bool heads_first, std::int64_t part) {
  const std::int64_t b = x_BTC.size(0), t = x_BTC.size(1), row = x_BTC.size(2);
  const std::int64_t d = row / (3 * n_head);
  return x_BTC.as_strided({b, n_head, t, d}, {t * row, heads_first ? 3 * d : d, row, 1},
                          x_BTC.storage_offset() + part * (heads_first ? d : n_head * d));
}

// For three tensors that are the parts of one: which part each is, and where that one begins.
struct Packing {
  bool heads_first = false;
  std::array<std::int64_t, 3> part = {};
  std::int64_t begin = 0;
};

std::optional<Packing> PackingOf(const std::array<at::Tensor, 3>& x_BHTD) {
  const at::Tensor& q = x_BHTD[0];
  const std::int64_t h = q.size(1), t = q.size(2), d = q.size(3), row = 3 * h * d;
  Packing packing = {.begin = q.storage_offset()};
  for (const at::Tensor& x : x_BHTD) {
    const bool alike = x.is_alias_of(q) && x.scalar_type() == q.scalar_type() &&
                       x.sizes() == q.sizes() && x.strides() == q.strides();
    if (!alike) return std::nullopt;
    packing.begin = std::min(packing.begin, x.storage_offset());
  }
  for (const bool heads_first : {false, true}) {
    if (q.strides() != at::IntArrayRef({t * row, heads_first ? 3 * d : d, row, 1})) continue;
    const std::int64_t step = heads_first ? d : h * d;
    std::array<bool, 3> has = {};
    for (std::size_t i = 0; i < 3; ++i) {
      const std::int64_t behind = x_BHTD[i].storage_offset() - packing.begin;
      packing.part[i] = behind / step;
      if (behind % step != 0 || packing.part[i] >= 3) return std::nullopt;
      has[static_cast<std::size_t>(packing.part[i])] = true;
    }
    packing.heads_first = heads_first;
    return has[0] && has[1] && has[2] ? std::optional(packing) : std::nullopt;
  }
  return std::nullopt;
}

class UnpackFunction : public torch::autograd::Function<UnpackFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& qkv_BTC,
                               std::int64_t n_head, bool heads_first) {
    context->saved_data["sizes"] = qkv_BTC.sizes().vec();
    context->saved_data["n_head"] = n_head;
    context->saved_data["heads_first"] = heads_first;
    // The graph must see the parts as outputs of this node, not as views of its input.
    const at::AutoDispatchBelowADInplaceOrView no_views;
    return {Part(qkv_BTC, n_head, heads_first, 0), Part(qkv_BTC, n_head, heads_first, 1),
            Part(qkv_BTC, n_head, heads_first, 2)};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const std::vector<std::int64_t> sizes = context->saved_data["sizes"].toIntVector();
    const std::int64_t n_head = context->saved_data["n_head"].toInt();
    const bool heads_first = context->saved_data["heads_first"].toBool();
    const std::optional<Packing> packing = PackingOf({gradients[0], gradients[1], gradients[2]});
    if (packing && packing->heads_first == heads_first &&
        packing->part == std::array<std::int64_t, 3>{0, 1, 2}) {
      return {gradients[0].as_strided(sizes, {sizes[1] * sizes[2], sizes[2], 1}, packing->begin),
              at::Tensor(), at::Tensor()};
    }
    const at::Tensor packed = at::empty(sizes, gradients[0].options());
    for (std::int64_t part = 0; part < 3; ++part) {
      Part(packed, n_head, heads_first, part).copy_(gradients[static_cast<std::size_t>(part)]);
    }
    return {packed, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

std::array<at::Tensor, 3> UnpackHeads(const at::Tensor& qkv_BTC, std::int64_t n_head,
                                      bool heads_first) {
  LR_CHECK(qkv_BTC.is_contiguous() && qkv_BTC.size(2) % (3 * n_head) == 0);
  const variable_list parts = UnpackFunction::apply(qkv_BTC, n_head, heads_first);
  return {parts[0], parts[1], parts[2]};
}

at::Tensor EmptyHeads(const at::Tensor& x_BHTD) {
  const std::int64_t n_head = x_BHTD.size(1), n_row = x_BHTD.size(2), head_dim = x_BHTD.size(3);
  return at::empty_strided(x_BHTD.sizes(),
                           {n_row * n_head * head_dim, head_dim, n_head * head_dim, 1},
                           x_BHTD.options().requires_grad(false));
}

std::array<at::Tensor, 3> EmptyGradients(const at::Tensor& q_BHTD, const at::Tensor& k_BHTD,
                                         const at::Tensor& v_BHTD) {
  const std::optional<Packing> packing = PackingOf({q_BHTD, k_BHTD, v_BHTD});
  if (!packing) return {EmptyHeads(q_BHTD), EmptyHeads(k_BHTD), EmptyHeads(v_BHTD)};
  const std::int64_t n_head = q_BHTD.size(1);
  const at::Tensor packed = at::empty({q_BHTD.size(0), q_BHTD.size(2), 3 * n_head * q_BHTD.size(3)},
                                      q_BHTD.options().requires_grad(false));
  std::array<at::Tensor, 3> gradients;
  for (std::size_t i = 0; i < 3; ++i) {
    gradients[i] = Part(packed, n_head, packing->heads_first, packing->part[i]);
  }
  return gradients;
}

}  // namespace longrun
