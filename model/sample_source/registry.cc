// The list of sample sources.
#include "base/check.h"
#include "model/sample_source/source.h"

namespace longrun {

Result<std::unique_ptr<SampleSource>> OpenWindows(const SampleRequest& request);
Result<std::unique_ptr<SampleSource>> OpenDocuments(const SampleRequest& request);

Result<std::unique_ptr<SampleSource>> OpenSampleSource(const SampleRequest& request) {
  switch (request.train.samples) {
    case SampleKind::kWindows:
      return OpenWindows(request);
    case SampleKind::kDocuments:
    case SampleKind::kDocumentsWithBos:
      return OpenDocuments(request);
  }
  LR_CHECK(false);
}

Status ReadPlaces(const TokenSplit& split, std::int64_t begin, std::span<const std::int64_t> places,
                  std::span<std::int32_t> tokens) {
  LR_CHECK(places.size() == tokens.size());
  for (std::size_t first = 0, end = 0; first < places.size(); first = end) {
    do ++end;
    while (end < places.size() && places[end] == places[end - 1] + 1);
    RETURN_IF_ERROR(split.Read(begin + places[first], tokens.subspan(first, end - first)));
  }
  return Status();
}

}  // namespace longrun
