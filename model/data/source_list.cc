#include "model/data/source_list.h"

#include <dirent.h>
#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/data/manifest.h"
#include "model/data/source/stream.h"

namespace longrun {
namespace {

constexpr int kPartVersion = 1;  // of a part's content: a new number makes every part again

Status Invalid(const std::string& message) { return Status(Code::kInvalidArgument, message); }

std::string InFolder(const std::string& folder, const std::string& path) {
  return folder.empty() || path.starts_with("/") ? path : JoinPath(folder, path);
}

Status CheckSplits(const PrepareSpec& spec) {
  if (spec.files.empty()) {
    return Invalid("there is no split to import: name at least one of train, validation, test");
  }
  std::set<std::string> seen;
  for (const auto& [name, files] : spec.files) {
    const std::string shown = name.empty() ? "the source" : Str("split ", name);
    const bool known = std::ranges::find(kSplitNames, name) != kSplitNames.end();
    if (spec.split.by == SplitRule::By::kFiles && !known) {
      return Invalid(Str("unknown split \"", name, "\": choose train, validation or test"));
    }
    if (!seen.insert(name).second) return Invalid(Str(shown, " is given twice"));
    if (files.empty()) {
      return Invalid(Str(shown, " has no files: list at least one, or leave it out"));
    }
  }
  return Status();
}

// The matches of a pattern, in no order; an existing file of exactly that name is the only match.
Result<std::vector<std::string>> Matches(const std::string& pattern, const std::string& shown) {
  if (PathExists(pattern)) return std::vector<std::string>{pattern};
  if (shown.find_first_of("*?[") == std::string::npos) {
    return std::vector<std::string>{pattern};  // missing: reported with its split
  }
  glob_t found{};
  const int code = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
  std::vector<std::string> paths;
  paths.reserve(found.gl_pathc);
  for (std::size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
  ::globfree(&found);
  if (code != 0 || paths.empty()) {
    return Status(Code::kNotFound, Str("no file matches \"", shown, "\""));
  }
  return paths;
}

// In the order in which readdir lists each folder's names; the folders in byte order.
std::vector<std::string> AsFoldersList(const std::vector<std::string>& paths) {
  std::map<std::string, std::set<std::string>> names_of;
  for (const std::string& path : paths) names_of[FolderOf(path)].insert(BaseName(path));
  std::vector<std::string> listed;
  listed.reserve(paths.size());
  for (const auto& [folder, names] : names_of) {
    DIR* const open = ::opendir(folder.c_str());
    if (open == nullptr) continue;
    while (const dirent* const entry = ::readdir(open)) {
      if (names.contains(entry->d_name)) listed.push_back(JoinPath(folder, entry->d_name));
    }
    ::closedir(open);
  }
  return listed;
}

std::vector<std::string> Expand(const PrepareSpec& spec, const std::vector<std::string>& patterns,
                                ErrorList& errors) {
  std::vector<std::string> all;
  for (const std::string& pattern : patterns) {
    std::vector<std::string> paths;
    if (!errors.Take(Matches(InFolder(spec.base_folder, pattern), pattern), paths)) continue;
    if (spec.packing.order == Packing::Order::kListed && paths.size() > 1) {
      paths = AsFoldersList(paths);
    } else {
      std::ranges::sort(paths);
    }
    all.insert(all.end(), paths.begin(), paths.end());
  }
  if (spec.packing.order == Packing::Order::kSorted) std::ranges::sort(all);
  return all;
}

// The file's size, and facts that show whether it has changed.
Result<Json> Stamp(const std::string& path, const std::string& name, std::int64_t& bytes) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot read ", name));
  if (!S_ISREG(info.st_mode)) {
    return Invalid(
        S_ISDIR(info.st_mode)
            ? Str(name, " is a folder: name the files in it, as in '", JoinPath(path, "*.txt"), "'")
            : Str(name, " is not a regular file: list the files themselves"));
  }
  bytes += info.st_size;
  return Json{{"device", info.st_dev},
              {"file", info.st_ino},
              {"bytes", info.st_size},
              {"seconds", info.st_mtim.tv_sec},
              {"nanoseconds", info.st_mtim.tv_nsec}};
}

// Everything except the file that determines the content of a part.
Json Settings(const PrepareSpec& spec, const std::string& tokenizer_fingerprint) {
  Json packing = spec.packing.ToJson();
  packing.erase("order");
  Json settings = {{"version", kPartVersion},
                   {"tokenizer", tokenizer_fingerprint},
                   {"source", spec.source.ToJson()},
                   {"separator", Sha256Hex(spec.source.separator.value_or(""))},
                   {"packing", std::move(packing)},
                   {"join", Sha256Hex(spec.packing.join.value_or(""))}};
  if (!spec.mix.empty()) settings["mix"] = spec.mix.ToJson();
  return settings;
}

// A file that is read in the wrong format may give a dataset without an error: any file in UTF-8 is
// a text. A name without a known ending may be of any format.
Status CheckGuessed(const PrepareSpec& spec, const ListedSource& source) {
  const bool is_json = WithoutCompression(source.path).ends_with(".json");
  if (spec.format_is_guessed && is_json && spec.source.format == "text") {
    return Invalid(Str(source.Name(),
                       " may hold JSON lines, or be one text: say which with "
                       "--format jsonl or --format text"));
  }
  const std::string_view named = NamedSourceFormat(source.path);
  if (!spec.format_is_guessed || named == spec.source.format || named.empty()) return Status();
  return Invalid(Str(source.Name(), " has the name of a file in format ", named, ", but ",
                     spec.source.format,
                     " was guessed from the first name in --train: import files of one format, and "
                     "say which with --format ",
                     named, " or --format ", spec.source.format));
}

Status CompleteSource(const SourceFormat& format, const Json& settings, ListedSource& source) {
  ASSIGN_OR_RETURN(const std::string absolute, AbsolutePath(source.path));
  ASSIGN_OR_RETURN(Json stamp, Stamp(source.path, source.Name(), source.bytes));
  if (source.bytes == 0) {
    return Invalid(Str(source.Name(), " is empty: a document needs text"));
  }
  Json stamps = Json::array({std::move(stamp)});
  if (format.sister != nullptr) {
    const std::string sister = format.sister(source.path);
    ASSIGN_OR_RETURN(Json of_sister,
                     Stamp(sister, Str(sister, ", which goes with ", source.Name()), source.bytes));
    stamps.push_back(std::move(of_sister));
  }
  if (format.made_bytes != nullptr) source.made_bytes = format.made_bytes(source.path);
  source.bytes += source.made_bytes;
  source.key = Sha256Hex(CanonicalJson({{"settings", settings},
                                        {"path", ToUtf8(absolute)},
                                        {"files", std::move(stamps)}}))
                   .substr(0, 32);
  return Status();
}

}  // namespace

std::string ListedSource::Name() const {
  return split.empty() ? shown : Str(shown, " (split ", split, ")");
}

Result<std::vector<ListedSource>> ListSources(const PrepareSpec& spec, const SourceFormat& format,
                                              const std::string& tokenizer_fingerprint) {
  RETURN_IF_ERROR(CheckSplits(spec));
  Json settings = Settings(spec, tokenizer_fingerprint);
  const std::string base = spec.base_folder.empty() ? "" : JoinPath(spec.base_folder, "");
  std::vector<ListedSource> sources;
  ErrorList errors;
  std::map<std::string, std::string> split_of_path;  // by absolute path
  std::vector<std::string_view> order = {""};
  order.insert(order.end(), kSplitNames.begin(), kSplitNames.end());
  for (const std::string_view name : order) {
    const auto listed = std::ranges::find(
        spec.files, name, [](const auto& entry) { return std::string_view(entry.first); });
    if (listed == spec.files.end()) continue;
    ErrorList of_patterns;
    const std::vector<std::string> paths = Expand(spec, listed->second, of_patterns);
    for (const Status& error : of_patterns.all()) {
      errors.Add(name.empty() ? error : Status(error).In(Str("split ", name)));
    }
    for (const std::string& path : paths) {
      // What is mixed in depends on the file's number.
      if (!spec.mix.empty()) settings["mix"]["split"] = {name, sources.size()};
      ListedSource source = {.path = path, .shown = path, .split = std::string(name)};
      if (!base.empty() && path.starts_with(base)) source.shown = path.substr(base.size());
      ASSIGN_OR_RETURN(const std::string absolute, AbsolutePath(path));
      if (const auto [at, fresh] = split_of_path.emplace(absolute, source.split); !fresh) {
        const char* const remedy = at->second == name
                                       ? "list it once"
                                       : "list it in one of them; to evaluate on training text, "
                                         "list a copy of the file and add --allow-overlap";
        const std::string where = name.empty() ? ": "
                                  : at->second == name
                                      ? Str(" in split ", name, ": ")
                                      : Str(", in split ", at->second, " and in split ", name,
                                            ": a document belongs in one place; ");
        errors.Add(Invalid(Str(source.shown, " is listed twice", where, remedy)));
      } else if (errors.Add(CheckGuessed(spec, source)) &&
                 errors.Add(CompleteSource(format, settings, source))) {
        sources.push_back(std::move(source));
      }
    }
  }
  RETURN_IF_ERROR(Together(errors));
  return sources;
}

Status Together(const ErrorList& of_files) {
  const std::vector<Status>& all = of_files.all();
  if (all.size() <= 1) return of_files.First();
  std::string message = Str(all.size(), " files cannot be imported:");
  for (std::size_t i = 0; i < std::min(all.size(), kFileErrorsMax); ++i) {
    StrAppend(message, Str("\n  ", all[i].message()));
  }
  if (all.size() > kFileErrorsMax) {
    StrAppend(message, Str("\n  and ", all.size() - kFileErrorsMax, " more"));
  }
  return Status(all[0].code(), message);
}

std::string FirstMatch(const std::string& pattern) {
  const Result<std::vector<std::string>> matches = Matches(pattern, pattern);
  return matches.ok() ? *std::ranges::min_element(*matches) : pattern;
}

}  // namespace longrun
