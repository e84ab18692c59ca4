// Inputs of a fuzz target that are Protobuf messages, stored as text: reading, writing, and small
// changes that keep their structure, so that more than Protobuf's parser is reached.
#pragma once

#include <google/protobuf/message.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace longrun {

// The message as text, or as bytes of the wire. False if it is neither.
bool ReadInput(std::string_view bytes, google::protobuf::Message* message);
std::string WriteInput(const google::protobuf::Message& message);

// Changes a few fields at random. `words` are texts that are worth a try in any place.
class MessageMutator {
 public:
  MessageMutator(std::vector<std::string> words, std::uint64_t seed)
      : words_(std::move(words)), random_(seed) {}

  void Mutate(google::protobuf::Message& message);

 private:
  using Field = google::protobuf::FieldDescriptor;
  void ChangeOneOf(google::protobuf::Message& message);
  void Change(google::protobuf::Message& message, const Field* field);
  void ChangeRepeated(google::protobuf::Message& message, const Field* field);
  void Fill(google::protobuf::Message& message);
  std::int64_t Changed(std::int64_t number);
  std::string Changed(std::string text, const Field* field);
  std::string ChangedBytes(std::string text);
  const std::string& Word() { return words_[random_.Below(words_.size())]; }

  std::vector<std::string> words_;
  SeededRandom random_;
};

// LLVMFuzzerCustomMutator for an input of the type of `message`, which is used as room.
std::size_t MutateInput(std::uint8_t* data, std::size_t size, std::size_t size_max, unsigned seed,
                        const std::vector<std::string>& words, google::protobuf::Message* message);

}  // namespace longrun
