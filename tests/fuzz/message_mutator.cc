// See message_mutator.h.
#include "tests/fuzz/message_mutator.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/json.h"
#include "base/str.h"

namespace longrun {
namespace {

using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::TextFormat;

constexpr std::size_t kTextBytesMax = 20'000;  // larger than every limit of a text but a line's
constexpr int kElementsMax = 600;              // more records than a batch may have

constexpr std::int64_t kNumbers[] = {0,
                                     1,
                                     -1,
                                     2,
                                     3,
                                     16,
                                     64,
                                     128,
                                     255,
                                     512,
                                     513,
                                     1000,
                                     4096,
                                     65'536,
                                     1'000'000,
                                     std::numeric_limits<std::int32_t>::max(),
                                     std::numeric_limits<std::int32_t>::min(),
                                     std::int64_t{1} << 40,
                                     std::int64_t{1} << 56,
                                     (std::int64_t{1} << 56) + 1,
                                     std::int64_t{1} << 62,
                                     std::numeric_limits<std::int64_t>::max() - 1,
                                     std::numeric_limits<std::int64_t>::max(),
                                     std::numeric_limits<std::int64_t>::min()};

class Silent final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int, google::protobuf::io::ColumnNumber, const std::string&) override {}
};

void Collect(Message* message, std::vector<Message*>& all) {
  all.push_back(message);
  const Reflection& access = *message->GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  access.ListFields(*message, &fields);
  for (const auto* const field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      Collect(access.MutableMessage(message, field), all);
      continue;
    }
    for (int i = 0; i < access.FieldSize(*message, field); ++i) {
      Collect(access.MutableRepeatedMessage(message, field, i), all);
    }
  }
}

// A value somewhere in the document, reached from the root by chance.
Json& AnyIn(Json& root, SeededRandom& random) {
  Json* at = &root;
  while (at->is_structured() && !at->empty() && !random.Chance(0.2)) {
    at = &*std::next(at->begin(), static_cast<std::ptrdiff_t>(random.Below(at->size())));
  }
  return *at;
}

}  // namespace

bool ReadInput(std::string_view bytes, Message* message) {
  TextFormat::Parser parser;
  Silent silent;
  parser.RecordErrorsTo(&silent);
  // Text may have strings that are not UTF-8, which no message on the wire can have.
  if (parser.ParseFromString(std::string(bytes), message)) {
    return message->ParseFromString(message->SerializeAsString());
  }
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

std::string WriteInput(const Message& message) {
  std::string text;
  LR_CHECK(TextFormat::PrintToString(message, &text));
  return text;
}

void MessageMutator::Mutate(Message& message) {
  const std::uint64_t n_changes = 1 + random_.Below(3);
  for (std::uint64_t i = 0; i < n_changes; ++i) {
    std::vector<Message*> all;
    Collect(&message, all);
    Message* const one = all[random_.Below(all.size())];
    if (!random_.Chance(0.15)) {
      ChangeOneOf(*one);
      continue;
    }
    // The content of another message of its type.
    std::erase_if(all, [&](const Message* other) {
      return other == one || other->GetDescriptor() != one->GetDescriptor();
    });
    if (!all.empty()) one->CopyFrom(*all[random_.Below(all.size())]);
  }
}

void MessageMutator::ChangeOneOf(Message& message) {
  const int n_fields = message.GetDescriptor()->field_count();
  if (n_fields == 0) return;
  const auto at = static_cast<int>(random_.Below(static_cast<std::uint64_t>(n_fields)));
  Change(message, message.GetDescriptor()->field(at));
}

void MessageMutator::Fill(Message& message) {
  const std::uint64_t n_fields = random_.Below(5);
  for (std::uint64_t i = 0; i < n_fields; ++i) ChangeOneOf(message);
}

void MessageMutator::ChangeRepeated(Message& message, const Field* field) {
  const Reflection& access = *message.GetReflection();
  const int n = access.FieldSize(message, field);
  const auto any = [&] {
    return static_cast<int>(random_.Below(static_cast<std::uint64_t>(std::max(n, 1))));
  };
  const bool is_message = field->cpp_type() == Field::CPPTYPE_MESSAGE;
  const std::uint64_t action = random_.Below(8);
  if (n > 0 && action == 0) return access.RemoveLast(&message, field);
  if (n > 1 && action == 1) return access.SwapElements(&message, field, any(), any());
  if (n > 0 && action == 2 && is_message) {  // many
    const auto n_more = static_cast<int>(random_.Below(kElementsMax));
    const int at = any();
    for (int i = 0; i < n_more && n + i < kElementsMax; ++i) {
      Message* const added = access.AddMessage(&message, field);
      added->CopyFrom(access.GetRepeatedMessage(message, field, at));
    }
    return;
  }
  if (is_message) {
    if (n > 0 && action < 6) {
      return ChangeOneOf(*access.MutableRepeatedMessage(&message, field, any()));
    }
    Message* const added = access.AddMessage(&message, field);
    if (n > 0 && action == 6) {
      added->CopyFrom(access.GetRepeatedMessage(message, field, any()));
    } else {
      Fill(*added);
    }
    return;
  }
  const bool adds = n == 0 || action >= 6;
  const int at = any();
  switch (field->cpp_type()) {
    case Field::CPPTYPE_STRING: {
      const std::string old = n == 0 ? "" : access.GetRepeatedString(message, field, at);
      const std::string text = adds && random_.Chance(0.5) ? old : Changed(old, field);
      return adds ? access.AddString(&message, field, text)
                  : access.SetRepeatedString(&message, field, at, text);
    }
    case Field::CPPTYPE_INT64: {
      const std::int64_t number = Changed(n == 0 ? 0 : access.GetRepeatedInt64(message, field, at));
      return adds ? access.AddInt64(&message, field, number)
                  : access.SetRepeatedInt64(&message, field, at, number);
    }
    default:
      return;  // our messages have no others
  }
}

void MessageMutator::Change(Message& message, const Field* field) {
  if (field->is_repeated()) return ChangeRepeated(message, field);
  const Reflection& access = *message.GetReflection();
  if (access.HasField(message, field) && random_.Chance(0.1)) {
    return access.ClearField(&message, field);
  }
  switch (field->cpp_type()) {
    case Field::CPPTYPE_MESSAGE: {
      const bool is_new = !access.HasField(message, field);
      Message* const inner = access.MutableMessage(&message, field);
      return is_new ? Fill(*inner) : ChangeOneOf(*inner);
    }
    case Field::CPPTYPE_STRING:
      return access.SetString(&message, field, Changed(access.GetString(message, field), field));
    case Field::CPPTYPE_BOOL:
      return access.SetBool(&message, field, !access.GetBool(message, field));
    case Field::CPPTYPE_ENUM: {
      const auto* const type = field->enum_type();
      const auto at =
          static_cast<int>(random_.Below(static_cast<std::uint64_t>(type->value_count())));
      return access.SetEnum(&message, field, type->value(at));
    }
    case Field::CPPTYPE_INT32:
      return access.SetInt32(&message, field,
                             static_cast<std::int32_t>(Changed(access.GetInt32(message, field))));
    case Field::CPPTYPE_UINT32:
      return access.SetUInt32(
          &message, field, static_cast<std::uint32_t>(Changed(access.GetUInt32(message, field))));
    case Field::CPPTYPE_INT64:
      return access.SetInt64(&message, field, Changed(access.GetInt64(message, field)));
    case Field::CPPTYPE_UINT64: {
      const auto old = static_cast<std::int64_t>(access.GetUInt64(message, field));
      return access.SetUInt64(&message, field, static_cast<std::uint64_t>(Changed(old)));
    }
    case Field::CPPTYPE_DOUBLE:
      return access.SetDouble(&message, field, static_cast<double>(Changed(0)) / 3);
    case Field::CPPTYPE_FLOAT:
      return access.SetFloat(&message, field, static_cast<float>(Changed(0)) / 3);
  }
}

std::int64_t MessageMutator::Changed(std::int64_t number) {
  const std::uint64_t action = random_.Below(4);
  if (action == 0) return static_cast<std::int64_t>(random_.Next() >> random_.Below(64));
  if (action == 1) return kNumbers[random_.Below(std::size(kNumbers))];
  // Unsigned, so that it cannot overflow.
  const std::uint64_t by = action == 2 ? 1 + random_.Below(3) : ~random_.Below(3);
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(number) + by);
}

std::string MessageMutator::Changed(std::string text, const Field* field) {
  if (text.starts_with('{') && random_.Chance(0.7)) {
    Result<Json> json = ParseJson(text);
    if (json.ok()) {
      Json& value = AnyIn(*json, random_);
      switch (random_.Below(6)) {
        case 0:
          value = Word();
          break;
        case 1:
          value = nullptr;
          break;
        case 2:
          value = static_cast<double>(Changed(0)) / 3;
          break;
        case 3:
          if (const Json copy = AnyIn(*json, random_); value.is_array()) {
            value.push_back(copy);
          } else if (value.is_object()) {
            value[Word()] = copy;
          }
          break;
        case 4:
          if (value.is_structured() && !value.empty()) {
            value.erase(
                std::next(value.begin(), static_cast<std::ptrdiff_t>(random_.Below(value.size()))));
          }
          break;
        default:
          value = Changed(value.is_number_integer() ? value.get<std::int64_t>() : 0);
      }
      std::string changed = ToUtf8(json->dump(-1, ' ', false, Json::error_handler_t::replace));
      if (changed.size() <= kTextBytesMax) return changed;
    }
  }
  text = ChangedBytes(std::move(text));
  if (text.size() > kTextBytesMax) text.resize(kTextBytesMax);
  return field->type() == Field::TYPE_BYTES ? text : ToUtf8(text);
}

std::string MessageMutator::ChangedBytes(std::string text) {
  const std::size_t at = random_.Below(text.size() + 1);
  switch (random_.Below(8)) {
    case 0:
    case 1:
      return Word();
    case 2:
      return text.insert(at, Word());
    case 3:
      return text.erase(at, 1 + random_.Below(8));
    case 4:
      return text.insert(at, text.substr(at, 1 + random_.Below(32)));
    case 5:
      if (at < text.size()) text[at] = static_cast<char>(random_.Below(256));
      return text;
    case 6: {
      const std::string part = text.empty() ? std::string("a") : text.substr(0, 64);
      for (std::uint64_t n = random_.Below(300); n > 0; --n) text += part;
      return text;
    }
    default:
      return text.substr(0, at);
  }
}

std::size_t MutateInput(std::uint8_t* data, std::size_t size, std::size_t size_max, unsigned seed,
                        const std::vector<std::string>& words, Message* message) {
  if (!ReadInput({reinterpret_cast<const char*>(data), size}, message)) message->Clear();
  MessageMutator(words, seed).Mutate(*message);
  const std::string text = WriteInput(*message);
  if (text.size() > size_max) return size;  // unchanged
  std::memcpy(data, text.data(), text.size());
  return text.size();
}

}  // namespace longrun
