#include "model/data/packing.h"

#include <array>
#include <cmath>

#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::uint64_t kSplitStream = 3;  // one of the streams of random numbers of a seed

struct EotName {
  Packing::Eot eot;
  std::string_view name;
};
constexpr std::array<EotName, 4> kEotNames = {{{Packing::Eot::kAfter, "after"},
                                               {Packing::Eot::kBefore, "before"},
                                               {Packing::Eot::kBoth, "both"},
                                               {Packing::Eot::kNone, "none"}}};

struct OrderName {
  Packing::Order order;
  std::string_view name;
};
constexpr std::array<OrderName, 3> kOrderNames = {{{Packing::Order::kSorted, "sorted"},
                                                   {Packing::Order::kListed, "listed"},
                                                   {Packing::Order::kGiven, "given"}}};

Status Unknown(std::string_view what, std::string_view name,
               const std::vector<std::string>& names) {
  return Status(Code::kInvalidArgument,
                Str(what, ": expected one of ", Join(names, ", "), ", found \"", name, "\""));
}

}  // namespace

Result<Packing::Eot> Packing::ParseEot(std::string_view name) {
  for (const EotName& entry : kEotNames) {
    if (entry.name == name) return entry.eot;
  }
  return Unknown("eot", name, EotNames());
}

Result<Packing::Order> Packing::ParseOrder(std::string_view name) {
  for (const OrderName& entry : kOrderNames) {
    if (entry.name == name) return entry.order;
  }
  return Unknown("order", name, OrderNames());
}

std::vector<std::string> Packing::EotNames() {
  std::vector<std::string> names;
  names.reserve(kEotNames.size());
  for (const EotName& entry : kEotNames) names.emplace_back(entry.name);
  return names;
}

std::vector<std::string> Packing::OrderNames() {
  std::vector<std::string> names;
  names.reserve(kOrderNames.size());
  for (const OrderName& entry : kOrderNames) names.emplace_back(entry.name);
  return names;
}

Json Packing::ToJson() const {
  Json json = {{"newline", universal_newlines ? "universal" : "keep"},
               {"join", join ? Json(ToUtf8(*join)) : Json()},
               {"min_doc_tokens", min_doc_tokens},
               {"max_doc_tokens", max_doc_tokens == 0 ? Json() : Json(max_doc_tokens)}};
  if (keep_empty) json["empty"] = "keep";
  for (const EotName& entry : kEotNames) {
    if (entry.eot == eot) json["eot"] = entry.name;
  }
  for (const OrderName& entry : kOrderNames) {
    if (entry.order == order) json["order"] = entry.name;
  }
  return json;
}

Json SplitRule::ToJson() const {
  switch (by) {
    case By::kFiles:
      return {{"by", "files"}};
    case By::kDocument:
      return {{"by", "document"}, {"validation", validation}, {"test", test}, {"seed", seed}};
    case By::kFirstTokens:
    case By::kLastTokens:
      return {{"by", by == By::kFirstTokens ? "first_tokens" : "last_tokens"},
              {"validation", validation_tokens},
              {"test", test_tokens}};
  }
  LR_CHECK(false);
}

Status SplitRule::Check() const {
  const auto invalid = [](std::string_view message) {
    return Status(Code::kInvalidArgument, message);
  };
  if (by == By::kDocument) {
    const bool proper = validation >= 0 && test >= 0 && validation + test > 0 &&
                        validation + test < 1 && std::isfinite(validation + test);
    if (!proper) {
      return invalid(
          Str("split by document: expected fractions of validation and test that are 0 "
              "or more, with a sum between 0 and 1, found ",
              validation, " and ", test));
    }
  }
  if (IsByTokens() &&
      (validation_tokens < 0 || test_tokens < 0 || validation_tokens + test_tokens == 0)) {
    return invalid(Str("split by ", by == By::kFirstTokens ? "first_tokens" : "last_tokens",
                       ": expected tokens of validation and test that are 0 or "
                       "more, one of them more than 0, found ",
                       validation_tokens, " and ", test_tokens));
  }
  return Status();
}

std::string_view SplitRule::SplitOf(std::string_view document_sha256_hex) const {
  const std::uint64_t drawn = Sm64(StreamKey(seed, 0, kSplitStream) ^ Fnv1a64(document_sha256_hex));
  const double u = static_cast<double>(drawn >> 11) * 0x1p-53;  // exact: 53 bits
  if (u < validation) return "validation";
  if (u < validation + test) return "test";
  return "train";
}

}  // namespace longrun
