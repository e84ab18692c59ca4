#include "model/data/source/field.h"

#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "base/json_events.h"
#include "base/str.h"

namespace longrun {

Result<std::vector<std::string>> ParseFieldPath(std::string_view option, std::string_view text) {
  std::vector<std::string> path = Split(text, '.');
  for (const std::string& name : path) {
    if (name.empty()) {
      return Status(
          Code::kInvalidArgument,
          Str(option, ": expected names joined by dots, like meta.config, found \"", text, "\""));
    }
  }
  return path;
}

Result<FieldFilter> ParseFieldFilter(std::string_view text) {
  const std::size_t at = text.find("==");
  if (at == std::string_view::npos) {
    return Status(
        Code::kInvalidArgument,
        Str("filter: expected PATH==VALUE, like meta.config==arxiv, found \"", text, "\""));
  }
  FieldFilter filter;
  ASSIGN_OR_RETURN(filter.path, ParseFieldPath("filter", Trim(text.substr(0, at))));
  filter.value = std::string(Trim(text.substr(at + 2)));
  return filter;
}

Status CheckFieldOptions(const SourceOptions& options) {
  if (options.field) RETURN_IF_ERROR(ParseFieldPath("field", *options.field).status());
  if (options.filter) RETURN_IF_ERROR(ParseFieldFilter(*options.filter).status());
  return Status();
}

// ---- reading -----------------------------------------------------------------------------------

namespace {

// The hashes of an object's keys: a key in a tree would take ten times as much memory.
class KeyHashes {
 public:
  void Clear() {
    if (n_ == 0) return;
    n_ = 0;
    slots_.assign(kSlotsMin, kNone);
    slots_.shrink_to_fit();
  }
  // False if it was there.
  bool Add(std::uint64_t hash) {
    if (hash == kNone) hash = 1;
    std::uint64_t& slot = SlotOf(hash);
    if (slot == hash) return false;
    slot = hash;
    n_ += 1;
    if (2 * n_ > slots_.size()) Grow();
    return true;
  }

 private:
  static constexpr std::uint64_t kNone = 0;
  static constexpr std::size_t kSlotsMin = 32;

  std::uint64_t& SlotOf(std::uint64_t hash) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at] != kNone && slots_[at] != hash) at = (at + 1) & mask;
    return slots_[at];
  }
  void Grow() {
    std::vector<std::uint64_t> before(2 * slots_.size(), kNone);
    before.swap(slots_);
    for (const std::uint64_t hash : before) {
      if (hash != kNone) SlotOf(hash) = hash;
    }
  }

  std::vector<std::uint64_t> slots_ = std::vector<std::uint64_t>(kSlotsMin, kNone);
  std::size_t n_ = 0;
};

// Whether the text's key number `n` was in the same object before.
class KeyRecount final : public JsonEvents {
 public:
  KeyRecount(const JsonLimits& limits, std::int64_t n, const std::string& name)
      : JsonEvents(limits), n_(n), name_(name) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool Number(Json) override { return true; }
  bool string(string_t&) override { return true; }
  bool start_object(std::size_t) override { return Open(); }
  bool start_array(std::size_t) override { return Open(); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    n_seen_ += 1;
    if (n_seen_ < n_) {
      if (name == name_) has_it_.back() = true;
      return true;
    }
    is_twice = has_it_.back();
    return false;
  }

  bool is_twice = false;

 private:
  bool Open() {
    has_it_.push_back(false);
    return true;
  }
  bool Close() {
    has_it_.pop_back();
    return true;
  }

  const std::int64_t n_;
  const std::string& name_;
  std::int64_t n_seen_ = 0;
  std::vector<bool> has_it_;  // of the open containers
};

using Path = std::span<const std::string>;

class FieldReader final : public JsonEvents {
 public:
  FieldReader(std::string_view text, const std::vector<Path>& paths, const JsonLimits& limits)
      : JsonEvents(limits), found(paths.size()), text_(text) {
    for (const Path path : paths) wanted_.push_back({.path = path});
  }

  bool null() override { return Scalar(nullptr); }
  bool boolean(bool value) override { return Scalar(value); }
  bool Number(Json value) override { return Scalar(std::move(value)); }
  bool string(string_t& value) override { return is_any_next_ ? Scalar(std::move(value)) : true; }
  bool start_object(std::size_t) override {
    if (depth_ == 0) is_object = true;
    return Open(Json::value_t::object);
  }
  bool start_array(std::size_t) override { return Open(Json::value_t::array); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    n_keys_ += 1;
    if (!keys_[depth_ - 1].Add(std::hash<std::string>()(name)) && OccursTwice(name)) {
      return FailTwice(name);
    }
    for (Wanted& one : wanted_) {
      one.is_next = one.depth == depth_ && one.path[one.n_matched] == name;
      is_any_next_ = is_any_next_ || one.is_next;
    }
    return true;
  }

  FoundFields found;
  bool is_object = false;

 private:
  struct Wanted {
    Path path;
    std::size_t n_matched = 0;  // names of the path
    // Of the object with the next name; that of the root is 1. Once it is closed, nothing matches.
    std::size_t depth = 1;
    bool is_next = false;  // the value that comes next has this name
  };

  bool Scalar(Json value) {
    if (!std::exchange(is_any_next_, false)) return true;
    const Json* at = &value;  // or where it has been moved to: it may be large
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      Wanted& one = wanted_[i];
      if (!std::exchange(one.is_next, false)) continue;
      const Path rest = one.path.subspan(one.n_matched + 1);
      if (rest.empty()) {
        found[i] =
            FoundField{.type = at->type(), .value = at == &value ? std::move(value) : Json(*at)};
        at = &found[i]->value;
      } else if (at->is_string()) {
        found[i] = FindInside(at->get_ref<const std::string&>(), rest);
      }
    }
    return true;
  }

  static std::optional<FoundField> FindInside(const std::string& text, Path rest) {
    FieldReader inner(text, {rest}, {});
    if (!ReadJsonEvents(text, inner).ok() || !inner.is_object) return std::nullopt;
    return std::move(inner.found[0]);
  }

  bool Open(Json::value_t type) {
    if (depth_ >= static_cast<std::size_t>(limits().depth_max)) return FailDeep();
    depth_ += 1;
    if (keys_.size() < depth_) keys_.resize(depth_);
    keys_[depth_ - 1].Clear();
    if (!std::exchange(is_any_next_, false)) return true;
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      Wanted& one = wanted_[i];
      if (!std::exchange(one.is_next, false)) continue;
      if (one.n_matched + 1 == one.path.size()) {
        found[i] = FoundField{.type = type};
      } else if (type == Json::value_t::object) {
        one.n_matched += 1;
        one.depth = depth_;
      }
    }
    return true;
  }

  bool Close() {
    for (Wanted& one : wanted_) {
      if (one.depth == depth_) one.depth = 0;
    }
    depth_ -= 1;
    return true;
  }

  // Two keys may have one hash.
  bool OccursTwice(const std::string& name) const {
    KeyRecount recount(limits(), n_keys_, name);
    (void)ReadJsonEvents(text_, recount);  // it ends itself at this key
    return recount.is_twice;
  }

  const std::string_view text_;
  std::vector<Wanted> wanted_;
  std::vector<KeyHashes> keys_;  // of the open containers, and of closed ones
  std::size_t depth_ = 0;        // open containers
  std::int64_t n_keys_ = 0;
  bool is_any_next_ = false;
};

}  // namespace

std::string_view FoundField::TypeName() const { return Json(type).type_name(); }

Result<FoundFields> ReadFields(std::string_view text,
                               const std::vector<std::vector<std::string>>& paths,
                               const JsonLimits& limits) {
  FieldReader reader(text, {paths.begin(), paths.end()}, limits);
  RETURN_IF_ERROR(ReadJsonEvents(text, reader));
  if (!reader.is_object) return Status(Code::kInvalidArgument, "expected a JSON object");
  return std::move(reader.found);
}

bool Matches(const FieldFilter& filter, const std::optional<FoundField>& found) {
  if (!found || found->type == Json::value_t::object || found->type == Json::value_t::array) {
    return false;
  }
  const Json& value = found->value;
  return (value.is_string() ? value.get_ref<const std::string&>() : CanonicalJson(value)) ==
         filter.value;
}

}  // namespace longrun
