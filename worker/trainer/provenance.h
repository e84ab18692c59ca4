// The provenance of a number: the body of a journal's `started` record.
//
//   version, commit, dirty, numerics        of this build; dirty: tracked files were changed
//   compiler, torch, cuda, driver           with which it was built and on which it runs;
//                                           cuda and driver "" without a GPU
//   device {kind, name, memory_bytes}       the device on which it computes
//   execution {..}                          threads, micro-batch, attention, matrix path,
//                                           operators, instruction set, subnormal numbers
//   host {name, system, kernel, cpu, cores, memory_bytes}
//   activation_checkpointing                blocks are computed again in the backward pass
//   parameters, steps, seed
//   dataset {name, digest, tokenizer}, init (sha256 of the checkpoint it starts from, or null)
//   evaluated_dataset {name, digest}        only if the evaluation reads another one
//   initial_weights                         of a training: ParametersSha256 of the run's first
//                                           weights, kept when it is resumed elsewhere;
//                                           null when unknown
//   command [..], environment {..}          of this process;
//                                           variables that may change its behaviour
//   pid
#pragma once

#include <string>

#include "base/json.h"
#include "sweeps/task.h"
#include "worker/trainer/machine.h"

namespace longrun::trainer {

// What can change bits, but is not part of the execution: {version, commit, compiler, torch, cuda,
// driver}, as above.
Json ProgramsOf(const Machine& machine);

Json StartedBody(const TaskFile& task, const Machine& machine, const std::string& initial_weights);

}  // namespace longrun::trainer
