#include "model/net/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

#include "base/str.h"
#include "kernels/token_products.h"
#include "model/attention_path.h"
#include "model/net/kernel_attention.h"
#include "model/net/planned_reading.h"
#include "model/net/region_scores.h"
#include "model/net/row_operators.h"

namespace longrun {
namespace {

// Without gradients, only one block's scores are alive, so long contexts take smaller blocks. It
// depends only on shapes, so that a shape has one result.
constexpr std::int64_t kBlockScoresMax = std::int64_t{1} << 25;
constexpr std::int64_t kBlockQueriesMin = 16;

std::int64_t BlockQueries(std::int64_t n_rows, std::int64_t n_positions) {
  if (at::GradMode::is_enabled()) return kBlockQueries;
  const std::int64_t fits = kBlockScoresMax / std::max<std::int64_t>(1, n_rows * n_positions);
  std::int64_t block = kBlockQueries;
  while (block > kBlockQueriesMin && block > fits) block /= 2;
  return block;
}

// sum over j of p_ij v_j, grouped as in Scores.
at::Tensor Mix(const at::Tensor& p_BHQK, const at::Tensor& v_BGKD) {
  const std::int64_t h = p_BHQK.size(1), g = v_BGKD.size(1), n_query = p_BHQK.size(2);
  if (h == g) return BatchedProduct(p_BHQK, v_BGKD);
  const at::Tensor p_BGRK = p_BHQK.view({-1, g, h / g * n_query, p_BHQK.size(3)});
  return BatchedProduct(p_BGRK, v_BGKD).view({-1, h, n_query, v_BGKD.size(3)});
}

// Keys of a cache, [begin, end), and a token's query in the rotation for them.
struct TokenPart {
  at::Tensor q_BH1D, k_BGND;
  std::int64_t begin, end;
};

// The attention of one token over all parts, by kernels that read each key and value once.
at::Tensor TokenAttention(const std::vector<TokenPart>& parts, const at::Tensor& v_BGND,
                          Simd simd) {
  const std::int64_t b = parts.front().q_BH1D.size(0), h = parts.front().q_BH1D.size(1);
  const std::int64_t n_room = v_BGND.size(2), d = v_BGND.size(3);
  std::int64_t n_seen = 0;
  for (const TokenPart& part : parts) n_seen += part.end - part.begin;
  TokenProductShape shape = {.n_row = b * h,
                             .group = h / v_BGND.size(1),
                             .head_dim = d,
                             .matrix_step = n_room * d,
                             .row_step = n_seen};
  const KernelOptions options = RowOptions(simd, n_seen * d);
  at::Tensor p_BH1K = at::empty({b, h, 1, n_seen}, v_BGND.options());
  std::int64_t at = 0;
  for (const TokenPart& part : parts) {
    const at::Tensor q = part.q_BH1D.contiguous();
    shape.n_key = part.end - part.begin;
    TokenScores({.shape = shape,
                 .q = q.const_data_ptr<float>(),
                 .k = part.k_BGND.const_data_ptr<float>() + part.begin * d,
                 .scores = p_BH1K.mutable_data_ptr<float>() + at},
                options);
    at += shape.n_key;
  }
  p_BH1K = at::softmax(p_BH1K, -1);
  at::Tensor o_BH1D = at::zeros({b, h, 1, d}, v_BGND.options());
  at = 0;
  for (const TokenPart& part : parts) {
    shape.n_key = part.end - part.begin;
    TokenMix({.shape = shape,
              .p = p_BH1K.const_data_ptr<float>() + at,
              .v = v_BGND.const_data_ptr<float>() + part.begin * d,
              .o = o_BH1D.mutable_data_ptr<float>()},
             options);
    at += shape.n_key;
  }
  return o_BH1D;
}

at::Tensor TorchAttention(const Attention::Call& call, bool causal) {
  const bool grouped = call.q_BHTD.size(1) != call.k_BHTD.size(1);
  return at::scaled_dot_product_attention(call.q_BHTD, call.k_BHTD, call.v_BHTD, std::nullopt, 0.0,
                                          causal, call.scale, grouped);
}

Status CheckFused(const TermSpec& terms, std::string_view method, const AttentionShape& shape,
                  const Compute& compute) {
  if (compute.dtype == at::kDouble) {
    return Status(
        Code::kUnimplemented,
        "attention back-end \"fused\" computes only in fp32, bf16 and fp16: use the back-end "
        "\"reference\"");
  }
  return CheckFusedAttention(terms, method, shape);
}

Status CheckTorch(const std::vector<std::unique_ptr<AttentionTerm>>& terms, std::string_view method,
                  const AttentionShape& shape) {
  if (std::ranges::any_of(terms, [](const auto& term) { return term->traits().is_bias; })) {
    return Status(
        Code::kUnimplemented,
        Str("attention back-end \"torch\" cannot add to the scores, which position method \"",
            method, "\" requires: use the back-end \"auto\", \"fused\" or \"reference\""));
  }
  if (shape.window > 0) {
    return Status(Code::kUnimplemented,
                  Str("attention back-end \"torch\" has no sliding window, but the model's is ",
                      shape.window, " tokens: use the back-end \"reference\""));
  }
  return {};
}

}  // namespace

Attention::Attention(const TermSpec& spec, const AttentionShape& shape, AttentionBackend backend,
                     const Compute& compute)
    : shape_(shape), backend_(backend), compute_(compute), terms_(MakeTerms(spec, shape, compute)) {
  if (spec.rotation) rotator_.emplace(*spec.rotation, compute);
}

Result<Attention> Attention::Make(const TermSpec& spec, std::string_view method,
                                  const AttentionShape& shape, AttentionBackend backend,
                                  const Compute& compute) {
  if (spec.rotation && !spec.rotation->growth.empty() && compute.product == at::kHalf) {
    return Status(Code::kUnimplemented,
                  Str("precision fp16: the keys of position method \"", method,
                      "\" grow beyond the range of fp16: use fp32 or bf16"));
  }
  const AttentionKernel* kernel = nullptr;
  if (backend == AttentionBackend::kFused) {
    RETURN_IF_ERROR(CheckFused(spec, method, shape, compute));
    ASSIGN_OR_RETURN(kernel, KernelFor(compute));
  }
  Attention attention(spec, shape, backend, compute);
  attention.kernel_ = kernel;
  if (backend == AttentionBackend::kTorch) {
    RETURN_IF_ERROR(CheckTorch(attention.terms_, method, shape));
  }
  return attention;
}

void Attention::SetRotation(std::vector<double> frequency, double magnitude) {
  LR_CHECK(rotator_.has_value());
  rotator_->Set(std::move(frequency), magnitude);
}

Attention::Tensors Attention::Shared(const Tensors& learned, std::int64_t n_positions) const {
  Tensors shared;
  for (const auto& term : terms_) {
    if (!term->traits().is_shareable) continue;
    shared.push_back(
        term->Prepare({.x_BTC = {}, .learned = learned, .n_positions = n_positions}).front());
  }
  return shared;
}

bool Attention::reads_input() const {
  return std::ranges::any_of(terms_, [](const auto& t) { return t->traits().reads_input; });
}

AttentionCache Attention::MakeCache(std::int64_t batch, std::int64_t capacity,
                                    const ReadingPlanner* reading) const {
  const auto options = at::TensorOptions().device(compute_.device).dtype(compute_.product);
  const std::int64_t n_kv_head = shape_.n_kv_head > 0 ? shape_.n_kv_head : shape_.n_head;
  AttentionCache cache = {
      .k_BHTD = at::empty({batch, n_kv_head, 0, shape_.head_dim}, options),
      .v_BHTD = at::empty({batch, n_kv_head, 0, shape_.head_dim}, options),
      .of_terms_BHT = {},
      .capacity = capacity,
      .seen = reading == nullptr ? KeysSeen{.window = shape_.window} : reading->Seen()};
  for (const auto& term : terms_) {
    cache.of_terms_BHT.push_back(term->traits().reads_input ? at::empty({batch, shape_.n_head, 0},
                                                                        options.dtype(at::kDouble))
                                                            : at::Tensor());
  }
  return cache;
}

// Of the call's tokens, which are the last of n_positions; adds them to what terms hold in the
// cache, if there is one.
Attention::Prepared Attention::Prepare(const Call& call, std::int64_t n_positions,
                                       const AttentionCache* cache) const {
  Prepared prepared;
  auto shared = call.shared.begin();
  for (std::size_t i = 0; i < terms_.size(); ++i) {
    if (terms_[i]->traits().is_shareable && shared != call.shared.end() &&
        call.n_shared == n_positions) {
      prepared.push_back({*shared++});
      continue;
    }
    prepared.push_back(
        terms_[i]->Prepare({.x_BTC = call.x_BTC,
                            .learned = call.learned,
                            .n_positions = n_positions,
                            .held_BHT = cache == nullptr ? at::Tensor() : cache->of_terms_BHT[i]}));
  }
  return prepared;
}

// Queries [q_begin, q_begin + n_query) of the places that the keys have; the call has those from
// q_offset on.
at::Tensor Attention::BlockForward(const Call& call, const Prepared& prepared,
                                   const RegionScorer* regions, std::int64_t q_begin,
                                   std::int64_t n_query, std::int64_t n_whole) {
  const std::int64_t n_positions = call.k_BHTD.size(2);
  const std::int64_t q_offset = n_positions - call.q_BHTD.size(2);
  // The block's queries see only keys from k_begin on, n_key of them.
  const std::int64_t k_begin =
      shape_.window > 0 ? std::max<std::int64_t>(0, q_begin - shape_.window + 1) : 0;
  const std::int64_t n_key = (shape_.causal ? q_begin + n_query : n_positions) - k_begin;
  const at::Tensor q_BHQD = Part(call.q_BHTD, 2, q_begin - q_offset, n_query);
  const at::Tensor k_BHKD = Part(call.k_BHTD, 2, k_begin, n_key);
  const at::Tensor v_BHKD = Part(call.v_BHTD, 2, k_begin, n_key);

  const at::Tensor scores_BHQK =
      regions != nullptr
          ? regions->Of({.q_begin = q_begin, .n_query = n_query, .n_key = n_key}, call.scale)
          : Scores(q_BHQD * call.scale, k_BHKD);
  ScoreBlock block = {.scores_BHQK = scores_BHQK.to(compute_.dtype),
                      .q_BHQD = q_BHQD,
                      .q_begin = q_begin,
                      .k_begin = k_begin,
                      .n_whole = n_whole,
                      .n_positions = n_positions,
                      .n_before = call.held.n_forgotten};
  for (std::size_t i = 0; i < terms_.size(); ++i) terms_[i]->AddTo(prepared[i], block);
  const at::Tensor p = at::softmax(block.scores_BHQK, -1);
  if (call.observer != nullptr) Show(call, prepared, block, p);
  return Mix(p.to(compute_.product), v_BHKD);
}

void Attention::Show(const Call& call, const Prepared& prepared, const ScoreBlock& block,
                     const at::Tensor& p_BHQK) const {
  AttentionBlock shown = {.scores_BHQK = block.scores_BHQK,
                          .p_BHQK = p_BHQK,
                          .q_begin = block.q_begin,
                          .k_begin = block.k_begin};
  for (std::size_t i = 0; i < terms_.size(); ++i) {
    const at::Tensor left_out_BHQ = terms_[i]->LeftOut(prepared[i], block);
    if (left_out_BHQ.defined()) {
      shown.scores_BHQK = shown.scores_BHQK + left_out_BHQ.unsqueeze(3);
    }
  }
  (*call.observer)(shown);
}

// The queries are the last of the sequence that the keys are of.
at::Tensor Attention::AllBlocks(const Call& call, const Prepared& prepared,
                                const RegionScorer* regions) {
  const std::int64_t n_positions = call.k_BHTD.size(2), n_queries = call.q_BHTD.size(2);
  std::int64_t n_rows = call.q_BHTD.size(0) * call.q_BHTD.size(1);
  for (const auto& term : terms_) n_rows = std::max(n_rows, term->traits().n_per_pair);
  const std::int64_t n_whole = BlockQueries(n_rows, n_positions);
  const std::int64_t n_blocks = (n_queries + n_whole - 1) / n_whole;
  std::vector<at::Tensor> blocks(static_cast<std::size_t>(n_blocks));
  // Without gradients the last block comes first: all others fit into the memory that
  // the longest frees.
  const bool from_last = !at::GradMode::is_enabled() && call.observer == nullptr;
  for (std::int64_t n_done = 0; n_done < n_blocks; ++n_done) {
    const std::int64_t b = from_last ? n_blocks - 1 - n_done : n_done;
    const std::int64_t begin = n_positions - n_queries + b * n_whole;
    const std::int64_t n_query = std::min(n_whole, n_positions - begin);
    blocks[static_cast<std::size_t>(b)] =
        BlockForward(call, prepared, regions, begin, n_query, n_whole);
  }
  return blocks.size() == 1 ? blocks.front() : at::cat(blocks, 2);
}

// All queries by the kernel, with the terms in its form. The queries are the last of the sequence
// that the keys are of. The kernel rotates q and k itself, unless they are rotated already.
at::Tensor Attention::Kernel(const Call& call, Prepared prepared, bool rotates,
                             std::shared_ptr<const PlannedReading> plan) {
  KernelAttentionCall kernel = {.kernel = kernel_,
                                .q_BHTD = call.q_BHTD,
                                .k_BHTD = call.k_BHTD,
                                .v_BHTD = call.v_BHTD,
                                .scale = call.scale,
                                .causal = shape_.causal,
                                .q_offset = call.k_BHTD.size(2) - call.q_BHTD.size(2),
                                .n_before = call.held.n_forgotten,
                                .window = shape_.window,
                                .skip_epsilon = skip_epsilon_};
  if (plan) {
    kernel.rotation = rotator_->Numbers(*plan);
    kernel.reading = std::move(plan);
  } else if (rotator_ && rotates) {
    if (call.position_ids_BT.defined()) {
      const auto of_ids = rotator_->Numbers(call.position_ids_BT, call.n_positions);
      kernel.rotation = of_ids.numbers;
      kernel.rotation_rows_BT = of_ids.row_BT;
    } else {
      kernel.rotation = rotator_->Numbers(call.q_BHTD.size(2));
    }
  }
  for (std::size_t i = 0; i < terms_.size(); ++i) terms_[i]->Fill(std::move(prepared[i]), kernel);
  return KernelAttention(kernel);
}

// All queries under a reading; the keys, not rotated, are all that are held of the text so far.
at::Tensor Attention::ForwardReading(const Call& given) {
  LR_CHECK(rotator_.has_value() && terms_.size() == 1);  // the term is the causal mask
  const std::int64_t n_query = given.q_BHTD.size(2);
  const std::int64_t q_begin = given.held.KeyAt(given.k_BHTD.size(2) - n_query);
  std::vector<at::Tensor> pieces;
  for (const Stretch& piece :
       given.reading->Pieces(q_begin, n_query, given.n_to_come, given.held)) {
    Call call = given;
    call.q_BHTD = Part(given.q_BHTD, 2, piece.q_begin - q_begin, piece.n_query);
    call.k_BHTD = Part(given.k_BHTD, 2, 0, piece.n_held());
    call.v_BHTD = Part(given.v_BHTD, 2, 0, piece.n_held());
    pieces.push_back(ForwardPiece(call, given.reading->Plan(piece)));
  }
  return pieces.size() == 1 ? pieces.front() : at::cat(pieces, 2);
}

at::Tensor Attention::ForwardPiece(const Call& given, std::shared_ptr<const PlannedReading> plan) {
  Call call = given;
  call.q_BHTD = WithFactors(given.q_BHTD, plan->reading.query_factor, compute_.dtype);
  const bool by_kernel = backend_ == AttentionBackend::kFused && plan->reading.IsForKernels();
  if (by_kernel && call.observer == nullptr) return Kernel(call, {{}}, true, std::move(plan));
  const RegionScorer scorer(call.q_BHTD, call.k_BHTD, *plan, *rotator_, call.layer, compute_.dtype);
  return AllBlocks(call, {{}}, &scorer);
}

// One token under a reading. Each key is scored once, in its own region.
at::Tensor Attention::LastQueryOfReading(const Call& given, AttentionCache& cache) {
  const Stretch token = given.reading->Pieces(cache.n - 1, 1, given.n_to_come, cache.held).front();
  const std::int64_t n_held = cache.n_held();
  const std::int64_t n_kept =
      std::min(cache.n_rotated,
               cache.held.PlaceOf(given.reading->KeysKept(cache.n_rotated_text, token.n_text())));
  const std::shared_ptr<const PlannedReading> planned = given.reading->PlanToken(token, n_kept);
  const PlannedReading& plan = *planned;
  const std::int64_t n_new = n_held - n_kept;
  if (cache.key_sets.empty()) {
    for (std::size_t s = 0; s < plan.reading.key_sets.size(); ++s) {
      cache.key_sets.push_back(at::empty_like(cache.k_BHTD));
    }
  }
  const at::Tensor k_BHND = cache.k_BHTD.narrow(2, n_kept, n_new);
  for (std::size_t s = 0; s < plan.reading.key_sets.size(); ++s) {
    cache.key_sets[s].narrow(2, n_kept, n_new).copy_(rotator_->Keys(k_BHND, plan, s));
  }
  cache.n_rotated = n_held;
  cache.n_rotated_text = token.n_text();
  const at::Tensor q_BHQD =
      WithFactors(given.q_BHTD, plan.reading.query_factor, compute_.dtype) * given.scale;
  const bool by_kernels = backend_ == AttentionBackend::kFused && compute_.kernels &&
                          compute_.product == at::kFloat && plan.reading.IsForKernels();
  if (by_kernels) {
    std::vector<TokenPart> parts;
    for (const VisibleKeys& keys : VisibleKeysOfLast(plan)) {
      const ReadingRegion& region = plan.reading.regions[keys.region];
      parts.push_back({.q_BH1D = rotator_->Queries(q_BHQD, plan, keys.region),
                       .k_BGND = cache.key_sets[region.key_set],
                       .begin = keys.begin,
                       .end = keys.end});
    }
    return TokenAttention(parts, cache.v_BHTD, *compute_.kernels);
  }
  // A reading with a blend of pairs or with noise has one region and no window: its visible keys
  // are all keys.
  const ScoreSpan span = {.q_begin = token.q_place(), .n_query = 1, .n_key = n_held};
  std::vector<at::Tensor> scores, values;
  for (const VisibleKeys& keys : VisibleKeysOfLast(plan)) {
    const at::Tensor q = rotator_->Queries(q_BHQD, plan, keys.region);
    const auto of_set = [&](std::size_t set) {
      return Scores(q, cache.key_sets[set].narrow(2, keys.begin, keys.end - keys.begin));
    };
    const ReadingRegion& region = plan.reading.regions[keys.region];
    const at::Tensor of_region = of_set(region.key_set);
    scores.push_back(region.pair_blend ? BlendPairs(of_region, of_set(region.pair_blend->other_set),
                                                    plan, keys.region, span, compute_.dtype)
                                       : of_region);
    values.push_back(cache.v_BHTD.narrow(2, keys.begin, keys.end - keys.begin));
  }
  const at::Tensor noisy_BHQK =
      WithNoise(at::cat(scores, 3).to(compute_.dtype), plan, given.layer, span);
  const at::Tensor p = at::softmax(noisy_BHQK, -1).to(compute_.product);
  at::Tensor o_BHQD;
  std::int64_t begin = 0;
  for (const at::Tensor& v_BHKD : values) {
    const at::Tensor part = Mix(p.narrow(3, begin, v_BHKD.size(2)).contiguous(), v_BHKD);
    o_BHQD = o_BHQD.defined() ? o_BHQD + part : part;
    begin += v_BHKD.size(2);
  }
  return o_BHQD;
}

at::Tensor Attention::Forward(const Call& given) {
  if (given.reading != nullptr) return ForwardReading(given);
  const std::int64_t n_positions = given.q_BHTD.size(2);
  if (backend_ == AttentionBackend::kFused && given.observer == nullptr) {
    return Kernel(given, Prepare(given, n_positions, nullptr), true);
  }
  Call call = given;
  if (rotator_) {
    const bool has_ids = given.position_ids_BT.defined();
    const RowPositions at = {.ids_BT = given.position_ids_BT,
                             .n_positions = has_ids ? given.n_positions : n_positions};
    call.q_BHTD = rotator_->Queries(given.q_BHTD, at);
    call.k_BHTD = rotator_->Keys(given.k_BHTD, at);
  }
  if (backend_ == AttentionBackend::kTorch && call.observer == nullptr) {
    return TorchAttention(call, shape_.causal);
  }
  return AllBlocks(call, Prepare(call, n_positions, nullptr));
}

// One query after all given keys, which are at the last of n_positions places and all visible.
at::Tensor Attention::LastQuery(const Call& call, const Prepared& prepared,
                                std::int64_t n_positions) {
  if (backend_ == AttentionBackend::kTorch) return TorchAttention(call, false);
  ScoreBlock block = {
      .scores_BHQK = Scores(call.q_BHTD * call.scale, call.k_BHTD).to(compute_.dtype),
      .q_BHQD = call.q_BHTD,
      .q_begin = n_positions - 1,
      .k_begin = n_positions - call.k_BHTD.size(2),
      .n_whole = 1,
      .n_positions = n_positions,
      .n_before = call.held.n_forgotten};
  for (std::size_t i = 0; i < terms_.size(); ++i) terms_[i]->AddToLast(prepared[i], block);
  return Mix(at::softmax(block.scores_BHQK, -1).to(compute_.product), call.v_BHTD);
}

at::Tensor Attention::ForwardBehind(const Call& given, AttentionCache& cache) {
  LR_CHECK(shape_.causal);
  cache.MakeRoom(given.k_BHTD.size(2));
  const at::Tensor o_BHTD = BehindCache(given, cache);
  cache.Forget();
  return o_BHTD;
}

// There is room for the call's tokens. Tensors have the keys that are held, so positions count
// those; only rotations count the text's.
at::Tensor Attention::BehindCache(const Call& given, AttentionCache& cache) {
  const std::int64_t begin = cache.n, n = given.k_BHTD.size(2), n_query = given.q_BHTD.size(2);
  LR_CHECK(n_query == n || n_query == 1);
  RowPositions at = {.begin = begin, .n_positions = cache.capacity};
  Call call = given;
  call.held = cache.held;
  if (rotator_ && given.reading == nullptr) call.k_BHTD = rotator_->Keys(given.k_BHTD, at);
  cache.Add(call.k_BHTD, call.v_BHTD);
  const std::int64_t n_held = cache.n_held();
  if (given.reading != nullptr) {
    if (n_query == 1) return LastQueryOfReading(given, cache);
    call.k_BHTD = cache.k_BHTD.narrow(2, 0, n_held);
    call.v_BHTD = cache.v_BHTD.narrow(2, 0, n_held);
    return ForwardReading(call);
  }
  Prepared prepared = Prepare(given, n_held, &cache);
  const bool is_prompt = begin == 0 && n_query == n;
  const bool by_kernel = backend_ == AttentionBackend::kFused;
  if (is_prompt && by_kernel) return Kernel(given, std::move(prepared), true);
  at.begin = cache.n - n_query;
  if (rotator_) call.q_BHTD = rotator_->Queries(given.q_BHTD, at);
  if (is_prompt) {
    if (backend_ == AttentionBackend::kTorch) return TorchAttention(call, true);
    return AllBlocks(call, prepared);
  }
  const bool is_token = n_query == 1;
  const std::int64_t n_seen =
      is_token && shape_.window > 0 ? std::min(shape_.window, n_held) : n_held;
  call.k_BHTD = cache.k_BHTD.narrow(2, n_held - n_seen, n_seen);
  call.v_BHTD = cache.v_BHTD.narrow(2, n_held - n_seen, n_seen);
  if (is_token) return LastQuery(call, prepared, n_held);
  if (by_kernel) return Kernel(call, std::move(prepared), false);
  return AllBlocks(call, prepared);
}

}  // namespace longrun
