#include "client/wire/context.h"

#include "base/files.h"
#include "base/host_port.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "base/user_folders.h"
#include "base/utf8.h"
#include "pki/certificate.h"
#include "pki/presented.h"
#include "sweeps/coordinator_address.h"

namespace longrun::client {
namespace {

constexpr std::size_t kBytesMax = 64 << 10;
constexpr std::int64_t kLookMs = 5'000;

Result<std::string> ConfigFolder() {
  ASSIGN_OR_RETURN(const std::string config, ConfigHome());
  if (config.empty()) {
    return Status(Code::kInvalidArgument,
                  "there is no folder for contexts: set HOME or XDG_CONFIG_HOME");
  }
  return JoinPath(config, "longrun");
}

Result<std::string> CurrentPath() {
  ASSIGN_OR_RETURN(const std::string folder, ConfigFolder());
  return JoinPath(folder, "current-context");
}

Status CheckContextName(const std::string& name) {
  if (IsSafeName(name)) return Status();
  return Status(Code::kInvalidArgument,
                Str(Quoted(name),
                    " cannot be the name of a context: expected letters, digits, "
                    "\".\", \"_\" and \"-\""));
}

}  // namespace

bool IsContext(const std::string& folder) { return PathExists(JoinPath(folder, "context.json")); }

std::string PlaceText(const std::string& folder) {
  if (!IsContext(folder)) return folder;
  const Result<Context> context = ReadContext(folder);
  return context.ok() ? Str("context ", context->name, " (", context->address, ")") : folder;
}

Result<Destination> DestinationOf(const std::string& folder) {
  if (!IsContext(folder)) {
    ASSIGN_OR_RETURN(const std::string address, ReadCoordinatorAddress(folder));
    return Destination{.address = address};
  }
  ASSIGN_OR_RETURN(Context context, ReadContext(folder));
  return Destination{.address = std::move(context.address),
                     .authority = std::move(context.authority),
                     .token = std::move(context.token)};
}

Result<std::string> ContextFolder(const std::string& name) {
  RETURN_IF_ERROR(CheckContextName(name));
  ASSIGN_OR_RETURN(const std::string folder, ConfigFolder());
  return JoinPath(JoinPath(folder, "contexts"), name);
}

Result<std::vector<std::string>> ContextNames() {
  ASSIGN_OR_RETURN(const std::string config, ConfigFolder());
  const std::string folder = JoinPath(config, "contexts");
  if (!IsFolder(folder)) return std::vector<std::string>();
  ASSIGN_OR_RETURN(std::vector<std::string> names, ListFolder(folder));
  std::erase_if(names, [&](const std::string& name) { return !IsContext(JoinPath(folder, name)); });
  return names;
}

Result<Context> ReadContext(const std::string& folder) {
  const std::string path = JoinPath(folder, "context.json");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kBytesMax));
  const Result<Json> json = ParseJson(text);
  const bool is_whole =
      json.ok() && json->is_object() && json->contains("address") && (*json)["address"].is_string();
  if (!is_whole) {
    return Status(Code::kDataLoss, Str(path, " is damaged: `longrun login` writes it again"));
  }
  Context context{.name = BaseName(folder),
                  .address = (*json)["address"].get<std::string>(),
                  .authority = "",
                  .token = ""};
  constexpr std::string_view kRemedy = "`longrun login` writes it again";
  std::string token;
  for (const auto& [name, to] :
       {std::pair("authority.pem", &context.authority), std::pair("token", &token)}) {
    Result<std::string> read = ReadFile(JoinPath(folder, name), kBytesMax);
    if (!read.ok()) {
      return Status(read.status().code(), Str(read.status().message(), ": ", kRemedy));
    }
    *to = std::move(read).value();
  }
  if (const Status whole = ReadCertificate(context.authority).status(); !whole.ok()) {
    return Status(Code::kDataLoss,
                  Str(JoinPath(folder, "authority.pem"), ": ", whole.message(), ": ", kRemedy));
  }
  context.token = std::string(Trim(token));
  return context;
}

Status SaveContext(const Context& context) {
  ASSIGN_OR_RETURN(const std::string folder, ContextFolder(context.name));
  RETURN_IF_ERROR(MakeFolders(folder, 0700));
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, "authority.pem"), context.authority, 0600));
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, "token"), context.token + "\n", 0600));
  // Last: with this file, the folder is that of a context.
  return WriteFileAtomic(JoinPath(folder, "context.json"),
                         CanonicalJson({{"address", context.address}}) + "\n", 0600);
}

std::string GoesBeforeContext(const std::string& name) {
  if (!GetEnv("LONGRUN_HOME")) return "";
  return Str("; but LONGRUN_HOME is set and goes first: unset it, or give --context ", name);
}

Status CheckContext(const std::string& name) {
  ASSIGN_OR_RETURN(const std::string folder, ContextFolder(name));
  if (IsContext(folder)) return Status();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ContextNames());
  return Status(Code::kNotFound, Str("there is no context ", Quoted(name), ": ",
                                     names.empty() ? "`longrun login HOST` makes one"
                                                   : Str("there are ", Join(names, ", "))));
}

Status RemoveContext(const std::string& name) {
  RETURN_IF_ERROR(CheckContext(name));
  ASSIGN_OR_RETURN(const std::string folder, ContextFolder(name));
  ASSIGN_OR_RETURN(const std::string current, CurrentContext());
  if (current == name) RETURN_IF_ERROR(UseContext(""));
  return RemoveAll(folder);
}

Result<std::string> CurrentContext() {
  ASSIGN_OR_RETURN(const std::string config, ConfigHome());
  if (config.empty()) return std::string();  // no home, so nobody has logged in
  ASSIGN_OR_RETURN(const std::string path, CurrentPath());
  const Result<std::string> text = ReadFile(path, kBytesMax);
  if (text.status().code() == Code::kNotFound) return std::string();
  if (!text.ok()) return text.status();
  return std::string(Trim(*text));
}

Status UseContext(const std::string& name) {
  ASSIGN_OR_RETURN(const std::string path, CurrentPath());
  if (name.empty()) return RemoveAll(path);
  RETURN_IF_ERROR(CheckContext(name));
  return WriteFileAtomic(path, name + "\n", 0600);
}

Status WhyNotReached(const Destination& destination) {
  ASSIGN_OR_RETURN(const HostPort place, ParseHostPort(destination.address));
  RETURN_IF_ERROR(CheckPresented(place,
                                 {.pem = destination.authority,
                                  .trusted_by = "at `longrun login` you trusted",
                                  .trust_another = "log in again"},
                                 kLookMs));
  return Status(Code::kUnavailable, Str("the coordinator at ", place.Text(),
                                        " does not answer: it may be starting or "
                                        "stopping"));
}

}  // namespace longrun::client
