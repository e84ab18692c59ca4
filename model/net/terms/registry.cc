// The list of terms. The order is that of the sums: content positions read the scores with all
// other terms in them, hidden keys included.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "model/net/terms/term.h"

namespace longrun {

// Each returns null if the method has no such term.
using TermMaker = std::unique_ptr<AttentionTerm>(const TermSpec&, const AttentionShape&,
                                                 const Compute&);
TermMaker MakeGate;
TermMaker MakeSlopeAndMask;
TermMaker MakeDistance;
TermMaker MakeNetwork;
TermMaker MakeContent;

std::vector<std::unique_ptr<AttentionTerm>> MakeTerms(const TermSpec& spec,
                                                      const AttentionShape& shape,
                                                      const Compute& compute) {
  static constexpr std::array kMakers = {
      &MakeGate, &MakeSlopeAndMask, &MakeDistance, &MakeNetwork, &MakeContent,
  };
  std::vector<std::unique_ptr<AttentionTerm>> terms;
  for (TermMaker* const make : kMakers) {
    if (auto term = make(spec, shape, compute)) terms.push_back(std::move(term));
  }
  return terms;
}

LearnedPlaces PlacesOf(const TermSpec& spec, const std::vector<std::string>& names) {
  LearnedPlaces places;
  for (const std::string& name : names) {
    const auto at = std::ranges::find(spec.learned, name, &LearnedTensor::name);
    LR_CHECK(at != spec.learned.end());
    places.push_back(static_cast<std::size_t>(at - spec.learned.begin()));
  }
  return places;
}

AttentionTerm::Tensors LearnedAt(const LearnedPlaces& places, const TermCall& call) {
  AttentionTerm::Tensors tensors;
  tensors.reserve(places.size());
  for (const std::size_t place : places) tensors.push_back(call.learned[place]);
  return tensors;
}

}  // namespace longrun
