// Journal records with their bodies as JSON, for tests of members that no program reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "sweeps/event.h"

namespace longrun {

struct JsonRecord {
  RecordKind kind = RecordKind::kAttempt;
  std::optional<std::int64_t> step;
  Json body;
};

// The records that a journal has so far, as far as it can be read.
inline std::vector<JsonRecord> ReadJsonJournal(const std::string& path) {
  JournalReader reader(path);
  std::vector<JsonRecord> records;
  while (true) {
    const auto lines = reader.Next(1000, 1 << 20);
    if (!lines || lines->empty()) return records;
    for (const auto& line : *lines) {
      Json json = ParseJson(line.bytes).value();
      records.push_back(
          {.kind = line.record.kind, .step = line.record.step, .body = std::move(json.at("body"))});
    }
  }
}

}  // namespace longrun
