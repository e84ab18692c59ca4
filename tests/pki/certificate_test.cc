#include "pki/certificate.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::int64_t kNowMs = 1'764'000'000'000;
constexpr std::int64_t kDayMs = 86'400'000;

Authority MakeAuthority() {
  Authority authority;
  authority.key = NewPrivateKey().value();
  authority.certificate =
      NewAuthority(authority.key, "an authority", {.now_ms = kNowMs, .valid_ms = kDayMs}).value();
  return authority;
}

TEST(CertificateTest, CoordinatorsCertificateHasItsNamesAndItsLifetime) {
  const Authority authority = MakeAuthority();
  const std::string key = NewPrivateKey().value();
  const std::string pem =
      IssueForCoordinator(authority, key, {"gpu.example.org", "10.0.0.7", "::1"},
                          {.now_ms = kNowMs, .valid_ms = kDayMs})
          .value();
  const CertificateFacts facts = ReadCertificate(pem).value();
  EXPECT_EQ(facts.names, (std::vector<std::string>{"gpu.example.org", "10.0.0.7", "::1"}));
  EXPECT_EQ(facts.not_before_ms, kNowMs - kClockSkewMs);
  EXPECT_EQ(facts.not_after_ms, kNowMs + kDayMs);
  EXPECT_FALSE(facts.is_authority);
  EXPECT_TRUE(CheckKeyOf(key, pem).ok());
  EXPECT_TRUE(CheckSignedBy(pem, authority.certificate).ok());
  EXPECT_TRUE(ReadCertificate(authority.certificate)->is_authority);
}

TEST(CertificateTest, ForeignKeyAndForeignAuthorityAreFound) {
  const Authority authority = MakeAuthority();
  const std::string key = NewPrivateKey().value();
  const std::string request = NewSigningRequest(key, "asks-for-another-name").value();
  const std::string pem =
      IssueForWorker(authority, request, "gpu-7", {.now_ms = kNowMs, .valid_ms = kDayMs}).value();
  EXPECT_EQ(ReadCertificate(pem)->common_name, "gpu-7");
  EXPECT_EQ(CheckKeyOf(NewPrivateKey().value(), pem).code(), Code::kFailedPrecondition);
  EXPECT_EQ(CheckSignedBy(pem, MakeAuthority().certificate).code(), Code::kFailedPrecondition);
}

TEST(CertificateTest, ACertificateHasTheKeyOfItsRequestAndNoOther) {
  const Authority authority = MakeAuthority();
  const Validity validity{.now_ms = kNowMs, .valid_ms = kDayMs};
  const std::string key = NewPrivateKey().value();
  const std::string request = NewSigningRequest(key, "gpu-7").value();
  const std::string digest = KeyOfRequest(request).value();
  EXPECT_TRUE(IsSha256Hex(digest)) << digest;
  for (int i = 0; i < 2; ++i) {
    const std::string pem = IssueForWorker(authority, request, "gpu-7", validity).value();
    EXPECT_EQ(ReadCertificate(pem)->key, digest);
  }
  EXPECT_EQ(KeyOfRequest(NewSigningRequest(key, "gpu-8").value()).value(), digest);
  const std::string other = NewSigningRequest(NewPrivateKey().value(), "gpu-7").value();
  EXPECT_NE(KeyOfRequest(other).value(), digest);
  EXPECT_EQ(KeyOfRequest("").status().code(), Code::kInvalidArgument);
}

TEST(CertificateTest, RequestThatItsKeyHasNotSignedIsRefused) {
  const Authority authority = MakeAuthority();
  std::string request = NewSigningRequest(NewPrivateKey().value(), "gpu-7").value();
  const Validity validity{.now_ms = kNowMs, .valid_ms = kDayMs};
  ASSERT_TRUE(IssueForWorker(authority, request, "gpu-7", validity).ok());
  // The last line with a whole group of base64 lies in the signature.
  const std::size_t end = request.find("\n-----END");
  char& digit = request[end - 8];
  digit = digit == 'A' ? 'B' : 'A';
  EXPECT_EQ(IssueForWorker(authority, request, "gpu-7", validity).status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(IssueForWorker(authority, "", "gpu-7", validity).status().code(),
            Code::kInvalidArgument);
}

TEST(CertificateTest, NameThatWouldAddAnEntryIsRefused) {
  const Authority authority = MakeAuthority();
  const std::string key = NewPrivateKey().value();
  for (const char* const name : {"", "a,DNS:b", "a b", "a/b"}) {
    EXPECT_EQ(IssueForCoordinator(authority, key, {name}, {.now_ms = kNowMs, .valid_ms = kDayMs})
                  .status()
                  .code(),
              Code::kInvalidArgument)
        << name;
  }
}

// The openssl program is another reader of the same standard.
TEST(CertificateTest, OpensslVerifiesTheChainForItsPurpose) {
  if (!PathExists("/usr/bin/openssl")) GTEST_SKIP() << "the openssl program is not installed";
  const TempFolder folder;
  const Authority authority = MakeAuthority();
  const std::string ca = JoinPath(folder.path(), "ca.pem"), leaf = JoinPath(folder.path(), "w.pem");
  const std::string request = NewSigningRequest(NewPrivateKey().value(), "gpu-7").value();
  ASSERT_TRUE(WriteFileAtomic(ca, authority.certificate).ok());
  ASSERT_TRUE(WriteFileAtomic(leaf, IssueForWorker(authority, request, "gpu-7",
                                                   {.now_ms = kNowMs, .valid_ms = kDayMs})
                                        .value())
                  .ok());
  const auto verify = [&](const std::string& purpose) {
    return std::system(Str("openssl verify -attime ", kNowMs / 1000, " -purpose ", purpose,
                           " -CAfile ", ca, " ", leaf, " >/dev/null 2>&1")
                           .c_str());
  };
  EXPECT_EQ(verify("sslclient"), 0);
  EXPECT_NE(verify("sslserver"), 0);
}

TEST(CertificateTest, HostIsComparedWithNamesAsTlsDoes) {
  const CertificateFacts facts{.common_name = "x",
                               .serial = "",
                               .fingerprint = "",
                               .key = "",
                               .names = {"Gpu.example.org", "*.cluster.org", "10.0.0.7"}};
  for (const char* const host : {"gpu.example.org", "a.cluster.org", "10.0.0.7"}) {
    EXPECT_TRUE(IsForHost(facts, host)) << host;
  }
  for (const char* const host : {"x", "example.org", "cluster.org", "a.b.cluster.org", ""}) {
    EXPECT_FALSE(IsForHost(facts, host)) << host;
  }
}

TEST(CertificateTest, FingerprintIsReadInEveryUsualForm) {
  const std::string plain(64, 'a');
  std::string pairs;
  for (int i = 0; i < 32; ++i) pairs += i == 0 ? "AA" : ":AA";
  EXPECT_EQ(PlainFingerprint(plain), plain);
  EXPECT_EQ(PlainFingerprint("sha256:" + plain), plain);
  EXPECT_EQ(PlainFingerprint("SHA256:" + pairs), plain);
  EXPECT_EQ(PlainFingerprint(plain + "a"), "");
  EXPECT_EQ(PlainFingerprint(""), "");
}

}  // namespace
}  // namespace longrun
