#include "model/attention_map.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include "base/str.h"
#include "model/safetensors.h"

namespace longrun {
namespace {

constexpr std::string_view kFormat = "longrun attention map 1";
constexpr std::string_view kOwnKeys[] = {"format", "values", "tokens", "texts", "layers",
                                         "heads",  "causal", "window", "block", "pool"};

float Hidden(AttentionMap::Values values) {
  return values == AttentionMap::Values::kLogits ? std::numeric_limits<float>::quiet_NaN() : 0.0F;
}

template <typename T>
StoredTensor Stored(StoredType type, const std::vector<std::int64_t>& shape,
                    const std::vector<T>& data) {
  return {.type = type, .shape = shape, .bytes = std::as_bytes(std::span(data))};
}

std::string ListText(const std::vector<std::int64_t>& numbers) {
  std::string text;
  for (const std::int64_t number : numbers) text += Str(text.empty() ? "" : ",", number);
  return text;
}

// ---- reading ------------------------------------------------------------------------------------

std::optional<std::int64_t> Number(std::string_view text) {
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

class MapReader {
 public:
  explicit MapReader(const SafetensorsFile& file) : file_(file) {}

  Result<AttentionMap> Read() {
    if (Text("format") != kFormat) {
      return Bad(
          "is not an attention map: expected a file of `longrun-trainer attention` or of the "
          "evaluation attention_map");
    }
    AttentionMap map;
    map.values_of = Text("values") == ValuesName(AttentionMap::Values::kLogits)
                        ? AttentionMap::Values::kLogits
                        : AttentionMap::Values::kProbabilities;
    map.pooled_by = Text("pool") == PoolName(AttentionMap::Pool::kMax) ? AttentionMap::Pool::kMax
                                                                       : AttentionMap::Pool::kMean;
    ASSIGN_OR_RETURN(map.n_tokens, NumberOf("tokens"));
    ASSIGN_OR_RETURN(map.n_texts, NumberOf("texts"));
    ASSIGN_OR_RETURN(map.block, NumberOf("block"));
    ASSIGN_OR_RETURN(map.window, NumberOf("window"));
    ASSIGN_OR_RETURN(map.layers, ListOf("layers"));
    ASSIGN_OR_RETURN(map.heads, ListOf("heads"));
    map.is_causal = Text("causal") != "0";
    if (map.n_tokens < 1 || map.block < 1 || map.block > map.n_tokens) {
      return Bad("has no tokens, or a block that is not between 1 and the number of tokens");
    }
    RETURN_IF_ERROR(Fill("head_entropy", StoredType::kF64, {map.n_tokens}, map.head_entropy));
    // T is known to be smaller than the file by now, so that S x S does not overflow.
    RETURN_IF_ERROR(Fill("attention", StoredType::kF32, {map.Side(), map.Side()}, map.values));
    if (map.values_of == AttentionMap::Values::kProbabilities) {
      RETURN_IF_ERROR(Fill("entropy", StoredType::kF64, {map.n_tokens}, map.entropy));
    }
    for (const auto& [key, value] : file_.metadata()) {
      if (std::ranges::find(kOwnKeys, key) == std::end(kOwnKeys)) map.labels[key] = value;
    }
    return map;
  }

 private:
  Status Bad(std::string_view why) const {
    return Status(Code::kDataLoss, Str(file_.path(), ": ", why));
  }

  std::string Text(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    return found == file_.metadata().end() ? "" : found->second;
  }

  Result<std::int64_t> NumberOf(const std::string& key) const {
    const std::optional<std::int64_t> number = Number(Text(key));
    if (number) return *number;
    return Bad(
        Str("metadata \"", key, "\": expected a number, found \"", Printable(Text(key)), "\""));
  }

  Result<std::vector<std::int64_t>> ListOf(const std::string& key) const {
    std::vector<std::int64_t> numbers;
    for (const std::string& part : Split(Text(key), ',')) {
      const std::optional<std::int64_t> number = Number(part);
      if (!number) {
        return Bad(
            Str("metadata \"", key, "\": expected numbers, found \"", Printable(Text(key)), "\""));
      }
      numbers.push_back(*number);
    }
    return numbers;
  }

  template <typename T>
  Status Fill(const std::string& name, StoredType type, const std::vector<std::int64_t>& shape,
              std::vector<T>& out) const {
    const StoredTensor* const tensor = file_.Find(name);
    if (tensor == nullptr) return Bad(Str("has no tensor \"", name, "\""));
    if (tensor->type != type || tensor->shape != shape) {
      return Bad(Str("tensor \"", name, "\": expected ", StoredTypeName(type), " ",
                     ShapeText(shape), " by its metadata, found ", StoredTypeName(tensor->type),
                     " ", ShapeText(tensor->shape)));
    }
    out.resize(tensor->bytes.size() / sizeof(T));
    std::memcpy(out.data(), tensor->bytes.data(), tensor->bytes.size());
    return Status();
  }

  const SafetensorsFile& file_;
};

}  // namespace

std::string_view ValuesName(AttentionMap::Values values) {
  return values == AttentionMap::Values::kLogits ? "logits" : "probabilities";
}

std::string_view PoolName(AttentionMap::Pool pool) {
  return pool == AttentionMap::Pool::kMax ? "max" : "mean";
}

std::int64_t AttentionMap::VisiblePairs(std::int64_t row, std::int64_t column) const {
  const std::int64_t j_begin = column * block, j_end = std::min(n_tokens, j_begin + block);
  std::int64_t n = 0;
  for (std::int64_t i = row * block; i < std::min(n_tokens, (row + 1) * block); ++i) {
    const std::int64_t first = window > 0 ? std::max(j_begin, i - window + 1) : j_begin;
    const std::int64_t end = is_causal ? std::min(j_end, i + 1) : j_end;
    n += std::max<std::int64_t>(0, end - first);
  }
  return n;
}

AttentionMap PoolMap(AttentionMap map, std::int64_t side_max, AttentionMap::Pool pool) {
  const std::int64_t side = map.Side();
  if (side_max <= 0 || side <= side_max) return map;
  const std::int64_t factor = (side + side_max - 1) / side_max;
  if (map.block == 1) map.pooled_by = pool;
  const bool by_max = map.pooled_by == AttentionMap::Pool::kMax;
  const std::int64_t n = (side + factor - 1) / factor;
  std::vector<float> pooled(static_cast<std::size_t>(n * n), Hidden(map.values_of));
  for (std::int64_t r = 0; r < n; ++r) {
    for (std::int64_t c = 0; c < n; ++c) {
      double sum = 0.0;
      double largest = -std::numeric_limits<double>::infinity();
      std::int64_t n_pairs = 0;
      for (std::int64_t i = r * factor; i < std::min(side, (r + 1) * factor); ++i) {
        for (std::int64_t j = c * factor; j < std::min(side, (c + 1) * factor); ++j) {
          const std::int64_t visible = map.VisiblePairs(i, j);
          const double value = map.values[static_cast<std::size_t>(i * side + j)];
          if (visible == 0 || std::isnan(value)) continue;
          n_pairs += visible;
          sum += static_cast<double>(visible) * value;
          largest = std::max(largest, value);
        }
      }
      if (n_pairs == 0) continue;
      pooled[static_cast<std::size_t>(r * n + c)] =
          static_cast<float>(by_max ? largest : sum / static_cast<double>(n_pairs));
    }
  }
  map.values = std::move(pooled);
  map.block *= factor;
  return map;
}

namespace {

// The value of a map's cell over all pairs that `wider` sees there.
double ValueOver(const AttentionMap& wider, const AttentionMap& map, std::int64_t row,
                 std::int64_t column) {
  const double value = map.values[static_cast<std::size_t>(row * map.Side() + column)];
  const std::int64_t own = map.VisiblePairs(row, column), all = wider.VisiblePairs(row, column);
  if (own == all) return value;
  if (map.values_of == AttentionMap::Values::kLogits) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  // Pairs that it hides have probability 0: they add to the number of pairs, not to the maximum.
  return map.pooled_by == AttentionMap::Pool::kMax
             ? value
             : value * static_cast<double>(own) / static_cast<double>(all);
}

}  // namespace

Result<AttentionMap> AttentionDifference(const AttentionMap& a, const AttentionMap& b) {
  const auto visible = [](const AttentionMap& map) {
    return map.is_causal ? "causal" : "both sides";
  };
  const auto pooled = [](const AttentionMap& map) {
    return Str(PoolName(map.pooled_by), " of ", map.block, " x ", map.block);
  };
  const std::tuple<const char*, std::string, std::string> parts[] = {
      {"values", std::string(ValuesName(a.values_of)), std::string(ValuesName(b.values_of))},
      {"tokens", Str(a.n_tokens), Str(b.n_tokens)},
      {"texts", Str(a.n_texts), Str(b.n_texts)},
      {"layers", ListText(a.layers), ListText(b.layers)},
      {"heads", ListText(a.heads), ListText(b.heads)},
      {"visible keys", visible(a), visible(b)},
      {"cells", pooled(a), pooled(b)}};
  for (const auto& [what, of_a, of_b] : parts) {
    if (of_a == of_b) continue;
    return Status(Code::kInvalidArgument,
                  Str("the two maps cannot be subtracted: their ", what, " are ", of_a, " and ",
                      of_b, "; measure both with the same parameters of attention_map"));
  }
  AttentionMap difference = a;
  // What either of them sees.
  difference.window = a.window == 0 || b.window == 0 ? 0 : std::max(a.window, b.window);
  for (std::int64_t r = 0; r < a.Side(); ++r) {
    for (std::int64_t c = 0; c < a.Side(); ++c) {
      const auto cell = static_cast<std::size_t>(r * a.Side() + c);
      difference.values[cell] =
          static_cast<float>(ValueOver(difference, a, r, c) - ValueOver(difference, b, r, c));
    }
  }
  difference.entropy.clear();
  difference.head_entropy.clear();
  return difference;
}

std::string AttentionMapBytes(const AttentionMap& map) {
  std::map<std::string, StoredTensor> tensors = {
      {"attention", Stored(StoredType::kF32, {map.Side(), map.Side()}, map.values)},
      {"head_entropy", Stored(StoredType::kF64, {map.n_tokens}, map.head_entropy)}};
  if (map.values_of == AttentionMap::Values::kProbabilities) {
    tensors["entropy"] = Stored(StoredType::kF64, {map.n_tokens}, map.entropy);
  }
  std::map<std::string, std::string> metadata = map.labels;
  metadata["format"] = kFormat;
  metadata["values"] = ValuesName(map.values_of);
  metadata["tokens"] = Str(map.n_tokens);
  metadata["texts"] = Str(map.n_texts);
  metadata["layers"] = ListText(map.layers);
  metadata["heads"] = ListText(map.heads);
  metadata["causal"] = map.is_causal ? "1" : "0";
  metadata["window"] = Str(map.window);
  metadata["block"] = Str(map.block);
  metadata["pool"] = PoolName(map.pooled_by);
  return SafetensorsBytes(tensors, metadata);
}

Result<AttentionMap> ReadAttentionMap(const std::string& path) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  return MapReader(file).Read();
}

}  // namespace longrun
