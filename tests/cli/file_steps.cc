// See file_steps.h.
#include "tests/cli/file_steps.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "coordinator/store/sqlite.h"

namespace longrun {
namespace {

using Lines = std::vector<std::string>;
using Words = std::vector<std::string>;

constexpr int kRemoveTries = 1000;

std::string Word(const Words& words, std::size_t i) { return i < words.size() ? words[i] : ""; }
std::int64_t Number(const Words& words, std::size_t i) {
  return std::atoll(Word(words, i).c_str());
}

std::string PathOf(const std::string& folder, const std::string& name) {
  return name.starts_with('/') ? name : JoinPath(folder, name);
}

Result<Lines> Done(const Status& status) {
  RETURN_IF_ERROR(status);
  return Lines{};
}

Status Put(const std::string& path, std::string_view bytes) {
  RETURN_IF_ERROR(MakeFolders(FolderOf(path), 0700));
  return WriteFileAtomic(path, bytes);
}

// The files that `name` stands for, where '*' is any name.
Result<Lines> Expand(const std::string& folder, const std::string& name) {
  Lines paths = {name.starts_with('/') ? "/" : folder};
  for (const std::string& part : Split(name, '/')) {
    Lines next;
    for (const std::string& path : paths) {
      if (part != "*") {
        next.push_back(JoinPath(path, part));
      } else if (IsFolder(path)) {
        ASSIGN_OR_RETURN(const Lines names, ListFolder(path));
        for (const std::string& each : names) next.push_back(JoinPath(path, each));
      }
    }
    paths = std::move(next);
  }
  std::erase_if(paths, [](const std::string& path) { return !PathExists(path) || IsFolder(path); });
  if (paths.empty()) return Status(Code::kNotFound, Str("no file is named ", name));
  return paths;
}

Result<Lines> Write(const std::string& folder, const Words& words, const Lines& body) {
  return Done(Put(PathOf(folder, Word(words, 1)), Join(body, "\n") + "\n"));
}

Result<Lines> Bytes(const std::string& folder, const Words& words, const Lines& body) {
  std::string bytes;
  for (const std::string& line : body) {
    ASSIGN_OR_RETURN(const std::string part, UnescapeBytes(line));
    bytes += part;
  }
  return Done(Put(PathOf(folder, Word(words, 1)), bytes));
}

// Words of one to seven letters; few distinct ones come often, as in a language.
Result<Lines> Text(const std::string& folder, const Words& words, const Lines&) {
  SeededRandom random(static_cast<std::uint64_t>(Number(words, 3)));
  std::string text;
  const std::int64_t n_words = Number(words, 2);
  for (std::int64_t i = 0; i < n_words; ++i) {
    SeededRandom word(random.Below(random.Below(400) + 1));
    for (std::uint64_t n = word.Below(7) + 1; n > 0; --n) {
      text += static_cast<char>('a' + word.Below(26));
    }
    text += i % 12 == 11 ? ".\n" : " ";
  }
  return Done(Put(PathOf(folder, Word(words, 1)), text + "\n"));
}

Result<Lines> Truncate(const std::string& folder, const Words& words, const Lines&) {
  const auto n_bytes = static_cast<std::size_t>(Number(words, 2));
  ASSIGN_OR_RETURN(const Lines paths, Expand(folder, Word(words, 1)));
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
    RETURN_IF_ERROR(WriteFileAtomic(path, std::string_view(bytes).substr(0, n_bytes)));
  }
  return Lines{};
}

Result<Lines> Corrupt(const std::string& folder, const Words& words, const Lines&) {
  const auto offset = static_cast<std::size_t>(Number(words, 2));
  ASSIGN_OR_RETURN(const Lines paths, Expand(folder, Word(words, 1)));
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
    if (bytes.size() <= offset) continue;
    bytes[offset] = static_cast<char>(~bytes[offset]);
    RETURN_IF_ERROR(WriteFileAtomic(path, bytes));
  }
  return Lines{};
}

// `overwrite FILE OFFSET BYTES`; an OFFSET below 0 counts from the end.
Result<Lines> Overwrite(const std::string& folder, const Words& words, const Lines&) {
  const std::string path = PathOf(folder, Word(words, 1));
  ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
  ASSIGN_OR_RETURN(const std::string put, UnescapeBytes(Word(words, 3)));
  const std::int64_t offset = Number(words, 2);
  const auto at = static_cast<std::size_t>(
      offset < 0 ? static_cast<std::int64_t>(bytes.size()) + offset : offset);
  if (put.empty() || at > bytes.size() || put.size() > bytes.size() - at) {
    return Status(Code::kOutOfRange, Str(path, " has ", bytes.size(), " bytes"));
  }
  return Done(WriteFileAtomic(path, bytes.replace(at, put.size(), put)));
}

Result<Lines> Replace(const std::string& folder, const Words& words, const Lines&) {
  const std::string path = PathOf(folder, Word(words, 1));
  ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
  ASSIGN_OR_RETURN(const std::string from, UnescapeBytes(Word(words, 2)));
  ASSIGN_OR_RETURN(const std::string to, UnescapeBytes(Word(words, 3)));
  const std::size_t at = bytes.find(from);
  if (from.empty() || at == std::string::npos) {
    return Status(Code::kNotFound, Str(path, " does not hold \"", Word(words, 2), "\""));
  }
  return Done(WriteFileAtomic(path, bytes.replace(at, from.size(), to)));
}

// `without FILE MEMBER`
Result<Lines> Without(const std::string& folder, const Words& words, const Lines&) {
  const std::string path = PathOf(folder, Word(words, 1));
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  ASSIGN_OR_RETURN(Json json, ParseJson(text));
  if (json.erase(Word(words, 2)) != 1) {
    return Status(Code::kNotFound, Str(path, " has no member ", Word(words, 2)));
  }
  return Done(WriteFileAtomic(path, CanonicalJson(json)));
}

// As another build would have stored it: with the checksum of what is there then.
Result<Lines> ChangeStoredRun(const std::string& folder, const Words& words, const Lines&) {
  const std::string path = PathOf(folder, Word(words, 1));
  ASSIGN_OR_RETURN(auto database,
                   coordinator::Connection::Open(path, coordinator::Connection::Mode::kWrite));
  RETURN_IF_ERROR(database->FindRowSums());
  RETURN_IF_ERROR(database->row_sums().Keep());
  ASSIGN_OR_RETURN(coordinator::Statement change,
                   database->Prepare("UPDATE run SET run = replace(run, ?1, ?2)"
                                     " WHERE instr(run, ?1) > 0"));
  RETURN_IF_ERROR(change.Bind(Word(words, 2)).Bind(Word(words, 3)).Run());
  if (database->n_changed() > 0) return Lines();
  return Status(Code::kNotFound, Str("no run of ", path, " holds \"", Word(words, 2), "\""));
}

// What another program would write into the database: checksums stay as they are.
Result<Lines> ExecuteSql(const std::string& folder, const Words& words, const Lines&) {
  const std::string path = PathOf(folder, Word(words, 1));
  ASSIGN_OR_RETURN(auto database,
                   coordinator::Connection::Open(path, coordinator::Connection::Mode::kWrite));
  RETURN_IF_ERROR(database->FindRowSums());
  return Done(database->Execute(Word(words, 2)));
}

// Of a folder, files and folders: a socket is nobody's but its owner's.
Status CopyFolder(const std::string& from, const std::string& to) {
  RETURN_IF_ERROR(MakeFolders(to, 0700));
  ASSIGN_OR_RETURN(const Lines names, ListFolder(from));
  for (const std::string& name : names) {
    const std::string path = JoinPath(from, name);
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) continue;  // a running program has just removed it
    if (S_ISDIR(info.st_mode)) {
      RETURN_IF_ERROR(CopyFolder(path, JoinPath(to, name)));
    } else if (S_ISREG(info.st_mode)) {
      ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
      RETURN_IF_ERROR(WriteFileAtomic(JoinPath(to, name), bytes));
    }
  }
  return Status();
}

Result<Lines> Copy(const std::string& folder, const Words& words, const Lines&) {
  const std::string whole = PathOf(folder, Word(words, 1));
  if (IsFolder(whole)) return Done(CopyFolder(whole, PathOf(folder, Word(words, 2))));
  ASSIGN_OR_RETURN(const Lines from, Expand(folder, Word(words, 1)));
  if (from.size() != 1) {
    return Status(Code::kInvalidArgument,
                  Str(Word(words, 1), " stands for ", from.size(), " files, expected one"));
  }
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(from[0]));
  return Done(Put(PathOf(folder, Word(words, 2)), bytes));
}

Result<Lines> Golden(const std::string& folder, const Words& words, const Lines&) {
  return Done(UnpackGolden(Word(words, 1), PathOf(folder, Word(words, 2))));
}

Result<Lines> MakeFolder(const std::string& folder, const Words& words, const Lines&) {
  return Done(MakeFolders(PathOf(folder, Word(words, 1)), 0700));
}

// A program that runs may make a file in a folder that is just being emptied: then once more.
Result<Lines> Remove(const std::string& folder, const Words& words, const Lines&) {
  const std::string path = PathOf(folder, Word(words, 1));
  Status status = RemoveAll(path);
  for (int i = 0; i < kRemoveTries && !status.ok(); ++i) status = RemoveAll(path);
  return Done(status);
}

Result<Lines> Move(const std::string& folder, const Words& words, const Lines&) {
  return Done(RenameSync(PathOf(folder, Word(words, 1)), PathOf(folder, Word(words, 2))));
}

Result<Lines> Names(const std::string& folder, const Words& words, const Lines&) {
  const std::string path = PathOf(folder, Word(words, 1));
  if (!IsFolder(path)) return Lines{};
  return ListFolder(path);
}

Result<Lines> Mode(const std::string& folder, const Words& words, const Lines&) {
  struct stat info {};
  if (stat(PathOf(folder, Word(words, 1)).c_str(), &info) != 0) {
    return Status(Code::kNotFound, Str("no ", Word(words, 1)));
  }
  std::string octal = "0000";
  for (std::size_t i = 0; i < 4; ++i) {
    octal[3 - i] = static_cast<char>('0' + ((info.st_mode >> (3 * i)) & 7));
  }
  return Lines{octal};
}

Result<Lines> ChangeMode(const std::string& folder, const Words& words, const Lines&) {
  const std::string path = PathOf(folder, Word(words, 1));
  const auto mode = static_cast<mode_t>(std::strtol(Word(words, 2).c_str(), nullptr, 8));
  if (chmod(path.c_str(), mode) != 0) return Status(Code::kNotFound, Str("no ", path));
  return Lines{};
}

Result<Lines> ShowSha256(const std::string& folder, const Words& words, const Lines&) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(PathOf(folder, Word(words, 1))));
  return Lines{Sha256Hex(bytes)};
}

Result<Lines> ShowSize(const std::string& folder, const Words& words, const Lines&) {
  const std::string path = PathOf(folder, Word(words, 1));
  if (!IsFolder(path)) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
    return Lines{Str(bytes.size())};
  }
  std::uintmax_t sum = 0;
  std::error_code failed;
  for (std::filesystem::recursive_directory_iterator entry(path, failed), end;
       !failed && entry != end; entry.increment(failed)) {
    if (entry->is_regular_file(failed)) sum += entry->file_size(failed);
    if (failed) break;
  }
  if (failed) return Status(Code::kNotFound, Str(path, ": ", failed.message()));
  return Lines{Str(sum)};
}

constexpr std::array<FileStep, 20> kSteps = {{
    {.name = "write", .takes_body = true, .run = &Write},
    {.name = "bytes", .takes_body = true, .run = &Bytes},
    {.name = "text", .run = &Text},
    {.name = "truncate-file", .run = &Truncate},
    {.name = "corrupt-byte", .run = &Corrupt},
    {.name = "overwrite", .run = &Overwrite},
    {.name = "replace", .run = &Replace},
    {.name = "without", .run = &Without},
    {.name = "stored-run", .run = &ChangeStoredRun},
    {.name = "sql", .run = &ExecuteSql},
    {.name = "copy", .run = &Copy},
    {.name = "golden", .run = &Golden},
    {.name = "folder", .run = &MakeFolder},
    {.name = "remove", .run = &Remove},
    {.name = "move", .run = &Move},
    {.name = "names", .run = &Names},
    {.name = "mode", .run = &Mode},
    {.name = "chmod", .run = &ChangeMode},
    {.name = "sha256", .run = &ShowSha256},
    {.name = "size", .run = &ShowSize},
}};

}  // namespace

const FileStep* FindFileStep(std::string_view name) {
  const auto* const step = std::ranges::find(kSteps, name, &FileStep::name);
  return step == kSteps.end() ? nullptr : step;
}

Status UnpackGolden(const std::string& name, const std::string& to) {
  const std::string archive = Str(LONGRUN_SOURCE_DIR "/tests/golden/", name, ".tar.zst");
  RETURN_IF_ERROR(MakeFolders(to, 0700));
  ASSIGN_OR_RETURN(const int pid,
                   Spawn({.argv = {"/usr/bin/tar", "--zstd", "-xf", archive, "-C", to},
                          .env = {"PATH=/usr/bin:/bin"},
                          .inherit_output = true}));
  ASSIGN_OR_RETURN(const std::optional<ExitInfo> exit, WaitFor(pid, -1));
  if (exit->code == 0 && exit->signal == 0) return Status();
  return Status(Code::kDataLoss, Str("tar cannot unpack ", archive, ": exit code ", exit->code));
}

Result<std::string> UnescapeBytes(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    if (text[0] != '\\') {
      bytes += text[0];
      text.remove_prefix(1);
      continue;
    }
    const char kind = text.size() > 1 ? text[1] : ' ';
    const std::size_t end = kind == '*' ? text.find('*', 2) : kind == 'x' ? 4 : 2;
    const std::string_view number = text.substr(std::min<std::size_t>(2, text.size()),
                                                end == std::string_view::npos ? 0 : end - 2);
    unsigned value = 0;
    const auto [stop, error] =
        std::from_chars(number.data(), number.data() + number.size(), value, kind == 'x' ? 16 : 10);
    const bool whole = error == std::errc() && stop == number.data() + number.size();
    if (kind == 'n' || kind == '\\') {
      bytes += kind == 'n' ? '\n' : '\\';
    } else if (kind == 'x' && number.size() == 2 && whole) {
      bytes += static_cast<char>(value);
    } else if (kind == '*' && whole) {
      bytes.append(value, '\0');
    } else {
      return Status(Code::kInvalidArgument,
                    Str("\"", text.substr(0, 6), "\" is none of \\n \\\\ \\xHH \\*N*"));
    }
    text.remove_prefix(kind == '*' ? end + 1 : end);
  }
  return bytes;
}

}  // namespace longrun
