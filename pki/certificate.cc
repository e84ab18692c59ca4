// See certificate.h.
#include "pki/certificate.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>

#include "base/clock.h"
#include "base/hash.h"
#include "base/letter_case.h"
#include "base/str.h"

namespace longrun {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Request = std::unique_ptr<X509_REQ, Freer<X509_REQ_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Name = std::unique_ptr<X509_NAME, Freer<X509_NAME_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;
using Number = std::unique_ptr<BIGNUM, Freer<BN_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;

constexpr int kSerialBits = 127;  // positive, and at most 16 bytes
constexpr int kX509v3 = 2;        // X.509 counts from 0
constexpr std::string_view kEndLine = "-----END CERTIFICATE-----";

// The newest error of OpenSSL, after which its queue is empty.
Status Failed(std::string_view what) {
  const unsigned long error = ERR_peek_last_error();
  std::array<char, 256> text{};
  ERR_error_string_n(error, text.data(), text.size());
  ERR_clear_error();
  return Status(Code::kInternal,
                Str(what, ": ", error == 0 ? "OpenSSL says no more" : text.data()));
}

Bio Reading(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string Written(BIO* bio) {
  char* data = nullptr;
  const long n_bytes = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(n_bytes));
}

Result<Key> ReadKey(const std::string& pem) {
  Key key(PEM_read_bio_PrivateKey(Reading(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!key) return Status(Code::kInvalidArgument, "the text is not a private key in PEM form");
  return key;
}

Result<Certificate> ReadOne(std::string_view pem) {
  Certificate certificate(PEM_read_bio_X509(Reading(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!certificate) {
    return Status(Code::kInvalidArgument, "the text is not a certificate in PEM form");
  }
  return certificate;
}

Result<std::string> PemOf(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), certificate) != 1) return Failed("writing a certificate");
  return Written(bio.get());
}

Result<Name> NameOf(const std::string& common_name) {
  Name name(X509_NAME_new());
  const auto* const bytes = reinterpret_cast<const unsigned char*>(common_name.data());
  if (!name || X509_NAME_add_entry_by_NID(name.get(), NID_commonName, MBSTRING_UTF8, bytes,
                                          static_cast<int>(common_name.size()), -1, 0) != 1) {
    return Failed(Str("the name \"", common_name, "\" (1 to 64 characters) of a certificate"));
  }
  return name;
}

// What all certificates have: version, serial, lifetime, subject and public key.
Result<Certificate> Blank(EVP_PKEY* public_key, const std::string& common_name,
                          const Validity& validity) {
  Certificate certificate(X509_new());
  const Number serial(BN_new());
  ASSIGN_OR_RETURN(const Name name, NameOf(common_name));
  const std::time_t begin = (validity.now_ms - kClockSkewMs) / 1000;
  const std::time_t end = (validity.now_ms + validity.valid_ms) / 1000;
  const bool made = certificate && serial && X509_set_version(certificate.get(), kX509v3) == 1 &&
                    BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                    BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())) &&
                    ASN1_TIME_set(X509_getm_notBefore(certificate.get()), begin) &&
                    ASN1_TIME_set(X509_getm_notAfter(certificate.get()), end) &&
                    X509_set_subject_name(certificate.get(), name.get()) == 1 &&
                    X509_set_pubkey(certificate.get(), public_key) == 1;
  if (!made) return Failed("making a certificate");
  return certificate;
}

Status AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return Failed(Str("the extension ", OBJ_nid2sn(nid), "=", value, " of a certificate"));
  }
  return Status();
}

Result<std::string> Signed(X509* certificate, X509* issuer, EVP_PKEY* key) {
  if (X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) != 1 ||
      X509_sign(certificate, key, EVP_sha256()) == 0) {
    return Failed("signing a certificate");
  }
  return PemOf(certificate);
}

Result<std::string> Issue(const Authority& authority, EVP_PKEY* public_key,
                          const std::string& common_name, const std::string& usage,
                          const std::string& alternative_names, const Validity& validity) {
  ASSIGN_OR_RETURN(const Key key, ReadKey(authority.key));
  ASSIGN_OR_RETURN(const Certificate issuer, ReadOne(authority.certificate));
  ASSIGN_OR_RETURN(const Certificate made, Blank(public_key, common_name, validity));
  const auto add = [&](int nid, const std::string& value) {
    return AddExtension(made.get(), issuer.get(), nid, value);
  };
  RETURN_IF_ERROR(add(NID_basic_constraints, "critical,CA:FALSE"));
  RETURN_IF_ERROR(add(NID_key_usage, "critical,digitalSignature"));
  RETURN_IF_ERROR(add(NID_ext_key_usage, usage));
  RETURN_IF_ERROR(add(NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(add(NID_authority_key_identifier, "keyid:always"));
  if (!alternative_names.empty()) RETURN_IF_ERROR(add(NID_subject_alt_name, alternative_names));
  return Signed(made.get(), issuer.get(), key.get());
}

bool IsIpAddress(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
}

// A comma would begin another entry in OpenSSL's text form.
bool IsHostName(const std::string& name) {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*";
  return !name.empty() && name.find_first_not_of(kLetters) == std::string::npos;
}

Result<std::int64_t> MsOf(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return Failed("a certificate's time");
  return std::int64_t{timegm(&parts)} * 1000;
}

std::string TextOf(const GENERAL_NAME& name) {
  if (name.type == GEN_DNS) {
    const auto* const bytes = ASN1_STRING_get0_data(name.d.dNSName);
    const int n_bytes = ASN1_STRING_length(name.d.dNSName);
    return std::string(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n_bytes));
  }
  if (name.type != GEN_IPADD) return "";
  const int family = ASN1_STRING_length(name.d.iPAddress) == 4 ? AF_INET : AF_INET6;
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(family, ASN1_STRING_get0_data(name.d.iPAddress), text.data(), text.size());
  return text.data();
}

Result<std::string> KeyDigest(const X509_PUBKEY* key) {
  unsigned char* der = nullptr;
  const int n_bytes = i2d_X509_PUBKEY(key, &der);
  if (n_bytes < 0) return Failed("a public key's DER form");
  std::string digest =
      Sha256Hex({reinterpret_cast<const char*>(der), static_cast<std::size_t>(n_bytes)});
  OPENSSL_free(der);
  return digest;
}

Result<Request> ReadRequest(const std::string& pem) {
  Request request(PEM_read_bio_X509_REQ(Reading(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!request) return Status(Code::kInvalidArgument, "the text is not a signing request");
  EVP_PKEY* const key = X509_REQ_get0_pubkey(request.get());
  const bool is_own = key != nullptr && X509_REQ_verify(request.get(), key) == 1;
  ERR_clear_error();
  if (is_own) return request;
  return Status(Code::kInvalidArgument, "the signing request is not signed by its own key");
}

}  // namespace

Result<std::string> NewPrivateKey() {
  const Key key(EVP_EC_gen("P-256"));
  if (!key) return Failed("making a private key");
  const Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return Failed("writing a private key");
  }
  return Written(bio.get());
}

Result<std::string> NewAuthority(const std::string& key_pem, const std::string& name,
                                 const Validity& validity) {
  ASSIGN_OR_RETURN(const Key key, ReadKey(key_pem));
  ASSIGN_OR_RETURN(const Certificate made, Blank(key.get(), name, validity));
  const auto add = [&](int nid, const std::string& value) {
    return AddExtension(made.get(), made.get(), nid, value);
  };
  RETURN_IF_ERROR(add(NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  RETURN_IF_ERROR(add(NID_key_usage, "critical,keyCertSign,cRLSign"));
  RETURN_IF_ERROR(add(NID_subject_key_identifier, "hash"));
  return Signed(made.get(), made.get(), key.get());
}

Result<std::string> NewSigningRequest(const std::string& key_pem, const std::string& name) {
  ASSIGN_OR_RETURN(const Key key, ReadKey(key_pem));
  ASSIGN_OR_RETURN(const Name subject, NameOf(name));
  const Request request(X509_REQ_new());
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!request || X509_REQ_set_version(request.get(), 0) != 1 ||
      X509_REQ_set_subject_name(request.get(), subject.get()) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0 ||
      PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) {
    return Failed("making a signing request");
  }
  return Written(bio.get());
}

Result<std::string> IssueForCoordinator(const Authority& authority, const std::string& key_pem,
                                        const std::vector<std::string>& names,
                                        const Validity& validity) {
  ASSIGN_OR_RETURN(const Key key, ReadKey(key_pem));
  std::vector<std::string> entries;
  for (const std::string& name : names) {
    if (!IsIpAddress(name) && !IsHostName(name)) {
      return Status(Code::kInvalidArgument,
                    Str("\"", name, "\" is neither a host's name nor an IP address"));
    }
    entries.push_back(Str(IsIpAddress(name) ? "IP:" : "DNS:", name));
  }
  return Issue(authority, key.get(), "longrun-coordinator", "serverAuth", Join(entries, ","),
               validity);
}

Result<std::string> KeyOfRequest(const std::string& request_pem) {
  ASSIGN_OR_RETURN(const Request request, ReadRequest(request_pem));
  return KeyDigest(X509_REQ_get_X509_PUBKEY(request.get()));
}

Result<std::string> IssueForWorker(const Authority& authority, const std::string& request_pem,
                                   const std::string& worker_id, const Validity& validity) {
  ASSIGN_OR_RETURN(const Request request, ReadRequest(request_pem));
  return Issue(authority, X509_REQ_get0_pubkey(request.get()), worker_id, "clientAuth", "",
               validity);
}

Result<CertificateFacts> ReadCertificate(const std::string& pem) {
  ASSIGN_OR_RETURN(const Certificate certificate, ReadOne(pem));
  CertificateFacts facts;
  const X509_NAME* const subject = X509_get_subject_name(certificate.get());
  if (const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); at >= 0) {
    const ASN1_STRING* const text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    facts.common_name.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                             static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  const Number serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
  char* const digits = BN_bn2hex(serial.get());
  facts.serial = digits;
  OPENSSL_free(digits);
  unsigned char* der = nullptr;
  const int n_bytes = i2d_X509(certificate.get(), &der);
  if (n_bytes < 0) return Failed("a certificate's DER form");
  facts.fingerprint =
      Sha256Hex({reinterpret_cast<const char*>(der), static_cast<std::size_t>(n_bytes)});
  OPENSSL_free(der);
  ASSIGN_OR_RETURN(facts.key, KeyDigest(X509_get_X509_PUBKEY(certificate.get())));
  ASSIGN_OR_RETURN(facts.not_before_ms, MsOf(X509_get0_notBefore(certificate.get())));
  ASSIGN_OR_RETURN(facts.not_after_ms, MsOf(X509_get0_notAfter(certificate.get())));
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const std::string name = TextOf(*sk_GENERAL_NAME_value(names.get(), i));
    if (!name.empty()) facts.names.push_back(name);
  }
  facts.is_authority = X509_check_ca(certificate.get()) == 1;
  return facts;
}

Status CheckTime(const CertificateFacts& facts, std::string_view of, std::int64_t now_ms) {
  if (now_ms >= facts.not_before_ms && now_ms <= facts.not_after_ms) return Status();
  return Status(Code::kFailedPrecondition,
                Str("the certificate of ", of, " is valid from ", FormatWallMs(facts.not_before_ms),
                    " to ", FormatWallMs(facts.not_after_ms), ", but this machine's clock says ",
                    FormatWallMs(now_ms)));
}

bool IsForHost(const CertificateFacts& facts, std::string_view host) {
  const auto is_equal = [](std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, &ToLower, &ToLower);
  };
  const std::string_view parent = host.substr(std::min(host.find('.'), host.size()));
  return std::ranges::any_of(facts.names, [&](std::string_view name) {
    const bool is_any = name.starts_with("*.") && !parent.empty();
    return is_equal(name, host) || (is_any && is_equal(name.substr(1), parent));
  });
}

std::vector<std::string> SplitCertificates(std::string_view pem) {
  std::vector<std::string> each;
  while (true) {
    const std::size_t end = pem.find(kEndLine);
    if (end == std::string_view::npos) return each;
    each.push_back(Str(Trim(pem.substr(0, end + kEndLine.size())), "\n"));
    pem.remove_prefix(end + kEndLine.size());
  }
}

Status CheckKeyOf(const std::string& key_pem, const std::string& pem) {
  ASSIGN_OR_RETURN(const Key key, ReadKey(key_pem));
  ASSIGN_OR_RETURN(const Certificate certificate, ReadOne(pem));
  const bool fits = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return fits ? Status()
              : Status(Code::kFailedPrecondition, "the private key is not that of the certificate");
}

Status CheckSignedBy(const std::string& pem, const std::string& authority_pem) {
  ASSIGN_OR_RETURN(const Certificate certificate, ReadOne(pem));
  ASSIGN_OR_RETURN(const Certificate authority, ReadOne(authority_pem));
  const bool is_signed = X509_verify(certificate.get(), X509_get0_pubkey(authority.get())) == 1;
  ERR_clear_error();
  return is_signed ? Status()
                   : Status(Code::kFailedPrecondition,
                            "the authority (CA) has not signed the certificate");
}

std::string PlainFingerprint(std::string_view text) {
  constexpr std::string_view kScheme = "sha256:";
  std::string plain = InSmallLetters(text);
  if (plain.starts_with(kScheme)) plain = plain.substr(kScheme.size());
  std::erase(plain, ':');
  return IsSha256Hex(plain) ? plain : "";
}

}  // namespace longrun
