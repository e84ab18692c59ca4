// longrun data inspect and longrun data verify: describe a dataset, and check that it is undamaged.
#include <algorithm>
#include <cstdio>
#include <string_view>

#include "base/files.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/words/datasets.h"
#include "client/words/render.h"
#include "model/data/dataset.h"
#include "model/data/inspect.h"
#include "model/data/manifest.h"

namespace longrun::client {
namespace {

std::string Count(const Json& number) { return FormatCount(number.get<std::int64_t>()); }

std::string ShareText(const Json& share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.1f%%", 100.0 * share.get<double>());
  return text;
}

std::string SplitTable(const Json& splits) {
  std::vector<std::vector<std::string>> rows;
  rows.reserve(splits.size());
  for (const Json& split : splits) {
    const Json& lengths = split.at("document_tokens");
    rows.push_back(
        {split.at("name").get<std::string>(), Count(split.at("n_tokens")),
         Count(split.at("n_documents")), FormatBytes(split.at("text_bytes").get<std::int64_t>()),
         Count(split.at("n_shards")), Count(lengths.at("min")), Count(lengths.at("median")),
         Count(lengths.at("p90")), Count(lengths.at("max"))});
  }
  std::vector<Align> align(9, Align::kRight);
  align[0] = Align::kLeft;
  return RenderColumns(
      {"split", "tokens", "documents", "text", "shards", "shortest", "median", "p90", "longest"},
      align, rows);
}

// Whether every document of every split has at least 2^i tokens.
bool AllReach(const Json& splits, std::size_t i) {
  return std::ranges::all_of(splits, [&](const Json& split) {
    const Json& reach = split.at("documents_of_at_least");
    return i < reach.size() && reach[i].at("documents") == split.at("n_documents");
  });
}

// A line for each power of two that tells documents apart, and for the largest that all reach.
std::string ReachTable(const Json& splits) {
  std::vector<std::string> header = {"tokens"};
  std::size_t n_rows = 0;
  for (const Json& split : splits) {
    header.push_back(split.at("name").get<std::string>());
    header.emplace_back("of tokens");
    n_rows = std::max(n_rows, split.at("documents_of_at_least").size());
  }
  std::size_t first = 0;
  while (first + 1 < n_rows && AllReach(splits, first + 1)) ++first;
  std::vector<std::vector<std::string>> rows;
  rows.reserve(n_rows - first);
  for (std::size_t i = first; i < n_rows; ++i) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(Str(std::int64_t{1} << i));
    for (const Json& split : splits) {
      const Json& reach = split.at("documents_of_at_least");
      row.push_back(i < reach.size() ? Count(reach[i].at("documents")) : "0");
      row.push_back(i < reach.size() ? ShareText(reach[i].at("share_of_tokens")) : "");
    }
  }
  return RenderColumns(header, std::vector<Align>(header.size(), Align::kRight), rows);
}

// The sample on one line: line ends as \r and \n, other control characters as spaces.
std::string SampleLine(std::string_view sample) {
  std::string line;
  for (const char c : sample) {
    const bool is_control = static_cast<unsigned char>(c) < ' ' || c == '\x7f';
    if (c == '\r') {
      line += "\\r";
    } else {
      line += is_control && c != '\n' ? ' ' : c;
    }
  }
  return OneLine(line);
}

// Whether a sample has line ends other than \n, which models learn like any other text.
bool HasReturns(const Json& splits) {
  return std::ranges::any_of(splits, [](const Json& split) {
    return split.at("sample").is_string() &&
           split.at("sample").get_ref<const std::string&>().find('\r') != std::string::npos;
  });
}

int Inspect(const std::string& dataset, const std::string& output, const std::string& state) {
  const Result<std::string> folder = FindDataset(dataset, state);
  if (!folder.ok()) return Report(folder.status());
  const Result<Json> facts = InspectDataset(*folder);
  if (!facts.ok()) return Report(facts.status());
  if (output == "json") {
    Print(RenderJson(*facts));
    return kExitOk;
  }
  const Json& tokenizer = facts->at("tokenizer");
  std::string text = Str("digest     ", facts->at("digest").get<std::string>(), "\nfolder     ",
                         *folder, "\ntokenizer  ", tokenizer.value("name", std::string("?")), ", ",
                         Count(facts->at("vocab_size")), " rows\npacking    ",
                         CanonicalJson(facts->at("packing")), "\n");
  if (facts->at("split").is_object()) {
    text += Str("split      ", CanonicalJson(facts->at("split")), "\n");
  }
  const Json& splits = facts->at("splits");
  text += Str("\n", SplitTable(splits), "\ndocuments with at least this many tokens\n",
              ReachTable(splits), "\n");
  for (const Json& split : splits) {
    const bool has = split.at("sample").is_string();
    text += Str(split.at("name").get<std::string>(), ": ",
                has ? SampleLine(split.at("sample").get<std::string>())
                    : Str("no sample: ", split.value("sample_error", std::string())),
                "\n");
  }
  Print(text);
  if (HasReturns(splits)) {
    SayLine(
        "the text has line ends \\r\\n or \\r: `longrun data import` with `--newline universal` "
        "makes "
        "\\n of them, as Python does when it reads a text");
  }
  return kExitOk;
}

struct Verified {
  std::string digest;
  bool is_sealed = false;
};

// With `seals`, a manifest that lacks a digest of itself gets one if everything else is intact.
Result<Verified> VerifyDataset(const std::string& folder, bool seals) {
  ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(folder));
  RETURN_IF_ERROR(dataset.Verify());
  ASSIGN_OR_RETURN(const Json manifest, ReadManifestJson(folder));
  Verified verified = {.digest = dataset.digest(), .is_sealed = IsSealed(manifest)};
  if (verified.is_sealed || !seals) return verified;
  RETURN_IF_ERROR(SealManifest(folder));
  verified.is_sealed = true;
  return verified;
}

int Verify(const std::string& name, bool seals, const std::string& output,
           const std::string& state) {
  const Result<std::string> folder = FindDataset(name, state);
  if (!folder.ok()) return Report(folder.status());
  const Result<Verified> verified = VerifyDataset(*folder, seals);
  if (!verified.ok()) {
    if (output == "json") {
      Print(RenderJson(
          {{"folder", *folder}, {"holds", false}, {"error", verified.status().message()}}));
    }
    return Report(verified.status());
  }
  if (output == "json") {
    Print(RenderJson({{"folder", *folder},
                      {"digest", verified->digest},
                      {"holds", true},
                      {"sealed", verified->is_sealed}}));
  } else {
    Print(Str(name, " is intact: ", verified->digest, "\n"));
  }
  if (!verified->is_sealed) {
    SayLine(Str(JoinPath(*folder, kManifestName),
                " was written by an earlier release and has no digest of its own: damage to its "
                "entries for sources, packing and the tokenizer's name would not be noticed; "
                "`longrun data verify ",
                name, " --seal` adds the digest"));
  }
  return kExitOk;
}

// NAME|FOLDER
std::shared_ptr<std::string> AddDataset(Verb& verb) {
  auto dataset = std::make_shared<std::string>();
  verb.AddArgument("DATASET", *dataset, "a name or a folder").Required();
  return dataset;
}

}  // namespace

void AddDataInspect(Verbs& verbs, Verb& data) {
  Verb verb = data.AddVerb("inspect", "show tokens, documents, their lengths and a sample");
  verb.AddExamples({"longrun data inspect mybook"});
  const auto dataset = AddDataset(verb);
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, dataset, output] { return Inspect(*dataset, *output, verbs.state); });
}

void AddDataVerify(Verbs& verbs, Verb& data) {
  Verb verb = data.AddVerb("verify", "compare every byte with the hashes of the manifest");
  verb.AddExamples({"longrun data verify mybook", "longrun data verify mybook --seal"});
  const auto dataset = AddDataset(verb);
  const auto seals = std::make_shared<bool>(false);
  verb.AddFlag("--seal", *seals,
               "if everything is right, add the manifest's own digest, which earlier releases "
               "did not write");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun(
      [&verbs, dataset, seals, output] { return Verify(*dataset, *seals, *output, verbs.state); });
}

}  // namespace longrun::client
