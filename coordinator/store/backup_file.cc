// See backup_file.h. The format of ustar is that of POSIX.1-2017, pax ("ustar Interchange Format").
// A file of 8 GiB or more has its size in binary, as GNU tar writes it.
#include "coordinator/store/backup_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "sweeps/fields.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kBlock = 512;
constexpr std::size_t kBytesAtOnce = std::size_t{1} << 20;
constexpr std::int64_t kManifestBytesMax = std::int64_t{1} << 30;
constexpr std::string_view kManifestName = "backup.json";
constexpr std::string_view kEndName = "backup.end";
constexpr std::int64_t kFormat = 1;
constexpr std::int64_t kFormatWithKeys = 2;  // earlier releases know no such members
// The header and the only block of backup.end, and two blocks of zeros.
constexpr std::int64_t kTailBytes = 4 * kBlock;

constexpr std::int64_t RoundUp(std::int64_t n_bytes) {
  return (n_bytes + kBlock - 1) / kBlock * kBlock;
}

// `width` octal digits.
std::string Octal(std::uint64_t number, std::size_t width) {
  std::string digits(width, '0');
  for (std::size_t i = width; i-- > 0; number /= 8) digits[i] = static_cast<char>('0' + number % 8);
  return digits;
}

std::string SizeField(std::int64_t n_bytes) {
  constexpr std::size_t kOctalDigits = 11;
  auto size = static_cast<std::uint64_t>(n_bytes);
  if (size < std::uint64_t{1} << (3 * kOctalDigits)) return Octal(size, kOctalDigits) + '\0';
  std::string binary(kOctalDigits + 1, '\0');
  for (std::size_t i = binary.size(); i-- > 1; size >>= 8) {
    binary[i] = static_cast<char>(size & 0xff);
  }
  binary[0] = '\x80';
  return binary;
}

// The content of backup.end: one block.
std::string EndBlock(std::int64_t manifest_at, std::string_view manifest) {
  std::string text = CanonicalJson({{"manifest_at", manifest_at},
                                    {"manifest_bytes", manifest.size()},
                                    {"manifest_sha256", Sha256Hex(manifest)}});
  LR_CHECK(std::ssize(text) < kBlock);
  text.resize(kBlock - 1, ' ');
  return text + "\n";
}

bool IsMemberName(std::string_view name) {
  return name == kBackupDatabase || name == kBackupId || !DigestInName(name).empty() ||
         IsBackupKey(name);
}

Status NotABackup(const std::string& path) {
  return Status(Code::kInvalidArgument,
                Str(path, " is not a backup of longrun (`longrun admin backup FILE` writes one)"));
}

Status CutShort(const std::string& path, std::string_view why) {
  return Status(Code::kDataLoss,
                Str("the backup ", path, " is damaged: ", why,
                    ", so it cannot be restored: take another backup, or fetch this one again if "
                    "it is a copy"));
}

}  // namespace

std::string BackupHeader(std::string_view name, std::int64_t n_bytes, std::int64_t wall_ms) {
  constexpr std::size_t kNameBytes = 100;
  constexpr std::size_t kSumAt = 148;
  LR_CHECK(name.size() <= kNameBytes);
  std::string header(name);
  header.resize(kNameBytes, '\0');
  header += Octal(0600, 7) + '\0';                    // mode
  header += Octal(0, 7) + '\0' + Octal(0, 7) + '\0';  // owner and group
  header += SizeField(n_bytes);
  header += Octal(static_cast<std::uint64_t>(wall_ms / 1000), 11) + '\0';  // time
  header += "        0";                                                   // checksum, plain file
  header.resize(257, '\0');
  header += std::string("ustar\0", 6) + "00";
  header.resize(kBlock, '\0');
  std::uint64_t sum = 0;
  for (const char byte : header) sum += static_cast<unsigned char>(byte);
  header.replace(kSumAt, 8, Octal(sum, 6) + '\0' + ' ');
  return header;
}

bool IsBackupKey(std::string_view member) {
  return std::ranges::find(kBackupKeys, member) != std::end(kBackupKeys);
}

Result<int> ModeForOthers(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot look at ", path));
  return static_cast<int>(info.st_mode & 0077);
}

std::string BackupArtifactName(const std::string& sha256) {
  return Str("artifacts/", sha256.substr(0, 2), "/", sha256);
}

std::string BackupKeptFileName(const std::string& sha256) { return Str("files/", sha256); }

std::string DigestInName(std::string_view member) {
  const std::string digest(member.substr(member.rfind('/') + 1));
  if (!IsSha256Hex(digest)) return "";
  const bool is_ours = member == BackupArtifactName(digest) || member == BackupKeptFileName(digest);
  return is_ours ? digest : "";
}

// ---- writing ------------------------------------------------------------------------------------

Result<BackupWriter> BackupWriter::Create(const std::string& path, std::int64_t created_wall_ms) {
  RETURN_IF_ERROR(WriteFileAtomic(path, "", 0600));
  ASSIGN_OR_RETURN(OpenFile file, OpenFile::Open(path, OpenFile::Mode::kReadWrite));
  return BackupWriter(std::move(file), created_wall_ms);
}

Status BackupWriter::Write(std::string_view bytes) {
  RETURN_IF_ERROR(file_.WriteAt(n_bytes_, bytes));
  n_bytes_ += std::ssize(bytes);
  Failpoint("backup_mid_write");
  return Status();
}

Status BackupWriter::Pad() {
  const std::int64_t n_bytes = RoundUp(n_bytes_) - n_bytes_;
  return n_bytes == 0 ? Status() : Write(std::string(static_cast<std::size_t>(n_bytes), '\0'));
}

Status BackupWriter::AddFile(const std::string& name, const std::string& from) {
  ASSIGN_OR_RETURN(const OpenFile source, OpenFile::Open(from, OpenFile::Mode::kRead));
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, source.n_bytes());
  RETURN_IF_ERROR(Write(BackupHeader(name, n_bytes, created_wall_ms_)));
  Sha256 hash;
  for (std::int64_t at = 0; at < n_bytes;) {
    const auto n_wanted = std::min(kBytesAtOnce, static_cast<std::size_t>(n_bytes - at));
    ASSIGN_OR_RETURN(const std::string bytes, source.ReadAt(at, n_wanted));
    if (bytes.size() < n_wanted) {
      return Status(Code::kDataLoss, Str(from, " became shorter while it was read"));
    }
    hash.Update(bytes);
    RETURN_IF_ERROR(Write(bytes));
    at += std::ssize(bytes);
  }
  RETURN_IF_ERROR(Pad());
  std::string sha256 = hash.FinishHex();
  const std::string expected = DigestInName(name);
  if (!expected.empty() && sha256 != expected) {
    return Status(Code::kDataLoss,
                  Str(from,
                      " does not match the SHA-256 that is its name: `longrun doctor --deep` "
                      "says what it is; put it back from an earlier backup "
                      "(docs/operating.md)"));
  }
  members_.push_back({.name = name, .n_bytes = n_bytes, .sha256 = std::move(sha256)});
  return Status();
}

Status BackupWriter::WriteMember(const std::string& name, std::string_view text) {
  RETURN_IF_ERROR(Write(BackupHeader(name, std::ssize(text), created_wall_ms_)));
  RETURN_IF_ERROR(Write(text));
  return Pad();
}

Status BackupWriter::AddText(const std::string& name, std::string_view text) {
  RETURN_IF_ERROR(WriteMember(name, text));
  members_.push_back({.name = name, .n_bytes = std::ssize(text), .sha256 = Sha256Hex(text)});
  return Status();
}

Status BackupWriter::Finish(const Json& facts) {
  Json members = Json::array();
  for (const BackupMember& member : members_) {
    members.push_back(
        {{"name", member.name}, {"bytes", member.n_bytes}, {"sha256", member.sha256}});
  }
  const bool has_keys = std::ranges::any_of(
      members_, [](const BackupMember& member) { return IsBackupKey(member.name); });
  const std::string manifest = CanonicalJson({{"format", has_keys ? kFormatWithKeys : kFormat},
                                              {"created_wall_ms", created_wall_ms_},
                                              {"facts", facts},
                                              {"members", std::move(members)}}) +
                               "\n";
  const std::int64_t manifest_at = n_bytes_;
  RETURN_IF_ERROR(WriteMember(std::string(kManifestName), manifest));
  RETURN_IF_ERROR(WriteMember(std::string(kEndName), EndBlock(manifest_at, manifest)));
  RETURN_IF_ERROR(Write(std::string(2 * kBlock, '\0')));
  return file_.Sync();
}

// ---- reading ------------------------------------------------------------------------------------

Result<BackupFile> BackupFile::Open(const std::string& path) {
  if (IsFolder(path)) {
    return Status(Code::kInvalidArgument, Str(path, " is a folder: expected the file of a backup"));
  }
  // To open a pipe would wait for its writer, and its end could not be read first.
  if (struct stat info{}; stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return Status(Code::kInvalidArgument,
                  Str(path, " is not a regular file: expected the file of a backup"));
  }
  ASSIGN_OR_RETURN(OpenFile file, OpenFile::Open(path, OpenFile::Mode::kRead));
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, file.n_bytes());
  ASSIGN_OR_RETURN(const std::string begin, file.ReadAt(0, kBlock));
  const bool begins_well = begin.starts_with(Str(kBackupDatabase, '\0'));
  const auto wrong_end = [&](std::string_view why) {
    return begins_well ? CutShort(path, why) : NotABackup(path);
  };
  if (n_bytes < kTailBytes || n_bytes % kBlock != 0) return wrong_end("it was cut short");
  ASSIGN_OR_RETURN(const std::string tail, file.ReadAt(n_bytes - kTailBytes, kTailBytes));
  if (std::ssize(tail) < kTailBytes) return wrong_end("it became shorter while it was read");
  const Result<Json> end = ParseJson(std::string(Trim(tail.substr(kBlock, kBlock))));
  std::int64_t manifest_at = 0, manifest_bytes = 0;
  std::string sha256;
  if (!end.ok()) return wrong_end("its end (backup.end) is damaged or missing");
  JsonFields fields(*end, "backup.end");
  fields.Int("manifest_at", manifest_at).Int("manifest_bytes", manifest_bytes);
  fields.String("manifest_sha256", sha256);
  const std::int64_t room = n_bytes - kTailBytes - kBlock;  // without the manifest's header
  if (!fields.Done().ok() || manifest_at < 0 || manifest_at > room || manifest_bytes < 0 ||
      manifest_bytes > kManifestBytesMax || manifest_at + RoundUp(manifest_bytes) != room) {
    return wrong_end("its end (backup.end) is damaged or missing");
  }
  ASSIGN_OR_RETURN(const std::string manifest,
                   file.ReadAt(manifest_at + kBlock, static_cast<std::size_t>(manifest_bytes)));
  if (Sha256Hex(manifest) != sha256) {
    return CutShort(path, "its manifest (backup.json) does not match the SHA-256 in backup.end");
  }
  const auto made_otherwise = [&](const Status& why) {
    return Status(Code::kDataLoss, Str("the manifest (backup.json) of the backup ", path,
                                       " is not one that longrun wrote: ", why.message()));
  };
  const Result<Json> json = ParseJson(manifest);
  if (!json.ok()) return made_otherwise(json.status());
  if (const auto format = json->find("format"); json->is_object() && format != json->end() &&
                                                *format != kFormat && *format != kFormatWithKeys) {
    return Status(Code::kFailedPrecondition,
                  Str("the backup ", path, " has the format ", format->dump(),
                      ", and this release reads formats up to ", kFormatWithKeys,
                      ": use the release that wrote it, or a newer one"));
  }
  std::int64_t format = 0, created_wall_ms = 0;
  Json facts, members;
  JsonFields parts(*json, "backup.json");
  parts.Int("format", format).Int("created_wall_ms", created_wall_ms);
  parts.Member("facts", facts).Member("members", members);
  if (const Status done = parts.Done(); !done.ok()) return made_otherwise(done);
  if (!facts.is_object()) return CutShort(path, "its manifest has no facts");
  facts["created_wall_ms"] = created_wall_ms;
  facts["backup_bytes"] = n_bytes;
  BackupFile backup(std::move(file), std::move(facts), manifest_at, manifest_bytes);
  backup.created_wall_ms_ = created_wall_ms;
  if (const Status read = backup.ReadMembers(members); !read.ok()) return made_otherwise(read);
  if (backup.has_keys()) {
    ASSIGN_OR_RETURN(const int mode, ModeForOthers(path));
    if (mode != 0) backup.facts_["keys_exposed"] = true;
  }
  return backup;
}

// A name leads to a path in the state folder, so only the names that we write are accepted.
Status BackupFile::ReadMembers(const Json& listed) {
  const auto wrong = [](std::string_view why) { return Status(Code::kDataLoss, why); };
  if (!listed.is_array()) return wrong("\"members\" is not a list");
  std::int64_t at = 0;
  std::set<std::string> names;
  for (const Json& one : listed) {
    BackupMember member;
    JsonFields fields(one, "member");
    fields.String("name", member.name).Int("bytes", member.n_bytes).String("sha256", member.sha256);
    RETURN_IF_ERROR(fields.Done());
    if (!IsMemberName(member.name) || !names.insert(member.name).second || member.n_bytes < 0 ||
        member.n_bytes > manifest_at_ || !IsSha256Hex(member.sha256)) {
      return wrong(Str("member \"", member.name, "\" is not one of a backup"));
    }
    at_.push_back(at);
    at += kBlock + RoundUp(member.n_bytes);
    members_.push_back(std::move(member));
  }
  if (at != manifest_at_) return wrong("the sizes of the members do not add up");
  for (const std::string_view name : {kBackupDatabase, kBackupId}) {
    if (!names.contains(std::string(name))) return wrong(Str(name, " is missing"));
  }
  for (const std::string_view name : kBackupKeys) {
    if (has_keys() && !names.contains(std::string(name))) return wrong(Str(name, " is missing"));
  }
  return Status();
}

bool BackupFile::has_keys() const {
  return std::ranges::any_of(members_,
                             [](const BackupMember& member) { return IsBackupKey(member.name); });
}

Result<bool> BackupFile::IsZero(std::int64_t begin, std::int64_t end) const {
  ASSIGN_OR_RETURN(const std::string bytes,
                   file_.ReadAt(begin, static_cast<std::size_t>(end - begin)));
  return std::ssize(bytes) == end - begin &&
         std::ranges::all_of(bytes, [](char byte) { return byte == '\0'; });
}

Result<std::string> BackupFile::CopyOut(const BackupMember& member, std::int64_t at,
                                        const std::string& to) const {
  std::optional<OpenFile> target;
  if (!to.empty()) {
    RETURN_IF_ERROR(WriteFileAtomic(to, "", 0600));
    ASSIGN_OR_RETURN(OpenFile opened, OpenFile::Open(to, OpenFile::Mode::kReadWrite));
    target = std::move(opened);
  }
  Sha256 hash;
  for (std::int64_t done = 0; done < member.n_bytes;) {
    const auto n_wanted = std::min(kBytesAtOnce, static_cast<std::size_t>(member.n_bytes - done));
    ASSIGN_OR_RETURN(const std::string bytes, file_.ReadAt(at + kBlock + done, n_wanted));
    if (bytes.empty()) return CutShort(path(), "it became shorter while it was read");
    hash.Update(bytes);
    if (target) RETURN_IF_ERROR(target->WriteAt(done, bytes));
    done += std::ssize(bytes);
    Failpoint("backup_mid_read");
  }
  if (target) RETURN_IF_ERROR(target->Sync());
  return hash.FinishHex();
}

Status BackupFile::Read(
    const std::function<std::string(const BackupMember&)>& extract_to,
    const std::function<void(const BackupMember*, std::string)>& damaged) const {
  const auto check_header = [&](const BackupMember* member, std::string_view name,
                                std::int64_t n_bytes, std::int64_t at) -> Status {
    ASSIGN_OR_RETURN(const std::string header, file_.ReadAt(at, kBlock));
    if (header != BackupHeader(name, n_bytes, created_wall_ms_)) {
      damaged(member, Str("the header of ", name, " (byte ", at, ")"));
    }
    const std::int64_t end = at + kBlock + n_bytes;
    ASSIGN_OR_RETURN(const bool is_padded, IsZero(end, at + kBlock + RoundUp(n_bytes)));
    if (!is_padded) damaged(member, Str("the padding after ", name, " (byte ", end, ")"));
    return Status();
  };
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const BackupMember& member = members_[i];
    RETURN_IF_ERROR(check_header(&member, member.name, member.n_bytes, at_[i]));
    ASSIGN_OR_RETURN(const std::string sha256, CopyOut(member, at_[i], extract_to(member)));
    const std::string digest = DigestInName(member.name);
    if (sha256 != member.sha256 || (!digest.empty() && digest != sha256)) {
      damaged(&member, member.name);
    }
  }
  RETURN_IF_ERROR(check_header(nullptr, kManifestName, manifest_bytes_, manifest_at_));
  ASSIGN_OR_RETURN(const std::string manifest,
                   file_.ReadAt(manifest_at_ + kBlock, static_cast<std::size_t>(manifest_bytes_)));
  const std::int64_t end_at = manifest_at_ + kBlock + RoundUp(manifest_bytes_);
  RETURN_IF_ERROR(check_header(nullptr, kEndName, kBlock, end_at));
  ASSIGN_OR_RETURN(const std::string end, file_.ReadAt(end_at + kBlock, kBlock));
  if (end != EndBlock(manifest_at_, manifest)) damaged(nullptr, std::string(kEndName));
  ASSIGN_OR_RETURN(const bool is_ended, IsZero(end_at + 2 * kBlock, end_at + kTailBytes));
  if (!is_ended) damaged(nullptr, "the zeros at the end");
  return Status();
}

Status BackupFile::Extract(const BackupMember& member, const std::string& to) const {
  const std::int64_t at = at_[static_cast<std::size_t>(&member - members_.data())];
  ASSIGN_OR_RETURN(const std::string sha256, CopyOut(member, at, to));
  if (sha256 == member.sha256) return Status();
  RETURN_IF_ERROR(RemoveAll(to));
  return CutShort(path(), Str(member.name, " does not match its SHA-256"));
}

}  // namespace longrun::coordinator
