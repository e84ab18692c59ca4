// What the database says of itself: a few rows of table meta, without which nothing starts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace longrun {

class Connection;

// Writes damaged rows anew where what they said is known: a single flipped bit is found by the
// checksum, and some of it stands elsewhere (the id in the state folder's database.id: `id_beside`)
// or only informs. kDataLoss for what cannot be known again, as the count of restores. For a
// connection whose writes do not keep checksums by themselves yet.
Status MendMeta(Connection& connection, const std::string& path, const std::string& id_beside,
                std::vector<std::string>& repairs);

// The schema version as meta has it, beside the one in the file's header: 0 where it has none.
Result<std::int64_t> SchemaVersionInMeta(Connection& connection);
Status PutSchemaVersion(Connection& connection, std::int64_t version);

}  // namespace longrun
