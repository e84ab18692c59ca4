#include "model/data/mix.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::uint64_t kPieceStream = 6;
constexpr std::size_t kRecentBytes = std::size_t{1} << 16;
constexpr double kShareMax = 0.95;

Status Invalid(const std::string& message) { return Status(Code::kInvalidArgument, message); }

Result<double> ShareOf(const Json& value) {
  const double share = value.is_number() ? value.get<double>() : 0;
  if (share > 0 && share <= kShareMax) return share;
  return Invalid(
      Str("share: expected a number above 0 and up to ", kShareMax, ", found ", value.dump()));
}

// NAME=SHARE as the object that it stands for.
Result<Json> Object(std::string_view text) {
  if (text.starts_with('{')) return ParseJson(text);
  const std::size_t equals = text.find('=');
  double share = 0;
  if (equals != std::string_view::npos) {
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + equals + 1, end, share);
    if (parsed.ec == std::errc() && parsed.ptr == end) {
      return Json{{"rule", text.substr(0, equals)}, {"share", share}};
    }
  }
  return Invalid(Str("\"", text,
                     "\": expected a rule and its share, such as passkey=0.4 or {\"rule\": "
                     "\"passkey\", \"share\": 0.4, \"longest\": 200}"));
}

}  // namespace

Json Mix::ToJson() const {
  Json list = Json::array();
  for (const MixedRule& mixed : rules) {
    Json json = mixed.rule.ToJson();
    json["share"] = mixed.share;
    list.push_back(std::move(json));
  }
  return {{"rules", std::move(list)}, {"seed", seed}, {"text_bytes", text_bytes}};
}

Status Mix::AddText(std::string_view text) {
  ASSIGN_OR_RETURN(Json object, Object(text));
  return Add(std::move(object));
}

Status Mix::Add(Json object) {
  ASSIGN_OR_RETURN(const double share,
                   ShareOf(object.is_object() ? object.value("share", Json()) : object));
  object.erase("share");
  ASSIGN_OR_RETURN(ResolvedRule rule, ResolvedRule::Resolve(object));
  rules.push_back({.rule = std::move(rule), .share = share});
  return Status();
}

Status Mix::Check() const {
  double sum = 0;
  for (const MixedRule& mixed : rules) sum += mixed.share;
  if (sum > kShareMax) {
    return Invalid(Str("the shares of the rules add up to ", sum, ", but may add up to at most ",
                       kShareMax,
                       ", because the rest of the dataset is the text: lower the shares, "
                       "or make a dataset without text with `longrun data synthesize`"));
  }
  return Status();
}

MixSink::MixSink(const Mix& mix, const Tokenizer& tokenizer, std::uint64_t source,
                 DocumentSink& sink, std::function<std::int64_t()> n_tokens)
    : mix_(mix),
      tokenizer_(tokenizer),
      sink_(sink),
      n_tokens_(std::move(n_tokens)),
      random_(StreamKey(mix.seed, source, kPieceStream)),
      next_document_(source << 32U),
      n_of_rule_(mix.rules.size()) {
  DrawPiece();
}

void MixSink::DrawPiece() {
  const std::int64_t half = mix_.text_bytes / 2;
  n_left_ = half + static_cast<std::int64_t>(
                       random_.Below(static_cast<std::uint64_t>(mix_.text_bytes) + 1));
}

void MixSink::ForgetOld() {
  if (recent_.size() > kRecentBytes) recent_.erase(0, recent_.size() - kRecentBytes);
}

void MixSink::Remember(std::string_view bytes) {
  recent_.append(bytes);
  if (recent_.size() > 2 * kRecentBytes) ForgetOld();
}

Status MixSink::Text(std::string_view bytes) {
  while (!bytes.empty()) {
    // The piece ends after the first line end that is not among its n_left_ bytes.
    const auto from = static_cast<std::size_t>(
        std::min<std::int64_t>(std::max<std::int64_t>(n_left_, 0), std::ssize(bytes)));
    const std::size_t newline = bytes.find('\n', from);
    const std::size_t n = newline == std::string_view::npos ? bytes.size() : newline + 1;
    const std::string_view part = bytes.substr(0, n);
    RETURN_IF_ERROR(sink_.Text(part));
    Remember(part);
    has_text_ = true;
    n_left_ -= std::ssize(part);
    bytes.remove_prefix(n);
    if (newline != std::string_view::npos) RETURN_IF_ERROR(EndPiece());
  }
  return Status();
}

Status MixSink::Ids(std::span<const std::int32_t>) {
  LR_CHECK(false);  // PrepareDataset refuses a mix with a format of tokens
}

Status MixSink::EndDocument() {
  if (has_text_) return EndPiece();
  return Status();
}

Status MixSink::EndPiece() {
  RETURN_IF_ERROR(sink_.EndDocument());
  has_text_ = false;
  ForgetOld();
  DrawPiece();
  while (true) {
    const auto n_all = static_cast<double>(n_tokens_());
    std::size_t most = 0;
    double missing = 0;
    for (std::size_t k = 0; k < mix_.rules.size(); ++k) {
      const double missed = mix_.rules[k].share * n_all - static_cast<double>(n_of_rule_[k]);
      if (missed > missing) {
        most = k;
        missing = missed;
      }
    }
    if (missing <= 0) return Status();
    RETURN_IF_ERROR(AddDocument(most));
  }
}

Status MixSink::AddDocument(std::size_t k) {
  std::vector<std::int32_t> ids;
  const RuleSetting setting = {.seed = mix_.seed,
                               .n_tokens =
                                   [&](std::string_view text) {
                                     ids.clear();
                                     tokenizer_.Encode(text, ids);
                                     return std::ssize(ids);
                                   },
                               .text = recent_};
  ASSIGN_OR_RETURN(const std::string document,
                   mix_.rules[k].rule.Document(setting, next_document_++));
  const std::int64_t n_before = n_tokens_();
  RETURN_IF_ERROR(sink_.Text(document));
  RETURN_IF_ERROR(sink_.EndDocument());
  n_of_rule_[k] += n_tokens_() - n_before;
  return Status();
}

}  // namespace longrun
