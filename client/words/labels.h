// Labels as text.
#pragma once

#include <string>

#include "client/wire/messages.h"

namespace longrun::client {

// "suite=long,team=nlp".
std::string LabelsText(const Repeated<v1::Label>& labels);

}  // namespace longrun::client
