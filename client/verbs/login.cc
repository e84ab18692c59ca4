// longrun login HOST: stores how to reach a coordinator on another machine, as a context.
#include <cstdio>
#include <string>
#include <vector>

#include "base/host_port.h"
#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/input.h"
#include "client/console/output.h"
#include "client/console/prompt.h"
#include "client/verb.h"
#include "client/wire/connection.h"
#include "client/wire/context.h"
#include "client/words/render.h"
#include "pki/certificate.h"
#include "pki/presented.h"
#include "pki/token.h"

namespace longrun::client {
namespace {

constexpr int kPortDefault = 7443;
constexpr std::int64_t kLookMs = 10'000;
constexpr std::size_t kTokenBytesMax = 4096;

struct LoginArguments {
  std::string host;
  std::string name;
  std::string fingerprint;
};

// The user's word that this is the right authority: by an option, or at the terminal.
Status Confirm(const CertificateFacts& authority, const HostPort& place, const std::string& given) {
  if (!given.empty()) {
    const std::string expected = PlainFingerprint(given);
    if (expected.empty()) {
      return Status(Code::kInvalidArgument,
                    Str("--ca-fingerprint \"", given, "\": expected a SHA-256 as 64 hex digits"));
    }
    if (expected == authority.fingerprint) return Status();
    return Status(Code::kFailedPrecondition,
                  Str(place.Text(), " presents an authority with the fingerprint ",
                      authority.fingerprint, ", not ", expected,
                      ": compare with `longrun admin pki show` on the coordinator's machine; if "
                      "that differs too, somebody may stand in between"));
  }
  if (!CanAsk()) {
    return Status(Code::kInvalidArgument,
                  Str("nobody can confirm that the authority of ", place.Text(),
                      " is the right one: give --ca-fingerprint, which `longrun admin pki show` "
                      "on the coordinator's machine prints; it presents ",
                      authority.fingerprint));
  }
  std::fprintf(
      stderr,
      "The authority (CA) of %s has the SHA-256 fingerprint\n  %s\nCompare it with the one "
      "that its operator gave you, or with the one that `longrun admin pki show` there prints.\n",
      place.Text().c_str(), authority.fingerprint.c_str());
  ASSIGN_OR_RETURN(const std::string answer, Ask("Are they equal (yes/no)? ", false));
  if (answer == "yes") return Status();
  return Status(Code::kFailedPrecondition, "not confirmed: nothing was stored");
}

Result<std::string> ReadToken() {
  std::string token;
  if (CanAsk()) {
    ASSIGN_OR_RETURN(token, Ask("Access token: ", true));
  } else {
    ASSIGN_OR_RETURN(const std::string text,
                     ReadStdin("the access token",
                               "give it there, as in `longrun login HOST < FILE`", kTokenBytesMax));
    token = std::string(Trim(text));
  }
  if (token.empty()) {
    return Status(Code::kInvalidArgument,
                  "no access token was given: it is asked for on a terminal, and otherwise read "
                  "from standard input, as in `longrun login HOST < FILE`");
  }
  if (!TokenId(token).empty()) return token;
  return Status(
      Code::kInvalidArgument,
      "this is not an access token: expected the text \"lr_...\" that `longrun admin token "
      "create` has printed, with 84 characters");
}

Status Login(const LoginArguments& arguments, const std::string& output) {
  ASSIGN_OR_RETURN(const HostPort place, ParseHostPort(arguments.host, kPortDefault));
  const std::string name = arguments.name.empty() ? place.host : arguments.name;
  RETURN_IF_ERROR(ContextFolder(name).status().In("--name gives the context another name"));
  ASSIGN_OR_RETURN(const std::vector<std::string> chain, PresentedCertificates(place, kLookMs));
  ASSIGN_OR_RETURN(const std::string authority, AuthorityOf(chain, place));
  ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(authority));
  RETURN_IF_ERROR(Confirm(facts, place, arguments.fingerprint));
  ASSIGN_OR_RETURN(const std::string token, ReadToken());
  const Context context{
      .name = name, .address = place.Text(), .authority = authority, .token = token};
  const Destination destination{
      .address = context.address, .authority = context.authority, .token = context.token};
  CoordinatorConnection connection(destination);
  connection.WhenLost([&] { return WhyNotReached(destination); });
  v1::GetCallerResponse caller;
  RETURN_IF_ERROR(connection.Send(v1::GetCallerRequest(), kLookMs, &caller));
  RETURN_IF_ERROR(SaveContext(context));
  RETURN_IF_ERROR(UseContext(name));
  if (output == "json") {
    Print(RenderJson({{"context", name},
                      {"address", context.address},
                      {"principal", caller.principal()},
                      {"role", caller.role()}}));
    return Status();
  }
  Print(Str("logged in to ", context.address, " as ", caller.principal(), " (", caller.role(),
            "); context \"", name, "\" is now in use", GoesBeforeContext(name), "\n"));
  return Status();
}

}  // namespace

void AddLogin(Verbs& verbs) {
  Verb verb = verbs.AddVerb("login", "use a coordinator on another machine");
  verb.AddExamples({"longrun login gpu.example.org", "longrun login 10.0.0.7:7443 --name gpu"});
  const auto arguments = std::make_shared<LoginArguments>();
  verb.AddArgument("HOST", arguments->host,
                   Str("its name or address, with :PORT unless that is ", kPortDefault,
                       "; the access token is asked for, or read from standard input"))
      .Required();
  verb.AddArgument("--name", arguments->name, "name of the context (default: the host)");
  verb.AddArgument(
      "--ca-fingerprint", arguments->fingerprint,
      "SHA-256 of the coordinator's authority (CA), instead of the question whether it "
      "is the right one");
  const auto output = AddOutput(verb, {"text", "json"});
  verb.SetRun([arguments, output] {
    const Status status = Login(*arguments, *output);
    return status.ok() ? static_cast<int>(kExitOk) : Report(status);
  });
}

}  // namespace longrun::client
