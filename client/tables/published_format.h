// The output forms of a comparison with published numbers: `longrun table SWEEP --published NAME`.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "client/tables/published.h"

namespace longrun::client {

// "table", "markdown", "json", "csv".
std::vector<std::string> PublishedFormatNames();

// kInvalidArgument for a form of other tables that this one does not have.
Status CheckPublishedFormat(const std::string& name);

// `name` is one of PublishedFormatNames().
std::string RenderPublished(const PublishedComparison& comparison, const std::string& name);

}  // namespace longrun::client
