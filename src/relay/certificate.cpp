#include "relay/certificate.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "base/text.h"
#include "relay/openssl_owned.h"

namespace lb::relay {
namespace {

constexpr std::size_t kLargestCertificate = std::size_t{4} << 20;
constexpr std::size_t kNamesShown = 3;
constexpr std::size_t kNameShown = 64;  // characters
constexpr std::string_view kLogger = " (logger)";

// With its length: a NUL in it ends no name.
std::string bytes_of(const ASN1_STRING* text) {
  const auto* data = reinterpret_cast<const char*>(ASN1_STRING_get0_data(text));
  return {data, static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::vector<std::string> common_names(const X509* certificate) {
  std::vector<std::string> out;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
    unsigned char* utf8 = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) continue;
    out.emplace_back(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
    OPENSSL_free(utf8);
  }
  return out;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

std::vector<std::string> names_of(const X509* certificate) {
  if (certificate == nullptr) return {};
  if (X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1) < 0)
    return common_names(certificate);
  std::vector<std::string> out;
  const Owned<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) out.push_back(bytes_of(name->d.dNSName));
  }
  return out;
}

Result<std::vector<std::string>> names_in(const std::string& path) {
  LB_TRY(const std::string text, read_file(path, kLargestCertificate));
  const Owned<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  const Owned<X509> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!certificate) return fail(EINVAL, fmt::format("{} holds no certificate in PEM", path));
  return names_of(certificate.get());
}

bool name_node(const std::vector<std::string>& names, std::string_view node) {
  if (node.ends_with(kLogger)) node.remove_suffix(kLogger.size());
  if (node.empty()) return false;
  return std::any_of(names.begin(), names.end(), [node](const std::string& name) {
    return name.find('*') == std::string::npos && same_name(name, node);
  });
}

std::string listed_names(const std::vector<std::string>& names) {
  if (names.empty()) return "no node";
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kNamesShown); ++i)
    out += (i == 0 ? "" : ", ") + printable(names[i], kNameShown);
  if (names.size() > kNamesShown) out += fmt::format(" and {} more", names.size() - kNamesShown);
  return out;
}

std::string name_text(const X509_NAME* name) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return size <= 0 ? "" : printable({data, static_cast<std::size_t>(size)}, kNameShown);
}

std::string title_of(const X509* certificate) {
  const std::string subject = name_text(X509_get_subject_name(certificate));
  return subject.empty() ? listed_names(names_of(certificate)) : subject;
}

}  // namespace lb::relay
