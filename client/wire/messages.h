// The coordinator's answers as the client reads them: the classes that protoc generates from
// proto/longrun/v1/sweeps.proto, so that a renamed or retyped field fails to compile.
//
// JSON has only two uses here: `-o json` prints an answer as JSON, and the members whose names end
// in `_json` hold it (a run, its axes, the body of a record).
#pragma once

#include <string>

#include "base/json.h"
#include "longrun/v1/identity.pb.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::client {

// A repeated member of a message.
template <typename T>
using Repeated = google::protobuf::RepeatedPtrField<T>;

// A message with the field names of the .proto file, 64-bit integers as numbers, numbers that are
// not finite as null, and members that end in `_json` as the JSON that they hold (under the name
// without the ending). Every field is present; null stands for an unset `optional` one.
Json ToJson(const google::protobuf::Message& message);

// Each message of a repeated member, as a list.
template <typename T>
Json ToJson(const Repeated<T>& messages) {
  Json list = Json::array();
  for (const T& message : messages) list.push_back(ToJson(message));
  return list;
}

// The content of a member whose name ends in `_json`: null if it is empty, and a string with its
// text if that is not JSON.
Json JsonIn(const std::string& member);

}  // namespace longrun::client
