// The verbs around sweeps and the machine: what people say of a sweep, trying again, making room, and
// asking what things mean. As in verb.h: one function a verb, one line in command_line.cc.
#pragma once

#include "client/verb.h"

namespace longrun {

void AddRetry(Verbs& verbs);
void AddLabel(Verbs& verbs);
void AddNote(Verbs& verbs);
void AddGc(Verbs& verbs);
void AddExplain(Verbs& verbs);
void AddSchema(Verbs& verbs);
void AddDoctor(Verbs& verbs);
void AddCompletion(Verbs& verbs);

}  // namespace longrun
