// The JSON reader and the canonical writer. Text in the writer's own form, in ASCII and without
// escapes, is read in one pass (PlainReader). Everything else, and every error, goes through
// nlohmann's parser with our own handler, which sees each key and each level of nesting.
#include "base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "base/json_events.h"
#include "base/plain_cursor.h"
#include "base/str.h"

namespace longrun {
namespace {

// Builds the value, and refuses input that a plain parser would accept. Pointers into the value
// stay valid: a container grows only while its open child is closed.
class Builder final : public JsonEvents {
 public:
  using JsonEvents::JsonEvents;

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool Number(Json value) override { return Add(std::move(value)); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool start_object(std::size_t) override { return Open(Json::object()); }
  bool start_array(std::size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    auto& members = *open_.back()->get_ptr<Json::object_t*>();
    const auto [at, is_new] = members.emplace(name, nullptr);
    if (!is_new) return FailTwice(name);
    member_ = &at->second;
    return true;
  }

  Json root;

 private:
  Json* Place(Json&& value) {
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    if (auto* items = open_.back()->get_ptr<Json::array_t*>()) {
      return &items->emplace_back(std::move(value));
    }
    *member_ = std::move(value);
    return member_;
  }

  bool Add(Json value) {
    Place(std::move(value));
    return true;
  }

  bool Open(Json container) {
    if (open_.size() >= static_cast<std::size_t>(limits().depth_max)) return FailDeep();
    open_.push_back(Place(std::move(container)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  std::vector<Json*> open_;
  Json* member_ = nullptr;
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Returns false at anything that is not plain canonical text; then the careful reader decides.
class PlainReader : private PlainCursor {
 public:
  PlainReader(std::string_view text, const JsonLimits& limits)
      : PlainCursor(text), limits_(limits) {}

  bool Read(Json& value) { return ReadValue(value, 0) && at_ == end_; }

 private:
  bool ReadValue(Json& value, int depth) {
    if (at_ == end_) return false;
    switch (*at_) {
      case '{':
        return ReadObject(value, depth);
      case '[':
        return ReadArray(value, depth);
      case '"': {
        std::string_view text;
        if (!TakeString(text)) return false;
        value = std::string(text);
        return true;
      }
      case 't':
        value = true;
        return TakeWord("true");
      case 'f':
        value = false;
        return TakeWord("false");
      case 'n':
        value = nullptr;
        return TakeWord("null");
      default:
        return ReadNumber(value);
    }
  }

  bool ReadObject(Json& value, int depth) {
    if (depth >= limits_.depth_max || !Take('{')) return false;
    value = Json::object();
    if (Take('}')) return true;
    auto& members = *value.get_ptr<Json::object_t*>();
    std::string_view name;
    do {
      if (!TakeString(name) || !Take(':')) return false;
      const std::size_t n = members.size();
      const auto member = members.emplace_hint(members.end(), name, nullptr);  // keys are sorted
      if (members.size() == n || !ReadValue(member->second, depth + 1)) return false;
    } while (Take(','));
    return Take('}');
  }

  bool ReadArray(Json& value, int depth) {
    if (depth >= limits_.depth_max || !Take('[')) return false;
    value = Json::array();
    if (Take(']')) return true;
    auto& items = *value.get_ptr<Json::array_t*>();
    do {
      if (!ReadValue(items.emplace_back(), depth + 1)) return false;
    } while (Take(','));
    return Take(']');
  }

  bool TakeDigits() {
    const char* const begin = at_;
    while (at_ != end_ && IsDigit(*at_)) ++at_;
    return at_ != begin;
  }

  bool ReadNumber(Json& value) {
    const char* const begin = at_;
    const bool is_negative = Take('-');
    if (!Take('0') && !TakeDigits()) return false;
    bool is_integer = true;
    if (Take('.')) {
      is_integer = false;
      if (!TakeDigits()) return false;
    }
    if (Take('e') || Take('E')) {
      is_integer = false;
      if (!Take('+')) Take('-');
      if (!TakeDigits()) return false;
    }
    if (!is_integer) return Convert<double>(begin, value);
    if (is_negative && *(begin + 1) == '0') return false;  // -0
    return is_negative ? Convert<std::int64_t>(begin, value) : Convert<std::uint64_t>(begin, value);
  }

  template <typename T>
  bool Convert(const char* begin, Json& value) const {
    T number = 0;
    const auto [last, error] = std::from_chars(begin, at_, number);
    if (error != std::errc() || last != at_) return false;
    value = number;
    return true;
  }

  const JsonLimits& limits_;
};

void WriteString(std::string& out, const std::string& text) {
  if (std::ranges::all_of(text, IsPlainJson)) {
    out += '"';
    out += text;
    out += '"';
    return;
  }
  LR_CHECK(IsUtf8(text));
  constexpr char kDigits[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += kDigits[c >> 4];
          out += kDigits[c & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

// Up to this, every integer has a double of its own.
constexpr double kExactMax = 9007199254740992.0;  // 2^53

void WriteDouble(std::string& out, double number) {
  LR_CHECK(std::isfinite(number));
  if (std::abs(number) <= kExactMax && std::trunc(number) == number) {
    StrAppend(out, static_cast<std::int64_t>(number));  // -0.0 too: it equals 0
  } else {
    StrAppend(out, number);
  }
}

void Write(std::string& out, const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      out += "null";
      return;
    case Json::value_t::boolean:
      out += json.get<bool>() ? "true" : "false";
      return;
    case Json::value_t::number_integer:
      StrAppend(out, json.get<std::int64_t>());
      return;
    case Json::value_t::number_unsigned:
      StrAppend(out, json.get<std::uint64_t>());
      return;
    case Json::value_t::number_float:
      WriteDouble(out, json.get<double>());
      return;
    case Json::value_t::string:
      WriteString(out, json.get_ref<const std::string&>());
      return;
    case Json::value_t::array: {
      out += '[';
      const char* separator = "";
      for (const Json& item : json) {
        out += separator;
        Write(out, item);
        separator = ",";
      }
      out += ']';
      return;
    }
    case Json::value_t::object: {
      out += '{';
      const char* separator = "";
      for (const auto& [key, value] : json.get_ref<const Json::object_t&>()) {
        out += separator;
        WriteString(out, key);
        out += ':';
        Write(out, value);
        separator = ",";
      }
      out += '}';
      return;
    }
    case Json::value_t::binary:
    case Json::value_t::discarded:
      break;
  }
  LR_CHECK(false);  // a value that JSON does not have
}

std::string PathOf(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : Str(path, ".", key);
}

// The value for a message: truncated, and never a crash.
std::string Shown(const Json& json) {
  constexpr std::size_t kShownMax = 40;
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kShownMax) text = ToUtf8(text.substr(0, kShownMax)) + "...";
  return text;
}

Status WrongType(const Json& found, std::string_view key, std::string_view path,
                 std::string_view expected) {
  return Status(Code::kInvalidArgument,
                Str(PathOf(path, key), ": expected ", expected, ", found ", Shown(found)));
}

// The result points into `object`.
Result<const Json*> FindMember(const Json& object, std::string_view key, std::string_view path) {
  if (!object.is_object()) {
    return Status(Code::kInvalidArgument, Str(path.empty() ? "the document" : path,
                                              ": expected an object, found ", Shown(object)));
  }
  const auto at = object.find(std::string(key));
  if (at == object.end()) return Status(Code::kNotFound, Str(PathOf(path, key), ": missing"));
  return &*at;
}

}  // namespace

namespace {

Status CheckSize(std::string_view text, const JsonLimits& limits) {
  if (text.size() <= limits.bytes_max) return Status();
  return Status(Code::kResourceExhausted,
                Str("JSON has ", text.size(), " bytes: expected at most ", limits.bytes_max));
}

}  // namespace

bool JsonEvents::number_float(number_float_t value, const string_t& text) {
  if (!std::isfinite(value)) return Fail(Str("the number ", text, " is too large for a double"));
  return Number(value);
}

bool JsonEvents::parse_error(std::size_t, const std::string&, const Json::exception& thrown) {
  // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
  const std::string_view what = thrown.what();
  const std::size_t begin = what.find("] ");
  return Fail(std::string(begin == std::string_view::npos ? what : what.substr(begin + 2)));
}

bool JsonEvents::Fail(std::string message) {
  error_ = std::move(message);
  return false;
}

bool JsonEvents::FailTwice(const std::string& key) {
  return Fail(Str("the key \"", key, "\" occurs twice"));
}

bool JsonEvents::FailDeep() {
  return Fail(Str("nested deeper than ", limits_.depth_max, " levels"));
}

Status ReadJsonEvents(std::string_view text, JsonEvents& events) {
  RETURN_IF_ERROR(CheckSize(text, events.limits()));
  if (Json::sax_parse(text.begin(), text.end(), &events)) return Status();
  return Status(Code::kInvalidArgument, Str("not valid JSON: ", ToUtf8(events.error())));
}

Result<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  RETURN_IF_ERROR(CheckSize(text, limits));
  if (Json plain; PlainReader(text, limits).Read(plain)) return plain;
  Builder builder(limits);
  RETURN_IF_ERROR(ReadJsonEvents(text, builder));
  return std::move(builder.root);
}

std::string CanonicalJson(const Json& json) {
  std::string out;
  Write(out, json);
  return out;
}

Result<std::int64_t> GetInt(const Json& object, std::string_view key, std::string_view path) {
  ASSIGN_OR_RETURN(const Json* const member, FindMember(object, key, path));
  if (member->is_number_unsigned() && member->get<std::uint64_t>() > INT64_MAX) {
    return WrongType(*member, key, path, "an integer of at most 2^63 - 1");
  }
  if (member->is_number_integer()) return member->get<std::int64_t>();
  if (member->is_number_float()) {  // 2.0 and 2 are the same number
    const auto number = member->get<double>();
    if (std::abs(number) <= kExactMax && std::trunc(number) == number) {
      return static_cast<std::int64_t>(number);
    }
  }
  return WrongType(*member, key, path, "an integer");
}

Result<double> GetDouble(const Json& object, std::string_view key, std::string_view path) {
  ASSIGN_OR_RETURN(const Json* const member, FindMember(object, key, path));
  if (!member->is_number()) return WrongType(*member, key, path, "a number");
  return member->get<double>();
}

Result<bool> GetBool(const Json& object, std::string_view key, std::string_view path) {
  ASSIGN_OR_RETURN(const Json* const member, FindMember(object, key, path));
  if (!member->is_boolean()) return WrongType(*member, key, path, "true or false");
  return member->get<bool>();
}

Result<std::string> GetString(const Json& object, std::string_view key, std::string_view path) {
  ASSIGN_OR_RETURN(const Json* const member, FindMember(object, key, path));
  if (!member->is_string()) return WrongType(*member, key, path, "a string");
  return member->get<std::string>();
}

Result<Json> GetMember(const Json& object, std::string_view key, std::string_view path) {
  ASSIGN_OR_RETURN(const Json* const member, FindMember(object, key, path));
  return Result<Json>(*member);
}

}  // namespace longrun
