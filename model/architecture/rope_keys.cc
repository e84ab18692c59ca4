#include "model/architecture/rope_keys.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/str.h"
#include "model/extension/extension.h"
#include "model/position/method.h"

namespace longrun {
namespace {

// The objects that hold a scaling.
constexpr std::string_view kSpellings[] = {"rope_scaling", "rope_parameters"};
// Keys that rope_parameters may have besides the parameters of a scaling.
constexpr std::string_view kTheta = "rope_theta";
constexpr std::string_view kPartial = "partial_rotary_factor";
constexpr double kBaseWhereAbsent = 10000.0;

// The single value that several keys, each optional, must agree on.
class OneValue {
 public:
  Status Add(const Json& object, std::string_view key, std::string_view shown) {
    if (key.empty() || !object.is_object() || !object.contains(key) || object[key].is_null()) {
      return Status();
    }
    ASSIGN_OR_RETURN(const double value, GetDouble(object, key, "config.json"));
    if (given_ && value != value_) {
      return Status(Code::kInvalidArgument, Str("config.json: ", shown, " ", value, " contradicts ",
                                                shown_, " ", value_, "; leave one of the two out"));
    }
    given_ = true;
    value_ = value;
    shown_ = std::string(shown);
    return Status();
  }
  // A key that transformers writes beside `key`, and ignores without it.
  Status AddEcho(const ConfigReader& read, std::string_view echo, std::string_view key,
                 double absent) {
    if (echo.empty() || !read.Has(echo)) return Status();
    if (given_) return Add(read.config(), echo, echo);
    ASSIGN_OR_RETURN(const double value, read.Double(echo, absent));
    if (value == absent) return Status();
    return Status(Code::kInvalidArgument,
                  Str("config.json: ", echo, " ", value, " has no effect without ", key,
                      ": transformers uses ", absent, "; give ", key));
  }
  double Or(double absent) const { return given_ ? value_ : absent; }
  // The key as the file has it, or `absent`.
  std::string Key(std::string_view absent) const { return std::string(given_ ? shown_ : absent); }

 private:
  bool given_ = false;
  double value_ = 0.0;
  std::string shown_;
};

// transformers' scalings as our extensions; the parameters in `keys` have one name in both.
struct Scaling {
  std::string_view type, method;
  std::span<const std::string_view> keys = {};
  // Keys that change nothing, or that ReadScaling itself handles.
  std::span<const std::string_view> more_keys = {};
  // Our own keys, which transformers does not know: read but never written.
  std::span<const std::string_view> own_keys = {};
  // Where L0 comes from: config.json's max_position_embeddings, the scaling's own
  // original_max_position_embeddings, or the second if present and else the first.
  enum class Length { kNone, kOfModel, kOwn, kOwnOrModel } length = Length::kNone;
};

constexpr std::string_view kVariant = "variant";
constexpr std::string_view kOwnLength = "original_max_position_embeddings";
constexpr std::string_view kModelLength = "max_position_embeddings";

constexpr std::string_view kYarnKeys[] = {"beta_fast", "beta_slow", "attention_factor", "truncate"};
// "finetuned" is from Yarn-Llama-2, and has no effect with a fixed factor.
constexpr std::string_view kYarnMoreKeys[] = {"mscale", "mscale_all_dim", "finetuned"};
constexpr std::string_view kYarnOwnKeys[] = {kVariant};
constexpr std::string_view kLlama3Keys[] = {"low_freq_factor", "high_freq_factor"};
constexpr std::string_view kLongropeKeys[] = {"short_factor", "long_factor", "attention_factor"};
constexpr Scaling kScalings[] = {
    {"linear", "pi", {}, {}, {}, Scaling::Length::kNone},
    {"dynamic", "dynamic_ntk", {}, {}, {}, Scaling::Length::kOfModel},
    {"yarn", "yarn", kYarnKeys, kYarnMoreKeys, kYarnOwnKeys, Scaling::Length::kOwnOrModel},
    {"llama3", "llama3", kLlama3Keys, {}, {}, Scaling::Length::kOwn},
    {"longrope", "longrope", kLongropeKeys, {}, {}, Scaling::Length::kOwnOrModel}};

bool Given(const Json& object, std::string_view key) {
  return object.contains(key) && !object[key].is_null();
}

bool Among(std::span<const std::string_view> keys, std::string_view key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

// rope_type, or "type", its older name; "default" for an object without either.
Result<std::string> ScalingType(const Json& object, std::string_view shown) {
  std::string type;
  for (const char* key : {"rope_type", "type"}) {
    if (!object.contains(key) || object[key].is_null()) continue;
    ASSIGN_OR_RETURN(const std::string given, GetString(object, key, shown));
    if (!type.empty() && type != given) {
      return Status(Code::kInvalidArgument,
                    Str("config.json: ", shown, ".type \"", given, "\" contradicts rope_type \"",
                        type, "\"; leave one of the two out"));
    }
    type = given;
  }
  return type.empty() ? "default" : type;
}

Result<const Scaling*> FindScaling(const std::string& type, std::string_view shown) {
  std::vector<std::string> known = {"default"};
  known.reserve(1 + std::size(kScalings));
  for (const Scaling& scaling : kScalings) {
    if (scaling.type == type) return &scaling;
    known.emplace_back(scaling.type);
  }
  return Status(Code::kUnimplemented,
                Str("config.json: ", shown, ".rope_type \"", type,
                    "\" is not supported; expected one of ", Join(known, ", ")));
}

// The length at which the model was trained: in the scaling, or beside it (as in Phi-3); null if
// neither has it. transformers 4 reads longrope's only beside rope_scaling, and that of other
// methods only in it; 5 looks in both places, and is the only version that reads rope_parameters.
Result<Json> OwnLength(const ConfigReader& read, const Scaling& scaling, const Json& object,
                       std::string_view shown, const Json& of_model) {
  const Json own = Given(object, kOwnLength) ? object[kOwnLength] : Json();
  const Json beside = read.Has(kOwnLength) ? read[kOwnLength] : Json();
  if (own == beside) return own;
  const bool longrope = scaling.method == "longrope";
  if (longrope && own.is_null()) return beside;
  const bool in_all = !longrope || shown != "rope_scaling" || own == of_model;
  if (beside.is_null() && in_all) return own;
  const auto text = [](const Json& length) { return length.is_null() ? "absent" : length.dump(); };
  return Status(Code::kUnimplemented,
                Str("config.json: ", shown, ".", kOwnLength, " is ", text(own), ", and ",
                    kOwnLength, " beside ", shown, " ", text(beside),
                    ": versions of transformers differ in which of the two they use; give both "
                    "the same value"));
}

// L0 as transformers finds it, null if the scaling needs none; `absent`: a model's length if the
// file does not have it.
Result<Json> OriginalLength(const ConfigReader& read, const Scaling& scaling, const Json& object,
                            std::string_view shown, std::int64_t absent) {
  if (scaling.length == Scaling::Length::kNone) return Json();
  const Json of_model = read.Has(kModelLength) ? read[kModelLength] : Json(absent);
  if (scaling.length == Scaling::Length::kOfModel) {
    if (Given(object, kOwnLength) && object[kOwnLength] != of_model) {
      return Status(
          Code::kUnimplemented,
          Str("config.json: ", shown, ".", kOwnLength, " ", object[kOwnLength].dump(),
              " is not supported for rope_type \"", scaling.type, "\", since transformers uses ",
              kModelLength, " instead: set it to the length that you mean"));
    }
    return of_model;
  }
  ASSIGN_OR_RETURN(const Json own, OwnLength(read, scaling, object, shown, of_model));
  if (!own.is_null()) return own;
  if (scaling.length == Scaling::Length::kOwn) {
    return Status(Code::kInvalidArgument,
                  Str("config.json: ", shown, ".", kOwnLength, " is missing, although rope_type \"",
                      scaling.type, "\" needs it"));
  }
  return of_model;
}

// max_position_embeddings / L0, which transformers takes for a factor that is not given; null if
// one of the two is not known.
Json LengthRatio(const ConfigReader& read, const Json& length) {
  if (!read.Has(kModelLength) || !read[kModelLength].is_number() || !length.is_number()) {
    return Json();
  }
  return read[kModelLength].get<double>() / length.get<double>();
}

// longrope's factor, which determines its magnitude: given, or LengthRatio(). If L0 is beside the
// scaling, versions of transformers differ in which they use.
Result<Json> LongropeFactor(const ConfigReader& read, const Json& object, std::string_view shown,
                            const Json& length) {
  const Json given = Given(object, "factor") ? object["factor"] : Json();
  const Json ratio = LengthRatio(read, length);
  if (given.is_null() || ratio.is_null()) return given.is_null() ? ratio : given;
  if (!read.Has(kOwnLength) || Given(object, "attention_factor") || given == ratio) return given;
  return Status(
      Code::kInvalidArgument,
      Str("config.json: ", shown, ".factor ", given.dump(), " contradicts ", kModelLength, " / ",
          kOwnLength, ", which is ", ratio.dump(), "; leave factor out, or give attention_factor"));
}

// DeepSeek's two keys of yarn: attention_factor is the ratio of the factors that they ask for. As
// in transformers, they count only if both are present and not 0.
Status TakeMscales(const Json& object, std::string_view shown, Json& extension) {
  if (Given(object, "attention_factor")) return Status();
  double ratio = 1.0;
  for (const char* key : {"mscale", "mscale_all_dim"}) {
    if (!Given(object, key)) return Status();
    ASSIGN_OR_RETURN(const double mscale, GetDouble(object, key, Str("config.json: ", shown)));
    if (mscale == 0.0) return Status();
    ASSIGN_OR_RETURN(const double factor,
                     GetDouble(extension, "factor", Str("config.json: ", shown)));
    const double asked = 0.1 * mscale * std::log(std::max(factor, 1.0)) + 1.0;
    ratio = key == std::string_view("mscale") ? asked : ratio / asked;
  }
  extension["attention_factor"] = ratio;
  return Status();
}

// The keys of config.json from which ReadScaling took a parameter of our extension.
std::string ScalingKey(const ConfigReader& read, const std::string& param, const Json& object,
                       std::string_view shown) {
  std::string length(kModelLength);
  if (Given(object, kOwnLength)) {
    length = Str(shown, ".", kOwnLength);
  } else if (read.Has(kOwnLength) && Given(object, "long_factor")) {
    length = std::string(kOwnLength);  // beside the scaling: only for longrope (OwnLength)
  }
  if (param == "original_length") return length;
  if (param == "method") return Str(shown, Given(object, "rope_type") ? ".rope_type" : ".type");
  const bool is_taken = Given(object, param);
  if (param == "factor" && !is_taken && length != kModelLength && read.Has(kModelLength)) {
    return Str(kModelLength, " / ", length);
  }
  if (param == "attention_factor" && !is_taken && Given(object, "mscale")) {
    return Str(shown, ".mscale");
  }
  return Str(shown, ".", param);
}

// Errors about our extension, named by the keys of the file.
Status ScalingError(const ConfigReader& read, std::vector<ParamError> errors, const Json& object,
                    std::string_view shown) {
  for (ParamError& error : errors) error.key = ScalingKey(read, error.key, object, shown);
  return Status(Code::kInvalidArgument, ShowErrors("", errors)).In("config.json");
}

// Errors about our rope, named by the keys of the file.
Status RopeError(std::vector<ParamError> errors, const std::string& base_key,
                 const std::string& partial_key) {
  for (ParamError& error : errors) {
    error.key = error.key == "base"      ? base_key
                : error.key == "partial" ? partial_key
                                         : Str("position.", error.key);
  }
  return Status(Code::kInvalidArgument, ShowErrors("", errors)).In("config.json");
}

// The members of `object` that are parameters of the extension. Refuses unknown members.
Result<Json> ScalingParams(const Scaling& scaling, const Json& object, std::string_view shown) {
  Json params = {{"method", scaling.method}};
  for (const auto& [key, value] : object.items()) {
    if (value.is_null() || key == "rope_type" || key == "type" || key == kTheta ||
        key == kPartial || key == kOwnLength || Among(scaling.more_keys, key)) {
      continue;
    }
    if (!Among(scaling.keys, key) && !Among(scaling.own_keys, key) &&
        (key != "factor" || scaling.method.empty())) {
      return Status(Code::kUnimplemented,
                    Str("config.json: ", shown, ".", key, " is not supported with rope_type \"",
                        scaling.type, "\", found ", value.dump()));
    }
    params[key] = value;
  }
  return params;
}

// One spelling's object as our extension; null for "default".
Result<Json> ReadScaling(const ConfigReader& read, std::string_view shown, std::int64_t absent) {
  if (!read.Has(shown)) return Json();
  const Json& object = read[shown];
  if (!object.is_object()) {
    return Status(Code::kInvalidArgument, Str("config.json: ", shown, ": expected a map"));
  }
  ASSIGN_OR_RETURN(const std::string type, ScalingType(object, shown));
  static constexpr Scaling kNoScaling = {.type = "default", .method = ""};
  const Scaling* scaling = &kNoScaling;
  if (type != kNoScaling.type) {
    ASSIGN_OR_RETURN(scaling, FindScaling(type, shown));
  }
  ASSIGN_OR_RETURN(Json extension, ScalingParams(*scaling, object, shown));
  if (scaling->method.empty()) return Json();
  ASSIGN_OR_RETURN(const Json length, OriginalLength(read, *scaling, object, shown, absent));
  if (!length.is_null()) extension["original_length"] = length;
  if (scaling->method == "yarn") {
    // Without a length of its own, the ratio is 1, which is no scaling.
    const bool has_own = read.Has(kOwnLength) || Given(object, kOwnLength);
    const Json ratio = has_own ? LengthRatio(read, length) : Json();
    if (!Given(object, "factor") && !ratio.is_null()) extension["factor"] = ratio;
    RETURN_IF_ERROR(TakeMscales(object, shown, extension));
  }
  if (scaling->method == "longrope") {
    ASSIGN_OR_RETURN(const Json factor, LongropeFactor(read, object, shown, length));
    if (!factor.is_null()) extension["factor"] = factor;
  }
  std::vector<ParamError> errors = ExtensionErrors(extension);
  if (!errors.empty()) return ScalingError(read, std::move(errors), object, shown);
  return ResolveExtension(extension);
}

// transformers rotates int(share * head_dim) channels and computes their frequencies from that
// number; if it is odd, it also rotates the next channel. This finds an even number with the
// same frequencies:
//   base^(-2c/r) = base'^(-2c/(r + 1)),   base' = base^((r + 1) / r)
void RoundUpOdd(std::int64_t head_dim, double& base, double& share) {
  const auto width = static_cast<double>(head_dim);
  const auto n_odd = static_cast<std::int64_t>(width * share);
  if (n_odd < 1 || n_odd % 2 == 0 || n_odd + 1 > head_dim) return;
  const auto r = static_cast<double>(n_odd);
  base = std::pow(base, (r + 1.0) / r);
  share = (r + 1.0) / width;
  while (static_cast<std::int64_t>(width * share) <= n_odd) share = std::nextafter(share, 2.0);
}

// Checks that the rotation that the file's keys describe is possible for its heads,
// and can be scaled.
Status CheckRope(const ConfigReader& read, const std::string& base_key,
                 const std::string& partial_key, const NetConfig& net) {
  const PositionConfig& rope = net.model.position;
  ASSIGN_OR_RETURN(const PositionMethod* const method, FindPositionMethod(rope.method));
  const ParamResult<TermSpec> terms = method->terms(rope.params, net.model.attention_shape());
  if (!terms.ok()) {
    return read.Has("position") ? terms.status("position").In("config.json")
                                : RopeError({terms.error()}, base_key, partial_key);
  }
  if (net.extension.is_null()) return Status();
  ASSIGN_OR_RETURN(const Extension* const extension,
                   FindExtension(net.extension.at("method").get<std::string>()));
  const RopeShape shape = {
      .base = rope.params.at("base").get<double>(),
      .n_rotary = 2 * static_cast<std::int64_t>(terms->rotation->frequency.size())};
  const ParamResult<ExtendedRotation> rotation = extension->rotation(net.extension, shape, 1);
  if (rotation.ok()) return Status();
  const std::string_view shown = read.Has(kSpellings[0]) ? kSpellings[0] : kSpellings[1];
  return ScalingError(read, {rotation.error()}, read[shown], shown);
}

bool IsExtendedBy(const NetConfig& net, std::string_view method) {
  return !net.extension.is_null() && net.extension.at("method") == method;
}

// The frequencies of a model's rotation at its own length: from rope's `base`, or as changed by the
// extension.
std::vector<double> Frequencies(const NetConfig& net, bool extended) {
  const PositionConfig& rope = net.model.position;
  const Result<const PositionMethod*> method = FindPositionMethod(rope.method);
  LR_CHECK(method.ok());
  const ParamResult<TermSpec> terms = (*method)->terms(rope.params, net.model.attention_shape());
  LR_CHECK(terms.ok());  // the net was made with them
  const RopeShape shape = {
      .base = rope.params.at("base").get<double>(),
      .n_rotary = 2 * static_cast<std::int64_t>(terms->rotation->frequency.size())};
  if (!extended) return RopeFrequencies(shape);
  const Result<const Extension*> extension =
      FindExtension(net.extension.at("method").get<std::string>());
  LR_CHECK(extension.ok());
  const ParamResult<ExtendedRotation> rotation = (*extension)->rotation(net.extension, shape, 1);
  LR_CHECK(rotation.ok());
  return rotation->frequency;
}

// The base with which plain rope rotates as under ntk. Pair 1 rotates at base^(-2/d).
double NtkBase(const NetConfig& net) {
  const std::vector<double> frequency = Frequencies(net, /*extended=*/true);
  const double base = net.model.position.params.at("base").get<double>();
  if (frequency.size() < 2) return base;  // one pair rotates at frequency 1 for any base
  return std::pow(frequency[1], -static_cast<double>(frequency.size()));
}

// ntk_by_parts is yarn with the attention of plain RoPE. Files cannot express the revised ramp of
// either. longrope divides each pair's frequency by a number of its own, and at any length if both
// of its lists are equal.
Json AsFilesHaveIt(const NetConfig& net) {
  const bool is_parts = IsExtendedBy(net, "ntk_by_parts");
  if (!is_parts && !IsExtendedBy(net, "yarn")) return net.extension;
  Json yarn = net.extension;
  if (is_parts) {
    yarn["method"] = "yarn";
    yarn["attention_factor"] = 1.0;
  }
  if (yarn.at("variant") != "revised") return yarn;
  const std::vector<double> plain = Frequencies(net, /*extended=*/false);
  const std::vector<double> scaled = Frequencies(net, /*extended=*/true);
  Json divisors = Json::array();
  for (std::size_t i = 0; i < plain.size(); ++i) divisors.push_back(plain[i] / scaled[i]);
  return {{"method", "longrope"},
          {"factor", yarn.at("factor")},
          {"original_length", yarn.at("original_length")},
          {"attention_factor", yarn.at("attention_factor")},
          {"short_factor", divisors},
          {"long_factor", divisors}};
}

}  // namespace

Status ReadRope(const ConfigReader& read, const RopeSpelling& spelling, NetConfig& net) {
  for (const std::string_view key : kSpellings) {
    ASSIGN_OR_RETURN(const Json extension, ReadScaling(read, key, spelling.length_where_absent));
    if (extension.is_null() || extension == net.extension) continue;
    if (!net.extension.is_null()) {
      return Status(Code::kInvalidArgument,
                    "config.json: rope_parameters contradicts rope_scaling; leave one of the two "
                    "out");
    }
    net.extension = extension;
  }
  OneValue base, partial;
  RETURN_IF_ERROR(base.Add(read.config(), spelling.base, spelling.base));
  RETURN_IF_ERROR(partial.Add(read.config(), spelling.partial, spelling.partial));
  for (const std::string_view object : kSpellings) {
    if (!read.Has(object)) continue;
    RETURN_IF_ERROR(base.Add(read[object], kTheta, Str(object, ".", kTheta)));
    RETURN_IF_ERROR(partial.Add(read[object], kPartial, Str(object, ".", kPartial)));
  }
  RETURN_IF_ERROR(base.AddEcho(read, spelling.other_base, spelling.base, kBaseWhereAbsent));
  RETURN_IF_ERROR(partial.AddEcho(read, spelling.other_partial, spelling.partial,
                                  spelling.partial_where_absent));
  double turned_base = base.Or(kBaseWhereAbsent);
  double share = partial.Or(spelling.partial_where_absent);
  if (!spelling.may_be_partial && share != 1.0 && !read.Has("position")) {
    return Status(
        Code::kUnimplemented,
        Str("config.json: ", kPartial, " ", share, ": transformers' ", net.model.architecture,
            " rotates all channels of a head; to rotate only a part of them, give \"position\": "
            "{\"method\": \"rope\", \"partial\": ",
            share, "}"));
  }
  const std::string base_key = base.Key(spelling.base), partial_key = partial.Key(spelling.partial);
  const Json said = {{"method", "rope"}, {"base", turned_base}, {"partial", share}};
  std::vector<ParamError> errors = PositionErrors(said);
  if (!errors.empty()) return RopeError(std::move(errors), base_key, partial_key);
  const double said_share = share;
  RoundUpOdd(net.model.head_dim(), turned_base, share);
  if (share != said_share && !net.extension.is_null() && !read.Has("position")) {
    return Status(Code::kUnimplemented,
                  Str("config.json: ", partial_key, " ", said_share, " of ", net.model.head_dim(),
                      " channels rotates an odd number of them; scaling of rotary positions is not "
                      "supported for an odd number"));
  }
  const Json rope = {{"method", "rope"}, {"base", turned_base}, {"partial", share}};
  const bool as_said = share == said_share;
  RETURN_IF_ERROR(ReadPosition(
      read, rope,
      {{"base", as_said ? spelling.base : ""}, {"partial", as_said ? spelling.partial : ""}},
      net.model));
  // A method other than the file's own rope has nothing to scale.
  if (net.model.position.method != "rope") {
    net.extension = Json();
    return Status();
  }
  return CheckRope(read, base_key, partial_key, net);
}

Status CheckYarnIsTold(const Json& config) {
  const auto scaling = config.find(kSpellings[0]);
  if (scaling == config.end() || !scaling->is_object()) return Status();
  // As PoSE's code writes it: for Llama, in one form with the model's length. Of other Llamas that
  // have the length, Yarn-Llama-2's say "finetuned".
  const bool may_be_poses =
      !Given(*scaling, kOwnLength) ||
      (config.value("model_type", "") == "llama" && !Given(*scaling, "finetuned"));
  const bool is_open = Given(*scaling, "type") && scaling->at("type") == "yarn" &&
                       !Given(*scaling, "rope_type") && !Given(*scaling, kVariant) && may_be_poses;
  if (!is_open) return Status();
  return Status(Code::kInvalidArgument,
                "config.json: rope_scaling of type \"yarn\" may mean the revised form of YaRN "
                "(PoSE's models) or the paper's (others); add \"variant\": \"revised\" or "
                "\"variant\": \"paper\" to rope_scaling");
}

void WriteRope(const NetConfig& net, const RopeSpelling& spelling, Json& config) {
  const PositionConfig& position = net.model.position;
  if (position.method != "rope") return;
  config[std::string(spelling.base)] =
      IsExtendedBy(net, "ntk") ? Json(NtkBase(net)) : position.params.at("base");
  // Our own key must agree.
  if (config.contains("position")) {
    config["position"]["base"] = config[std::string(spelling.base)];
  }
  if (position.params.at("partial") != spelling.partial_where_absent) {
    config[std::string(spelling.partial)] = position.params.at("partial");
  }
  // ntk is a larger base; files have no scaling for it.
  if (net.extension.is_null() || IsExtendedBy(net, "ntk")) return;
  const Json extension = AsFilesHaveIt(net);
  const auto scaling =
      std::find_if(std::begin(kScalings), std::end(kScalings),
                   [&](const Scaling& one) { return extension.at("method") == one.method; });
  LR_CHECK(scaling != std::end(kScalings));
  Json object = {{"rope_type", scaling->type}, {"factor", extension.at("factor")}};
  for (const std::string_view key : scaling->keys) {
    object[std::string(key)] = extension.at(std::string(key));
  }
  if (scaling->length == Scaling::Length::kOfModel) {
    config[std::string(kModelLength)] = extension.at("original_length");
  } else if (scaling->length != Scaling::Length::kNone) {
    object[std::string(kOwnLength)] = extension.at("original_length");
  }
  // The place where transformers 4 looks for longrope's length.
  if (scaling->method == "longrope") {
    config[std::string(kOwnLength)] = extension.at("original_length");
  }
  config["rope_scaling"] = object;
}

}  // namespace longrun
