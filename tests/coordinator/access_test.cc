#include "coordinator/access.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/files.h"
#include "base/str.h"
#include "coordinator/audit_log.h"
#include "coordinator/metrics.h"
#include "coordinator/store/reader.h"
#include "pki/token.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kNowMs = 1'764'000'000'000;
constexpr std::int64_t kHourMs = 3'600'000;

const std::string kKey = "the key of one machine";
const std::string kOtherKey = "the key of another machine";

struct Parts {
  TempFolder folder;
  std::unique_ptr<Store> store = Store::Open(folder.path()).value();
  std::unique_ptr<ArtifactStore> artifacts =
      ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts")}).value();
  Metrics metrics;
  IdentityRows rows = store->LoadIdentity().value();
  std::unique_ptr<Core> core = Core::Start(*store, *artifacts, metrics, {}).value();
  Access access{*core, rows, {.calls_per_s = 10, .calls_burst = 20}};

  CreatedToken Create(const std::string& role, const std::string& worker = "") {
    return access.CreateToken(role, "", worker, kHourMs, kNowMs).value();
  }
  Result<Access::Joined> Join(const std::string& token, const std::string& worker,
                              bool is_known = false, std::int64_t now_ms = kNowMs,
                              const std::string& key = kKey) {
    const auto issue = [&]() -> Result<Access::Joined> { return Issued(worker, key, now_ms); };
    return access.Join(
        token, worker, [&] { return key; }, is_known, now_ms, issue);
  }
  static Access::Joined Issued(const std::string& worker, const std::string& key,
                               std::int64_t now_ms) {
    return {.certificate = "PEM",
            .row = {.worker = worker,
                    .serial = "01",
                    .issued_ms = now_ms,
                    .expires_ms = now_ms + kHourMs,
                    .revoked_ms = {},
                    .key = key}};
  }
};

bool Says(const Status& status, const std::string& what) {
  return status.message().find(what) != std::string::npos;
}

TEST(AccessTest, TokenGivesItsRoleUntilItExpires) {
  Parts parts;
  for (const Role role : kRoles) {
    const CreatedToken token = parts.Create(std::string(RoleName(role)));
    const Result<Principal> caller = parts.access.OfToken(token.text, kNowMs + kHourMs);
    ASSERT_TRUE(caller.ok()) << caller.status().message();
    EXPECT_EQ(caller->role, role);
    EXPECT_EQ(caller->Name(), "token " + token.row.id);
    const Status expired = parts.access.OfToken(token.text, kNowMs + kHourMs + 1).status();
    EXPECT_EQ(expired.code(), Code::kPermissionDenied);
    EXPECT_TRUE(Says(expired, "expired at 2025-")) << expired.message();
    EXPECT_TRUE(Says(expired, "ask an administrator for another one"));
  }
}

TEST(AccessTest, ANoteIsOneLineOfText) {
  Parts parts;
  const auto with_note = [&](const std::string& note) {
    return parts.access.CreateToken("viewer", note, "", kHourMs, kNowMs).status();
  };
  EXPECT_TRUE(with_note("Zoë's laptop").ok());
  EXPECT_TRUE(with_note(std::string(256, 'a')).ok());
  for (const std::string& note :
       {std::string("a\nb"), std::string("a\x1b[31mb"), std::string("\x7f"), std::string("\xff"),
        std::string(257, 'a')}) {
    const Status refused = with_note(note);
    EXPECT_EQ(refused.code(), Code::kInvalidArgument) << note;
    const bool is_long = note.size() > 256;
    EXPECT_TRUE(Says(refused, is_long ? "257 bytes: expected at most 256" : "has a line break"))
        << refused.message();
  }
}

TEST(AccessTest, RightIdWithAnotherSecretIsAnUnknownToken) {
  Parts parts;
  const CreatedToken token = parts.Create("admin");
  std::string guessed = token.text;
  guessed.back() = guessed.back() == '0' ? '1' : '0';
  ASSERT_EQ(TokenId(guessed), token.row.id);
  EXPECT_TRUE(Says(parts.access.OfToken(guessed, kNowMs).status(), "does not know"));
}

TEST(AccessTest, RevokedTokenHoldsNoLongerAndStaysRevokedAfterARestart) {
  Parts parts;
  const CreatedToken token = parts.Create("viewer");
  const Principal caller = parts.access.OfToken(token.text, kNowMs).value();
  EXPECT_TRUE(parts.access.StillHolds(caller, kNowMs).ok());
  EXPECT_EQ(parts.access.Revoke(token.row.id.substr(0, 8), "local", kNowMs).value(),
            "token " + token.row.id);
  EXPECT_TRUE(Says(parts.access.StillHolds(caller, kNowMs), "was revoked at"));
  EXPECT_EQ(parts.access.Revoke(token.row.id, "local", kNowMs).status().code(),
            Code::kFailedPrecondition);
  EXPECT_EQ(parts.access.Revoke("ffff", "local", kNowMs).status().code(), Code::kNotFound);
  parts.core->Stop();
  const IdentityRows stored = parts.store->LoadIdentity().value();
  ASSERT_EQ(stored.tokens.size(), 1u);
  EXPECT_EQ(stored.tokens[0].ended_ms, kNowMs);
  EXPECT_EQ(stored.tokens[0].hash, TokenHash(token.text));
}

TEST(AccessTest, JoinTokenLetsOneNewWorkerJoinOnce) {
  Parts parts;
  const CreatedToken token = parts.Create("worker");
  EXPECT_TRUE(Says(parts.access.OfToken(token.text, kNowMs).status(), "is a join token"));
  EXPECT_TRUE(
      Says(parts.Join(token.text, "gpu-1", false, kNowMs + kHourMs + 1).status(), "expired at"));
  EXPECT_TRUE(Says(parts.Join(token.text, "gpu-1", /*is_known=*/true).status(),
                   "there is a worker \"gpu-1\" already"));
  ASSERT_TRUE(parts.Join(token.text, "gpu-1").ok());
  EXPECT_TRUE(Says(parts.Join(token.text, "gpu-2").status(), "has been used by worker gpu-1"));
  EXPECT_TRUE(parts.access.OfWorker("gpu-1", kKey, kNowMs).ok());
  EXPECT_TRUE(Says(parts.access.OfWorker("gpu-2", kKey, kNowMs).status(), "has joined"));
  EXPECT_TRUE(
      Says(parts.access.OfWorker("gpu-1", kKey, kNowMs + kHourMs + 1).status(), "expired at"));
}

TEST(AccessTest, AWorkerThatGotNoAnswerAsksAgainWithItsKey) {
  Parts parts;
  const std::string token = parts.Create("worker").text;
  const auto join = [&](const std::string& worker, const std::string& key, std::int64_t now_ms) {
    return parts.Join(token, worker, /*is_known=*/true, now_ms, key).status();
  };
  ASSERT_TRUE(parts.Join(token, "gpu-1").ok());
  for (const std::int64_t later_ms : {std::int64_t{0}, std::int64_t{5}, kHourMs}) {
    EXPECT_TRUE(join("gpu-1", kKey, kNowMs + later_ms).ok()) << later_ms;
  }
  EXPECT_TRUE(Says(join("gpu-1", kOtherKey, kNowMs), "has been used by worker gpu-1"));
  EXPECT_TRUE(Says(join("gpu-1", "", kNowMs), "has been used by worker gpu-1"));
  EXPECT_TRUE(Says(join("gpu-2", kKey, kNowMs), "has been used by worker gpu-1"));
  EXPECT_TRUE(Says(join("gpu-1", kKey, kNowMs + kHourMs + 1), "has been used by worker gpu-1"));
  parts.core->Stop();
  EXPECT_EQ(parts.store->LoadIdentity().value().certificates.at(0).key, kKey);
}

TEST(AccessTest, ATokenIsUsedUpOnceItsCertificateWasRenewedReplacedOrRevoked) {
  const std::function<void(Parts&)> changes[] = {
      [](Parts& parts) {
        const Principal worker = parts.access.OfWorker("gpu-1", kKey, kNowMs).value();
        const auto issue = [] { return Parts::Issued("gpu-1", kKey, kNowMs + 1); };
        ASSERT_TRUE(parts.access.Renew(worker, kNowMs + 1, issue).ok());
      },
      [](Parts& parts) { ASSERT_TRUE(parts.access.Revoke("gpu-1", "local", kNowMs).ok()); },
      [](Parts& parts) {
        const std::string bound = parts.Create("worker", "gpu-1").text;
        ASSERT_TRUE(parts.Join(bound, "gpu-1", true, kNowMs + 1, kOtherKey).ok());
      }};
  for (const auto& change : changes) {
    Parts parts;
    const std::string token = parts.Create("worker").text;
    ASSERT_TRUE(parts.Join(token, "gpu-1").ok());
    change(parts);
    EXPECT_TRUE(Says(parts.Join(token, "gpu-1", true, kNowMs + 2).status(), "has been used by"));
  }
}

TEST(AccessTest, OnlyATokenForThatWorkerReplacesAWorker) {
  Parts parts;
  ASSERT_TRUE(parts.Join(parts.Create("worker").text, "gpu-1").ok());
  ASSERT_TRUE(parts.access.Revoke("gpu-1", "local", kNowMs).ok());
  EXPECT_TRUE(Says(parts.access.OfWorker("gpu-1", kKey, kNowMs).status(), "was revoked"));
  EXPECT_FALSE(parts.Join(parts.Create("worker").text, "gpu-1").ok());
  const std::string bound = parts.Create("worker", "gpu-1").text;
  EXPECT_TRUE(Says(parts.Join(bound, "gpu-2").status(), "is only for worker gpu-1"));
  ASSERT_TRUE(parts.Join(bound, "gpu-1", /*is_known=*/true).ok());
  EXPECT_TRUE(parts.access.OfWorker("gpu-1", kKey, kNowMs).ok());
}

TEST(AccessTest, ACertificateEndsWhenItsWorkerJoinsAgainWithAnotherKey) {
  Parts parts;
  ASSERT_TRUE(parts.Join(parts.Create("worker").text, "gpu-1").ok());
  const Principal before = parts.access.OfWorker("gpu-1", kKey, kNowMs).value();
  ASSERT_TRUE(parts.access.Revoke("gpu-1", "local", kNowMs).ok());
  const std::string bound = parts.Create("worker", "gpu-1").text;
  ASSERT_TRUE(parts.Join(bound, "gpu-1", /*is_known=*/true, kNowMs, kOtherKey).ok());

  EXPECT_TRUE(parts.access.OfWorker("gpu-1", kOtherKey, kNowMs).ok());
  for (const Status& refused : {parts.access.OfWorker("gpu-1", kKey, kNowMs).status(),
                                parts.access.StillHolds(before, kNowMs)}) {
    EXPECT_TRUE(Says(refused, "another key than the coordinator knows")) << refused.message();
    EXPECT_TRUE(Says(refused, "join-token create --worker gpu-1")) << refused.message();
  }
  const auto issue = [] { return Parts::Issued("gpu-1", kKey, kNowMs); };
  EXPECT_FALSE(parts.access.Renew(before, kNowMs, issue).ok());
}

// A restore ends the key of a worker that joined later with another one (restored_access.h). The
// worker has the other one.
TEST(AccessTest, ARevocationConcernsTheKnownKey) {
  Parts parts;
  ASSERT_TRUE(parts.Join(parts.Create("worker").text, "gpu-1").ok());
  ASSERT_TRUE(parts.access.Revoke("gpu-1", "local", kNowMs).ok());
  EXPECT_TRUE(Says(parts.access.OfWorker("gpu-1", kKey, kNowMs).status(), "was revoked at"));
  EXPECT_TRUE(Says(parts.access.OfWorker("gpu-1", kOtherKey, kNowMs).status(),
                   "or a backup from before this worker joined was restored"));
}

TEST(AccessTest, RefusedWorkersAreKnownUntilTheyJoinAgain) {
  Parts parts;
  const auto refused = [&](std::int64_t now_ms) { return parts.access.RefusedAt(now_ms); };
  ASSERT_TRUE(parts.Join(parts.Create("worker").text, "gpu-1").ok());
  ASSERT_TRUE(parts.Join(parts.Create("worker").text, "gpu-2").ok());
  EXPECT_TRUE(refused(kNowMs).empty());

  // A revoked one is known even if it does not come; one with another key, once it has come.
  ASSERT_TRUE(parts.access.Revoke("gpu-1", "local", kNowMs).ok());
  EXPECT_FALSE(parts.access.OfWorker("gpu-2", kOtherKey, kNowMs).ok());
  const auto both = refused(kNowMs + 1);
  ASSERT_EQ(both.size(), 2u);
  const std::string& cause = both.at("gpu-1").cause;
  EXPECT_NE(cause.find("the certificate of worker gpu-1 was revoked at"), std::string::npos)
      << cause;
  EXPECT_EQ(both.at("gpu-2").remedy,
            "let worker gpu-2 join again: put a token of `longrun admin join-token create --worker "
            "gpu-2` into the file of its --join, and start it again");

  // One that no longer comes is forgotten; a revocation is not.
  EXPECT_EQ(refused(kNowMs + kHourMs).size(), 1u);
  ASSERT_TRUE(parts.Join(parts.Create("worker", "gpu-1").text, "gpu-1", true).ok());
  ASSERT_TRUE(parts.Join(parts.Create("worker", "gpu-2").text, "gpu-2", true).ok());
  EXPECT_TRUE(refused(kNowMs + 1).empty());
}

TEST(AccessTest, ACertificateIsRenewedForItsKeyAlone) {
  Parts parts;
  ASSERT_TRUE(parts.Join(parts.Create("worker").text, "gpu-1").ok());
  const Principal worker = parts.access.OfWorker("gpu-1", kKey, kNowMs).value();
  const auto issue = [] { return Parts::Issued("gpu-1", kOtherKey, kNowMs); };
  EXPECT_TRUE(
      Says(parts.access.Renew(worker, kNowMs, issue).status(), "for another key it must join"));
  EXPECT_TRUE(parts.access.OfWorker("gpu-1", kKey, kNowMs).ok());
}

// An earlier release stored no key.
TEST(AccessTest, ACertificateWithoutAKnownKeyHoldsUntilItsRenewalTellsTheKey) {
  Parts parts;
  ASSERT_TRUE(parts.Join(parts.Create("worker").text, "gpu-1", false, kNowMs, "").ok());
  const Principal worker = parts.access.OfWorker("gpu-1", kKey, kNowMs).value();
  const auto issue = [] { return Parts::Issued("gpu-1", kKey, kNowMs); };
  ASSERT_TRUE(parts.access.Renew(worker, kNowMs, issue).ok());
  EXPECT_TRUE(parts.access.OfWorker("gpu-1", kKey, kNowMs).ok());
  EXPECT_FALSE(parts.access.OfWorker("gpu-1", kOtherKey, kNowMs).ok());
}

TEST(AccessTest, AccessTokenDoesNotLetAWorkerJoin) {
  Parts parts;
  EXPECT_TRUE(Says(parts.Join(parts.Create("admin").text, "gpu-1").status(), "for people"));
}

TEST(AccessTest, FailedIssueDoesNotUseUpTheToken) {
  Parts parts;
  const CreatedToken token = parts.Create("worker");
  const auto failed = parts.access.Join(
      token.text, "gpu-1", [] { return kKey; }, false, kNowMs,
      [] { return Result<Access::Joined>(Status(Code::kInvalidArgument, "a bad request")); });
  EXPECT_EQ(failed.status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(parts.Join(token.text, "gpu-1").ok());
}

TEST(AccessTest, WrongRolesAndTimesAreRefused) {
  Parts parts;
  EXPECT_EQ(parts.access.CreateToken("root", "", "", kHourMs, kNowMs).status().code(),
            Code::kInvalidArgument);
  for (const std::int64_t valid_ms :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{4000} * 86'400'000}) {
    EXPECT_EQ(parts.access.CreateToken("viewer", "", "", valid_ms, kNowMs).status().code(),
              Code::kInvalidArgument);
  }
  EXPECT_FALSE(parts.access.has_tokens());
  parts.Create("worker");
  EXPECT_FALSE(parts.access.has_tokens());
  parts.Create("viewer");
  EXPECT_TRUE(parts.access.has_tokens());
}

// 20 at once, then 10 per second.
TEST(AccessTest, CallsBeyondTheRateWaitAsLongAsTheRefusalSays) {
  Parts parts;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(parts.access.TakeCall("token a", 1'000).ok()) << i;
  const Status refused = parts.access.TakeCall("token a", 1'000);
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_TRUE(Says(refused, "try again in 100 ms")) << refused.message();
  EXPECT_TRUE(parts.access.TakeCall("token b", 1'000).ok());
  EXPECT_FALSE(parts.access.TakeCall("token a", 1'099).ok());
  EXPECT_TRUE(parts.access.TakeCall("token a", 1'100).ok());
  EXPECT_FALSE(parts.access.TakeCall("token a", 1'100).ok());
}

// Those who hold a join token of this coordinator, and everybody else.
TEST(AccessTest, HoldersOfAJoinTokenAreCountedApartFromEverybodyElse) {
  Parts parts;
  const CreatedToken token = parts.Create("worker"), other = parts.Create("worker");
  const auto caller_of = [&](const std::string& text, std::int64_t now_ms = kNowMs) {
    return parts.access.CallerWhoJoins(text, now_ms);
  };
  const std::string own = caller_of(token.text), others = caller_of("");
  EXPECT_EQ(own, "join token " + token.row.id);
  EXPECT_NE(caller_of(other.text), own);
  EXPECT_NE(others, own);

  std::string guess = token.text;  // its id is public, its secret is not
  guess.back() = guess.back() == '0' ? '1' : '0';
  for (const std::string& text :
       {guess, MakeToken().value().text, std::string(10'000, 'a'), parts.Create("admin").text}) {
    EXPECT_EQ(caller_of(text), others) << text.substr(0, 100);
  }
  EXPECT_EQ(caller_of(token.text, kNowMs + kHourMs + 1), others);

  // The answer to the worker that has used it may have been lost; others may try it, too, if they
  // share a folder of tokens.
  ASSERT_TRUE(parts.Join(token.text, "gpu-1").ok());
  EXPECT_EQ(caller_of(token.text), own);
  ASSERT_TRUE(parts.access.Revoke(other.row.id, "local", kNowMs).ok());
  EXPECT_EQ(caller_of(other.text), others);

  for (int i = 0; i < 20; ++i) EXPECT_TRUE(parts.access.TakeCall(others, 1'000).ok()) << i;
  const Status refused = parts.access.TakeCall(others, 1'000);
  EXPECT_TRUE(Says(refused, "everybody without a valid join token makes more than 10 calls"))
      << refused.message();
  EXPECT_TRUE(parts.access.TakeCall(own, 1'000).ok());
}

TEST(AuditLogTest, EqualRefusalsOfASecondShareAnEntryAndAFloodSharesOne) {
  Parts parts;
  AuditLog audit(*parts.core);
  audit.Note({.principal = "local", .role = "admin", .method = "SubmitSweep", .outcome = "OK"});
  for (int i = 0; i < 1'000; ++i) {
    audit.NoteRefusal(
        {.principal = "nobody", .method = "ListSweeps", .outcome = "UNAUTHENTICATED"});
    audit.NoteRefusal({.principal = "nobody", .method = Str("M", i), .outcome = "UNAUTHENTICATED"});
  }
  audit.StoreRefusals();
  parts.core->Stop();
  const std::vector<AuditRow> rows =
      StoreReader::Open(parts.store->database_path()).value()->Audit(0, 1'000).value();
  ASSERT_LE(rows.size(), 22u);
  EXPECT_EQ(rows.front().method, "SubmitSweep");
  std::int64_t n_refusals = 0;
  for (const AuditRow& row : rows) {
    if (row.outcome == "UNAUTHENTICATED") n_refusals += row.repeats;
  }
  EXPECT_EQ(n_refusals, 2'000);
  const auto of_one = std::ranges::find(rows, "ListSweeps", &AuditRow::method);
  ASSERT_NE(of_one, rows.end());
  EXPECT_EQ(of_one->repeats, 1'000);
}

TEST(AuditLogTest, OldestEntriesGoFirst) {
  Parts parts;
  for (int i = 1; i <= 10; ++i) {
    ASSERT_TRUE(parts.core
                    ->Write([&](Store& store) {
                      return store.AddAudit({.at_ms = i, .principal = "local", .method = Str(i)},
                                            4);
                    })
                    .ok());
  }
  parts.core->Stop();
  const auto reader = StoreReader::Open(parts.store->database_path()).value();
  const std::vector<AuditRow> rows = reader->Audit(0, 100).value();
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows.front().method, "7");
  EXPECT_EQ(rows.back().method, "10");
  EXPECT_EQ(reader->Audit(9, 100)->size(), 2u);
  EXPECT_EQ(reader->Audit(0, 1)->front().method, "10");
}

// At most four of each kind here: changes, what callers who are known failed to do, and what nobody
// known failed to do.
TEST(AuditLogTest, EntriesPushOutOnlyThoseOfTheirKind) {
  const TempFolder folder;
  std::unique_ptr<Store> store = Store::Open(folder.path()).value();
  int n_added = 0;
  const auto add = [&](int n, const std::string& principal, const std::string& outcome) {
    for (int i = 0; i < n; ++i) {
      ASSERT_TRUE(store->Begin().ok());
      ASSERT_TRUE(store
                      ->AddAudit({.at_ms = 1,
                                  .principal = principal,
                                  .method = Str(++n_added),
                                  .outcome = outcome},
                                 4)
                      .ok());
      ASSERT_TRUE(store->Commit().ok());
    }
  };
  const auto methods = [&](bool only_changes = false) {
    std::string text;
    const auto reader = StoreReader::Open(store->database_path()).value();
    const std::vector<AuditRow> rows = reader->Audit(0, 100, only_changes).value();
    for (const AuditRow& row : rows) text += row.method + " ";
    return text;
  };
  add(3, "token a", "OK");
  add(2, "token a", "PERMISSION_DENIED");
  add(50, "nobody", "UNAUTHENTICATED");
  EXPECT_EQ(methods(), "1 2 3 4 5 52 53 54 55 ");
  add(1, "nobody", "OK");  // a worker that joined
  add(1, "worker b", "OK");
  EXPECT_EQ(methods(), "2 3 4 5 52 53 54 55 56 57 ");
  EXPECT_EQ(methods(true), "2 3 56 57 ");
  // The same after a restart, and if a transaction is undone.
  store.reset();
  store = Store::Open(folder.path()).value();
  add(50, "token c", "NOT_FOUND");
  EXPECT_EQ(methods(), "2 3 52 53 54 55 56 57 104 105 106 107 ");
  ASSERT_TRUE(store->Begin().ok());
  ASSERT_TRUE(store->AddAudit({.principal = "local", .method = "undone", .outcome = "OK"}, 4).ok());
  store->Rollback();
  add(1, "local", "OK");
  add(50, "nobody", "RESOURCE_EXHAUSTED");
  EXPECT_EQ(methods(), "3 56 57 104 105 106 107 108 155 156 157 158 ");
}

}  // namespace
}  // namespace longrun::coordinator
