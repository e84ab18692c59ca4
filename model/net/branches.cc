#include "model/net/branches.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <memory>

#include "model/net/head.h"
#include "model/tokens_per_read.h"

namespace longrun {
namespace {

// One continuation, and where its numbers go.
struct Row {
  std::int64_t context = 0;  // its place in the batch
  std::span<const std::int32_t> tokens;
  std::vector<float>* nll = nullptr;

  // The last token is fed for no target.
  std::int64_t n_fed() const { return std::ssize(tokens) - 1; }
};

class BranchReader {
 public:
  BranchReader(Net& net, std::int32_t bos_id, std::span<const Branches> branches)
      : net_(net),
        bos_id_(bos_id),
        branches_(branches),
        n_context_(branches.front().n_context()),
        n_read_(TokensPerRead(net.compute().device_kind())),
        n_held_(std::min(n_read_, BranchTokensMax(net))) {}

  // Gives each row the NLL of its first token.
  void ReadContexts(std::span<Row> rows) {
    const std::int64_t n_batch = std::ssize(branches_);
    const at::Tensor ids_BT = at::empty({n_batch, n_context_}, at::kLong);
    std::int64_t* id = ids_BT.data_ptr<std::int64_t>();
    for (const Branches& from : branches_) {
      if (from.bos) *id++ = bos_id_;
      id = std::ranges::copy(from.context, id).out;
    }
    // One capacity for all that is read: the growth of rotated keys counts from its middle.
    contexts_ = net_.NewState(n_batch, n_context_ + LongestOf(rows));
    const std::int64_t n_part = std::max<std::int64_t>(1, n_read_ / n_batch);
    at::Tensor last_B1C;
    for (std::int64_t begin = 0; begin < n_context_; begin += n_part) {
      const std::int64_t end = std::min(n_context_, begin + n_part);
      last_B1C = net_.ReadLast(ids_BT.narrow(1, begin, end - begin).to(device()), *contexts_,
                               n_context_ - end);
    }
    std::vector<std::int64_t> targets;
    for (const Row& row : rows) targets.push_back(row.tokens.front());
    const std::vector<float> nll =
        Nll(last_B1C.select(1, 0).index_select(0, ContextsOf(rows)), targets);
    for (std::size_t r = 0; r < rows.size(); ++r) rows[r].nll->push_back(nll[r]);
  }

  // Gives the rows the NLLs of their other tokens.
  void ReadContinuations(std::span<const Row> rows) {
    for (std::size_t begin = 0; begin < rows.size();) {
      std::size_t end = begin + 1;
      while (end < rows.size() && FitTogether(rows.subspan(begin, end + 1 - begin))) ++end;
      ReadTogether(rows.subspan(begin, end - begin));
      begin = end;
    }
  }

 private:
  const c10::Device& device() const { return net_.compute().device; }

  static std::int64_t LongestOf(std::span<const Row> rows) {
    return std::ranges::max(rows, {}, &Row::n_fed).n_fed();
  }

  bool FitTogether(std::span<const Row> rows) const {
    return std::ssize(rows) * (n_context_ + LongestOf(rows)) <= n_held_;
  }

  at::Tensor ContextsOf(std::span<const Row> rows) const {
    const at::Tensor rows_R = at::empty({std::ssize(rows)}, at::kLong);
    std::ranges::transform(rows, rows_R.data_ptr<std::int64_t>(), &Row::context);
    return rows_R.to(device());
  }

  std::vector<float> Nll(const at::Tensor& hidden_NC, const std::vector<std::int64_t>& targets) {
    const at::Tensor nll_N =
        HeadNll(hidden_NC, net_.head(), at::tensor(targets, at::kLong).to(device()), net_.compute())
            .to(at::kCPU, at::kFloat)
            .contiguous();
    const float* const values = nll_N.const_data_ptr<float>();
    return std::vector<float>(values, values + nll_N.numel());
  }

  // Shorter rows are filled up with tokens that no target sees.
  void ReadTogether(std::span<const Row> rows) {
    const std::int64_t n_longest = LongestOf(rows);
    const at::Tensor ids_RT = at::zeros({std::ssize(rows), n_longest}, at::kLong);
    std::int64_t* ids = ids_RT.data_ptr<std::int64_t>();
    std::vector<std::int64_t> places, targets;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const Row& row = rows[r];
      const std::int64_t begin = static_cast<std::int64_t>(r) * n_longest;
      std::copy_n(row.tokens.begin(), row.n_fed(), ids + begin);
      for (std::int64_t t = 0; t < row.n_fed(); ++t) places.push_back(begin + t);
      targets.insert(targets.end(), row.tokens.begin() + 1, row.tokens.end());
    }
    const std::unique_ptr<NetState> state = contexts_->Rows(ContextsOf(rows));
    const std::int64_t n_part = std::max<std::int64_t>(1, n_read_ / std::ssize(rows));
    const at::Tensor hidden_RTC = net_.ReadParts(ids_RT.to(device()), *state, n_part, 0);
    const at::Tensor hidden_NC =
        hidden_RTC.flatten(0, 1).index_select(0, at::tensor(places, at::kLong).to(device()));
    const std::vector<float> nll = Nll(hidden_NC, targets);
    auto next = nll.begin();
    for (const Row& row : rows) {
      row.nll->insert(row.nll->end(), next, next + row.n_fed());
      next += row.n_fed();
    }
  }

  Net& net_;
  const std::int32_t bos_id_;
  const std::span<const Branches> branches_;
  const std::int64_t n_context_, n_read_, n_held_;
  std::unique_ptr<NetState> contexts_;
};

}  // namespace

std::int64_t BranchTokensMax(const Net& net) {
  const ModelConfig& model = net.config().model;
  const auto element_bytes = static_cast<std::int64_t>(c10::elementSize(net.compute().product));
  const std::int64_t of_token =
      2 * model.n_layer * model.n_kv_head() * model.head_dim() * element_bytes;
  return BranchKeyBytes(net.compute().device_kind()) / of_token;
}

BranchNlls NllOfBranches(Net& net, std::int32_t bos_id, std::span<const Branches> branches) {
  const at::NoGradGuard no_grad;
  BranchNlls nll(branches.size());
  std::vector<Row> rows;
  for (std::size_t b = 0; b < branches.size(); ++b) {
    const auto& continuations = branches[b].continuations;
    nll[b].resize(continuations.size());
    for (std::size_t k = 0; k < continuations.size(); ++k) {
      rows.push_back(
          {.context = static_cast<std::int64_t>(b), .tokens = continuations[k], .nll = &nll[b][k]});
    }
  }
  BranchReader reader(net, bos_id, branches);
  reader.ReadContexts(rows);
  // Rows of like lengths are read together, and those of one token are done.
  std::ranges::stable_sort(rows, {}, &Row::n_fed);
  const auto unfinished =
      std::ranges::find_if(rows, [](const Row& row) { return row.n_fed() > 0; });
  reader.ReadContinuations(std::span(unfinished, rows.end()));
  return nll;
}

}  // namespace longrun
