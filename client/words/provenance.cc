#include "client/words/provenance.h"

#include <cstdint>
#include <utility>

#include "base/str.h"
#include "base/units.h"

namespace longrun::client {
namespace {

std::string TextOf(const Json& object, const char* key) {
  const auto member = object.is_object() ? object.find(key) : object.end();
  if (member == object.end() || member->is_null()) return "";
  return member->is_string() ? member->get<std::string>() : CanonicalJson(*member);
}

Json ObjectOf(const Json& object, const char* key) {
  const auto member = object.find(key);
  return member != object.end() && member->is_object() ? *member : Json::object();
}

std::string BytesOf(const Json& object, const char* key) {
  const auto member = object.find(key);
  if (member == object.end() || !member->is_number_integer()) return "";
  return FormatBytes(member->get<std::int64_t>());
}

// Joins the parts that are not empty, each after its prefix: {"commit ", "3f2a"} -> "commit 3f2a".
class Parts {
 public:
  Parts& Add(const std::string& value, std::string_view before = "", std::string_view after = "") {
    if (!value.empty()) parts_.push_back(Str(before, value, after));
    return *this;
  }
  std::string Text() const { return Join(parts_, ", "); }

 private:
  std::vector<std::string> parts_;
};

}  // namespace

std::vector<ProvenanceLine> ProvenanceOf(const Json& started) {
  std::vector<ProvenanceLine> lines;
  if (!started.is_object()) return lines;
  const auto add = [&](const char* name, const std::string& text) {
    if (!text.empty()) lines.emplace_back(name, text);
  };
  const Json device = ObjectOf(started, "device");
  const Json host = ObjectOf(started, "host");
  const Json execution = ObjectOf(started, "execution");
  const Json paths = ObjectOf(execution, "paths");
  const Json dataset = ObjectOf(started, "dataset");
  Parts release;
  release.Add(TextOf(started, "version")).Add(TextOf(started, "commit"), "commit ");
  if (started.value("dirty", Json(false)) == true) release.Add("tracked files changed");
  add("longrun", release.Add(TextOf(started, "numerics"), "numerics ").Text());
  add("built with", Parts()
                        .Add(TextOf(started, "compiler"))
                        .Add(TextOf(started, "torch"), "LibTorch ")
                        .Add(TextOf(started, "cuda"), "CUDA ")
                        .Add(TextOf(started, "driver"), "driver ")
                        .Text());
  add("device", Parts()
                    .Add(TextOf(device, "kind"))
                    .Add(TextOf(device, "name"))
                    .Add(BytesOf(device, "memory_bytes"))
                    .Text());
  add("carried out", Parts()
                         .Add(TextOf(execution, "threads"), "threads ")
                         .Add(TextOf(execution, "micro_batch"), "micro-batch ")
                         .Add(TextOf(paths, "attention"), "attention ")
                         .Add(TextOf(paths, "linear"), "matrices ")
                         .Add(TextOf(paths, "operators"), "operators ")
                         .Add(TextOf(paths, "simd"), "instructions ")
                         .Add(TextOf(paths, "subnormals"), "subnormals ")
                         .Add(TextOf(paths, "bf16"), "bf16 ")
                         .Add(TextOf(paths, "head"), "chunks of logits by ")
                         .Text());
  add("host", Parts()
                  .Add(TextOf(host, "name"))
                  .Add(TextOf(host, "system"))
                  .Add(TextOf(host, "kernel"))
                  .Add(TextOf(host, "cpu"))
                  .Add(TextOf(host, "cores"), "", " cores")
                  .Add(BytesOf(host, "memory_bytes"))
                  .Text());
  add("dataset", Parts()
                     .Add(TextOf(dataset, "name"))
                     .Add(TextOf(dataset, "digest"), "digest ")
                     .Add(TextOf(dataset, "tokenizer"), "tokenizer ")
                     .Text());
  add("seed", TextOf(started, "seed"));
  add("initial weights", TextOf(started, "initial_weights"));
  add("parameters", TextOf(started, "parameters"));
  Parts environment;
  const Json variables = ObjectOf(started, "environment");
  for (const auto& [name, value] : variables.items()) {
    environment.Add(Str(name, "=", value.is_string() ? value.get<std::string>() : ""));
  }
  add("environment", environment.Text());
  return lines;
}

Json StartedOf(const v1::RunInfo& run) {
  Json found;
  for (const v1::TaskInfo& task : run.tasks()) {
    if (task.kind() != "train") continue;
    for (const v1::AttemptInfo& attempt : task.attempt_list()) {
      Json started = JsonIn(attempt.started_json());
      if (!started.is_object()) continue;
      found = std::move(started);
      if (attempt.state() == "SUCCEEDED") return found;
    }
  }
  return found;
}

}  // namespace longrun::client
