// The database's data about itself: a few rows of table meta, without which no coordinator starts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun::coordinator {

class Connection;

// Writes damaged rows again if their content is known. It is known if the checksum identifies a
// single flipped bit, if it is also stored elsewhere (`id_beside`: the id in the state folder's
// database.id), or if it is only informative. kDataLoss for content that cannot be recovered, such
// as the count of restores. For a connection whose writes do not keep checksums yet.
Status MendMeta(Connection& connection, const std::string& path, const std::string& id_beside,
                std::vector<std::string>& repairs);

// The schema version in table meta, which is stored in addition to the one in the file's header.
// 0 if meta has none.
Result<std::int64_t> SchemaVersionInMeta(Connection& connection);
// Whether meta has neither a row with the schema version nor a damaged row, which may have been it.
Result<bool> IsWithoutSchemaVersion(Connection& connection);
Status PutSchemaVersion(Connection& connection, std::int64_t version);

// The key under which a restore notes its time (wall clock, ms). It stays until the coordinator has
// waited for its workers once.
inline constexpr std::string_view kRestoredKey = "restored_wall_ms";
// The key of State::submitting. There is no row while no submission in parts is in progress.
inline constexpr std::string_view kSubmittingKey = "submitting";
// The key of State::order, as JSON. There is no row while no order takes several steps.
inline constexpr std::string_view kOrderKey = "order";
// nullopt if there is no row.
Result<std::optional<std::string>> MetaValue(Connection& connection, std::string_view key);
// Write a row, and delete it if there is one. For a connection that keeps checksums.
Status PutMeta(Connection& connection, std::string_view key, const std::string& value);
Status DropMeta(Connection& connection, std::string_view key);

}  // namespace longrun::coordinator
