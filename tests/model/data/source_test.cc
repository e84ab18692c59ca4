// Each format by bytes that another program made (or that its layout defines, written by hand), and
// by files that mean ill.
#include "model/data/source/source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/data/source/field.h"
#include "model/data/source/megatron.h"
#include "model/data/source/npy.h"

namespace longrun {
namespace {

// What a reader gives: documents of text, and one row of ids with "|" ends in between.
struct Collector final : DocumentSink {
  std::vector<std::string> documents;
  std::vector<std::int32_t> ids;
  std::vector<std::size_t> ends;
  std::string text;
  std::size_t largest_piece = 0;

  Status Text(std::string_view bytes) override {
    largest_piece = std::max(largest_piece, bytes.size());
    text += bytes;
    return Status();
  }
  Status Ids(std::span<const std::int32_t> given) override {
    ids.insert(ids.end(), given.begin(), given.end());
    return Status();
  }
  Status EndDocument() override {
    documents.push_back(text);
    ends.push_back(ids.size());
    text.clear();
    return Status();
  }
};

std::string Bytes(std::string_view hex) {
  std::string bytes;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string digits;
  for (const char c : hex) {
    if (c != ' ' && c != '\n') digits += c;
  }
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes += static_cast<char>(digit(digits[i]) * 16 + digit(digits[i + 1]));
  }
  return bytes;
}

class SourceTest : public testing::Test {
 protected:
  std::string File(const std::string& name, const std::string& bytes) {
    const std::string path = JoinPath(folder_.path(), name);
    std::ofstream(path, std::ios::binary) << bytes;  // no fsync: there are many
    return path;
  }

  Status Read(const SourceOptions& options, const std::string& path, Collector& out) {
    const Result<const SourceFormat*> format = CheckSourceOptions(options);
    if (!format.ok()) return format.status();
    SourceInput input(path, [](std::int64_t) { return Status(); });
    const Status status = (*format)->read(input, options, out);
    if (status.ok()) files_ = input.Files();
    return status;
  }

  std::vector<std::string> Documents(const SourceOptions& options, const std::string& path) {
    Collector out;
    const Status status = Read(options, path, out);
    EXPECT_TRUE(status.ok()) << status.message();
    return out.documents;
  }

  void ExpectRefused(const SourceOptions& options, const std::string& path,
                     const std::string& part) {
    Collector out;
    const Status status = Read(options, path, out);
    EXPECT_FALSE(status.ok()) << part;
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }

  std::vector<SourceFile> files_;  // of the last that was read whole
  TempFolder folder_;
};

using Strings = std::vector<std::string>;
using Ids = std::vector<std::int32_t>;

// ---- text --------------------------------------------------------------------------------------

TEST_F(SourceTest, TextIsOneDocumentWithoutASeparatorAndManyWithOne) {
  const std::string path = File("a.txt", "one\r\n\xff\n\ntwo\f\n\n\nthree\n");
  EXPECT_EQ(Documents({.format = "text", .any_bytes = true}, path),
            Strings{"one\r\n\xff\n\ntwo\f\n\n\nthree\n"});
  EXPECT_EQ(Documents({.format = "text", .separator = "form_feed", .any_bytes = true}, path),
            (Strings{"one\r\n\xff\n\ntwo", "\n\n\nthree\n"}));
  EXPECT_EQ(Documents({.format = "text", .separator = "line", .any_bytes = true}, path),
            (Strings{"one\r", "\xff", "", "two\f", "", "", "three"}));
  EXPECT_EQ(Documents({.format = "text", .separator = "\n\n", .any_bytes = true}, path),
            (Strings{"one\r\n\xff", "two\f", "\nthree\n"}));
  EXPECT_EQ(Documents({.format = "text", .separator = "blank_lines", .any_bytes = true}, path),
            (Strings{"one\r\n\xff\n", "two\f\n", "three\n"}));
  EXPECT_EQ(
      Documents(
          {.format = "text", .separator = "line", .any_bytes = true, .universal_newlines = true},
          path),
      (Strings{"one", "\xff", "", "two\f", "", "", "three"}));
}

TEST_F(SourceTest, WhatIsNoTextIsRefusedByItsFirstByteThatIsNot) {
  struct Case {
    std::string bytes;
    std::string part;
  };
  using namespace std::string_literals;
  const std::vector<Case> cases = {
      {"%PDF-1.4\n", "byte 0: it begins like a PDF"},
      {"PK\x03\x04", "byte 0: it begins like a ZIP archive"},
      {"\x7f"
       "ELF\x02",
       "byte 0: it begins like a program (ELF)"},
      {"\x89PNG\r\n", "byte 0: it begins like a picture (PNG)"},
      {"\x93NUMPY\x01", "read its token ids with --format npy"},
      {"\x1f\x8b\x08", "give it a name that ends in .gz"},
      {"\xff\xfeo\0n\0e\0"s, "byte 0: it begins like text in UTF-16"},
      {"\x80\x04\x95", "byte 0: it begins like a Python pickle"},
      {"one\ntwo\0\n"s, "byte 7 (line 2) is NUL"},
      {"one\n\xfftwo\n", "byte 4 (line 2) is \\xff, which does not start a valid UTF-8 character"},
      {"caf\xe9 noir", "byte 3 (line 1) is \\xe9, which does not start"},
      {"\xc0\x80", "byte 0 (line 1) is \\xc0"},           // overlong
      {"a\xed\xa0\x80", "byte 1 (line 1) is \\xed"},      // a surrogate
      {"a\xf4\x90\x80\x80", "byte 1 (line 1) is \\xf4"},  // beyond U+10FFFF
      {"caf\xc3", "byte 3 (line 1) is \\xc3"},
  };
  for (const Case& wrong : cases) {
    const std::string path = File("a.txt", wrong.bytes);
    ExpectRefused({}, path, wrong.part);
    ExpectRefused({.separator = "line"}, path, wrong.part);
    // Where it is in the file, whatever newlines become.
    ExpectRefused({.universal_newlines = true}, path, wrong.part);
    EXPECT_EQ(Documents({.any_bytes = true}, path), Strings{wrong.bytes});
  }
  ExpectRefused({}, File("train.bin", "\x0b\0"s), "--format raw --dtype u16");
  ExpectRefused({}, File("train.bin", "ab\xff"), "--format raw --dtype u16");
  ExpectRefused({.format = "jsonl"}, File("a.jsonl", "%PDF-1.4\n"), "byte 0: it begins like a PDF");
  ExpectRefused({.format = "jsonl", .any_bytes = true}, File("a.jsonl", "{}"),
                "format jsonl has no key \"any_bytes\"");
}

TEST_F(SourceTest, TextOfEveryLengthOfUtf8IsTaken) {
  const std::string text =
      "\xef\xbb\xbf"
      "a \xc3\xa9 \xe2\x82\xac \xed\x9f\xbf \xf0\x9d\x84\x9e \xf4\x8f\xbf\xbf\x1b\x7f.";
  EXPECT_EQ(Documents({}, File("a.txt", text)), Strings{text});
  // Wherever the pieces are cut.
  for (std::size_t shift = 0; shift < text.size(); ++shift) {
    const std::string long_text = std::string(kSourceChunkBytes - shift, 'a') + text;
    EXPECT_EQ(Documents({}, File("long.txt", long_text)), Strings{long_text});
    ExpectRefused({}, File("long.txt", long_text + '\xff'),
                  Str("byte ", long_text.size(), " (line 1) is \\xff"));
  }
}

TEST_F(SourceTest, BytesOfASeparatorNeedNotBeText) {
  using namespace std::string_literals;
  EXPECT_EQ(Documents({.separator = "\0"s}, File("a.txt", "one\0two\0"s)), (Strings{"one", "two"}));
  EXPECT_EQ(Documents({.separator = "\xff"}, File("b.txt", "\xc3\xa9\xfftwo")),
            (Strings{"\xc3\xa9", "two"}));
  ExpectRefused({.separator = "\0"s}, File("c.txt", "one\0\xfe\0"s), "byte 4 (line 1) is \\xfe");
}

TEST_F(SourceTest, ALineOfWhiteSpaceIsADocumentWithoutText) {
  EXPECT_EQ(Documents({.format = "text", .separator = "line"},
                      File("a.txt", " \n = Title = \n \n\t\none\n   two\n ")),
            (Strings{"", " = Title = ", "", "", "one", "   two", ""}));
}

TEST_F(SourceTest, TextThatEndsWithItsSeparatorHasNoFurtherDocument) {
  EXPECT_EQ(Documents({.format = "text", .separator = "\f"}, File("a.txt", "x\fy\f")),
            (Strings{"x", "y"}));
  EXPECT_EQ(Documents({.format = "text", .separator = "blank_lines"},
                      File("b.txt", "\n\r\n\nx\r\n\r\n\r\ny\n\n")),
            (Strings{"x\r\n", "y\n"}));
  EXPECT_EQ(Documents({.format = "text", .separator = "blank_lines"}, File("c.txt", "x\n\r")),
            (Strings{"x\n\r"}));
}

TEST_F(SourceTest, AWordSeparatesWhenItSaysThatItIsBytes) {
  EXPECT_EQ(Documents({.format = "text", .separator = "bytes:END"}, File("a.txt", "xENDyENDline")),
            (Strings{"x", "y", "line"}));
}

// The reader works in pieces of kSourceChunkBytes: every cut of separators at their border is met
// by shifting the text by one byte at a time.
TEST_F(SourceTest, SeparatorsAreFoundWhereverThePiecesAreCut) {
  for (std::size_t shift = 0; shift < 12; ++shift) {
    const std::string first(kSourceChunkBytes - shift, 'a');
    const std::string path = File("a.txt", first + "<->b\r\n\r\nc<->");
    EXPECT_EQ(Documents({.format = "text", .separator = "<->"}, path),
              (Strings{first, "b\r\n\r\nc"}))
        << shift;
    EXPECT_EQ(Documents({.format = "text", .separator = "blank_lines"}, path),
              (Strings{first + "<->b\r\n", "c<->"}))
        << shift;
    EXPECT_EQ(
        Documents({.format = "text", .separator = "blank_lines", .universal_newlines = true}, path),
        (Strings{first + "<->b\n", "c<->"}))
        << shift;
  }
}

TEST_F(SourceTest, AFileIsGivenInPiecesAndItsHashIsThatOfItsBytes) {
  const std::string text(3 * kSourceChunkBytes + 17, 'x');
  Collector out;
  ASSERT_TRUE(Read({.format = "text"}, File("a.txt", text), out).ok());
  EXPECT_EQ(out.documents, Strings{text});
  EXPECT_LE(out.largest_piece, kSourceChunkBytes);
  ASSERT_EQ(files_.size(), 1u);
  EXPECT_EQ(files_[0].bytes, static_cast<std::int64_t>(text.size()));
  EXPECT_EQ(files_[0].sha256, Sha256Hex(text));
}

// ---- packed ------------------------------------------------------------------------------------

// printf 'one\n' | gzip -n; printf 'two\n' | gzip -n (gzip 1.12), one behind the other.
const char* const kGzip =
    "1f8b0800000000000003 cbcf4be50200 9fa817f804000000"
    "1f8b0800000000000003 2b29cfe70200 7408179604000000";
// printf 'one\n' | zstd; printf 'two\n' | zstd --no-check (zstd 1.5.4), one behind the other.
const char* const kZstd = "28b52ffd04582100006f6e650adf16680928b52ffd005821000074776f0a";

#if defined(LONGRUN_ZLIB) && defined(LONGRUN_ZSTD)
TEST_F(SourceTest, MembersOfAGzipFileAndFramesOfAZstandardFileFollowEachOther) {
  EXPECT_EQ(Documents({.format = "text"}, File("a.txt.gz", Bytes(kGzip))), Strings{"one\ntwo\n"});
  EXPECT_EQ(Documents({.format = "text"}, File("a.txt.zst", Bytes(kZstd))), Strings{"one\ntwo\n"});
  EXPECT_EQ(files_[0].sha256, Sha256Hex(Bytes(kZstd)));  // of the file as it lies there
}

TEST_F(SourceTest, PackedFilesThatAreCutShortOrGoOnWithSomethingElseAreRefused) {
  const std::string gzip = Bytes(kGzip), zstd = Bytes(kZstd);
  for (std::size_t n = 0; n < gzip.size(); ++n) {
    if (n == 24) continue;  // the end of the first member: a whole file
    ExpectRefused({.format = "text"}, File("a.gz", gzip.substr(0, n)), "not a complete gzip file");
  }
  ExpectRefused({.format = "text"}, File("a.gz", gzip + "x"), "not a complete gzip file");
  const std::string zeros(1000, '\0');
  EXPECT_EQ(Documents({.format = "text"}, File("z.txt.gz", gzip + zeros)), Strings{"one\ntwo\n"});
  ExpectRefused({.format = "text"}, File("a.gz", gzip + zeros + gzip),
                "after the zeros at its end come other bytes");
  // RFC 8878, 3.1.1.1.2: a window descriptor of exponent 31 is a window of 2^41 bytes.
  ExpectRefused({.format = "text"}, File("w.zst", Bytes("28b52ffd 00 f8 010000")),
                "compress the text again, with at most `zstd --long=31`");
  std::string changed = gzip;
  changed[12] ^= 1;
  ExpectRefused({.format = "text"}, File("a.gz", changed), "not a complete gzip file");
  ExpectRefused({.format = "text"}, File("a.gz", "plain text"), "not a complete gzip file");
  ExpectRefused({.format = "text"}, File("a.zst", zstd.substr(0, zstd.size() - 1)),
                "not a complete Zstandard file");
  ExpectRefused({.format = "text"}, File("a.zst", zstd + "x"), "not a complete Zstandard file");
  ExpectRefused({.format = "text"}, File("a.zst", "plain text"), "not a complete Zstandard file");
  ExpectRefused({.format = "text"}, File("a.zst", ""), "not a complete Zstandard file");
}
#else
TEST_F(SourceTest, ABuildWithoutALibraryRefusesWhatItWouldUnpack) {
#if !defined(LONGRUN_ZLIB)
  ExpectRefused({.format = "text"}, File("a.txt.gz", Bytes(kGzip)), "this build has no zlib");
#endif
#if !defined(LONGRUN_ZSTD)
  ExpectRefused({.format = "text"}, File("a.txt.zst", Bytes(kZstd)), "this build has no libzstd");
#endif
}
#endif

// ---- JSON lines --------------------------------------------------------------------------------

TEST_F(SourceTest, JsonLinesGiveTheFieldOfThoseObjectsThatPassTheFilter) {
  const std::string path = File(
      "a.jsonl",
      "{\"text\":\"a\\n\\u00e9\",\"meta\":{\"config\":\"arxiv\",\"n\":3,\"ok\":true},\"b\":{\"c\":"
      "\"deep\"}}\n"
      " \t\r\n"
      "{\"text\":\"\",\"meta\":{\"config\":\"web\"}}\r\n"
      "{\"text\":\"c\",\"meta\":\"{\\\"config\\\": \\\"arxiv\\\", \\\"n\\\": 4}\"}\n"
      "{\"text\":\"d\",\"meta\":\"not json\"}");
  EXPECT_EQ(Documents({.format = "jsonl"}, path), (Strings{"a\n\xc3\xa9", "", "c", "d"}));
  const auto filtered = [&](const std::string& filter) {
    return Documents({.format = "jsonl", .filter = filter}, path);
  };
  EXPECT_EQ(filtered("meta.config==arxiv"), (Strings{"a\n\xc3\xa9", "c"}));
  EXPECT_EQ(filtered("meta.config == web"), Strings{""});
  EXPECT_EQ(filtered("meta.n==4"), Strings{"c"});
  EXPECT_EQ(filtered("meta.ok==true"), Strings{"a\n\xc3\xa9"});
  EXPECT_EQ(filtered("nothing==x"), Strings{});
  EXPECT_EQ(Documents({.format = "jsonl", .field = "b.c", .filter = "meta.n==3"}, path),
            Strings{"deep"});
}

TEST_F(SourceTest, JsonLinesThatAreWrongAreNamedByLine) {
  const std::string good = "{\"text\":\"a\"}\n";
  ExpectRefused({.format = "jsonl"}, File("a.jsonl", good + "{\"text\":"), "line 2: ");
  ExpectRefused({.format = "jsonl"}, File("a.jsonl", good + "[1]\n"),
                "line 2: expected a JSON object");
  ExpectRefused({.format = "jsonl"}, File("a.jsonl", good + "{\"txt\":\"b\"}\n"),
                "line 2: expected text at field \"text\", found nothing");
  ExpectRefused({.format = "jsonl"}, File("a.jsonl", good + "{\"text\":7}\n"),
                "line 2: expected text at field \"text\", found number");
  ExpectRefused({.format = "jsonl"}, File("a.jsonl", good + "{\"text\":\"\xff\"}\n"), "line 2: ");
  ExpectRefused({.format = "jsonl"},
                File("a.jsonl", "{\"text\":" + std::string(100000, '[') + "\n"), "line 1: ");
  ExpectRefused({.format = "jsonl", .field = "a..b"}, File("a.jsonl", good),
                "field: expected names joined by dots");
  ExpectRefused({.format = "jsonl", .filter = "a=b"}, File("a.jsonl", good),
                "filter: expected PATH==VALUE");
}

// The same by the whole tree, against which ReadFields() is tested.
std::optional<Json> FieldOfTree(const Json& object, const std::vector<std::string>& path) {
  Json at = object;
  for (const std::string& name : path) {
    if (at.is_string()) {
      Result<Json> inner = ParseJson(at.get<std::string>());
      if (!inner.ok()) return std::nullopt;
      at = std::move(inner).value();
    }
    if (!at.is_object() || !at.contains(name)) return std::nullopt;
    Json next = at[name];
    at = std::move(next);
  }
  return at;
}

void ExpectFieldsOfTree(const std::string& text,
                        const std::vector<std::vector<std::string>>& paths) {
  SCOPED_TRACE(ToUtf8(text.substr(0, 2'000)));
  const Result<FoundFields> found = ReadFields(text, paths, {});
  const Result<Json> tree = ParseJson(text);
  if (!tree.ok()) {
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.status().code(), tree.status().code());
    EXPECT_EQ(found.status().message(), tree.status().message());
    return;
  }
  if (!tree->is_object()) {
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.status().message(), "expected a JSON object");
    return;
  }
  ASSERT_TRUE(found.ok()) << found.status().message();
  ASSERT_EQ(found->size(), paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i) {
    SCOPED_TRACE(Join(paths[i], "."));
    const std::optional<Json> expected = FieldOfTree(*tree, paths[i]);
    const std::optional<FoundField>& field = (*found)[i];
    ASSERT_EQ(field.has_value(), expected.has_value());
    if (!expected) continue;
    EXPECT_EQ(field->TypeName(), expected->type_name());
    if (!expected->is_structured()) {
      EXPECT_EQ(CanonicalJson(field->value), CanonicalJson(*expected));
    }
  }
}

// Few names, so that they meet and occur twice.
class JsonMaker {
 public:
  explicit JsonMaker(std::uint64_t seed) : random_(seed) {}

  std::string Object(int depth) {
    std::string text = "{";
    const std::uint64_t n = Below(4);
    for (std::uint64_t i = 0; i < n; ++i) {
      text += Str(i == 0 ? "" : ",", Space(), "\"", Name(), "\":", Space(), Value(depth + 1));
    }
    return text + "}";
  }
  std::uint64_t Below(std::uint64_t n) { return random_() % n; }

 private:
  std::string Name() {
    static constexpr const char* kNames[] = {"a", "b", "c", "d", "\\u0061", "\xc3\xa9"};
    return kNames[Below(Below(8) == 0 ? 6 : 4)];
  }
  std::string Space() { return Below(6) == 0 ? " " : ""; }
  std::string Value(int depth) {
    switch (Below(depth > 4 ? 7 : 10)) {
      case 0:
        return "null";
      case 1:
        return Below(2) == 0 ? "true" : "false";
      case 2:
        return Str(Below(100));
      case 3:
        return Below(20) == 0 ? "1e999" : "-2.50";
      case 4:
        return "\"text\\n\"";
      case 5:
        return CanonicalJson(Json(Object(depth + 1)));  // text that is an object
      case 6:
        return "18446744073709551615";
      case 7:
        return Str("[", Value(depth + 1), ",", Object(depth + 1), "]");
      default:
        return Object(depth + 1);
    }
  }

  std::mt19937_64 random_;
};

TEST(ReadFieldsTest, ValuesAndErrorsAreThoseOfTheWholeTree) {
  const std::vector<std::vector<std::string>> paths = {
      {"a"}, {"a", "b"}, {"a", "b", "c"}, {"a"}, {"b", "a"}, {"\xc3\xa9"}, {"c", "d", "a", "b"}};
  std::int64_t n_found = 0, n_refused = 0;
  for (std::uint64_t seed = 0; seed < 20'000; ++seed) {
    JsonMaker maker(seed);
    std::string text = maker.Object(0);
    if (maker.Below(4) == 0) text[maker.Below(text.size())] = "{}[],:\"x\\ \xff"[maker.Below(11)];
    ExpectFieldsOfTree(text, paths);
    if (testing::Test::HasFailure()) return;
    const Result<FoundFields> found = ReadFields(text, paths, {});
    if (!found.ok()) {
      n_refused += 1;
    } else {
      n_found += std::ranges::count_if(*found, [](const auto& one) { return one.has_value(); });
    }
  }
  EXPECT_GT(n_found, 5'000);
  EXPECT_GT(n_refused, 2'000);
}

TEST(ReadFieldsTest, ManyKeysAreToldApartAndTheOneThatOccursTwiceIsNamed) {
  std::string text = "{";
  for (int i = 0; i < 20'000; ++i) text += Str("\"key ", i, "\":{\"a\":[", i, "]},");
  const std::string twice = text + "\"key 7\":1,\"key 8\":2}";
  text += "\"a\":1}";
  ExpectFieldsOfTree(text, {{"a"}, {"key 19999", "a"}});
  ExpectFieldsOfTree(twice, {{"a"}});
  const std::string deep = std::string(64, '[') + std::string(64, ']');
  ExpectFieldsOfTree(Str("{\"a\":", deep, "}"), {{"a"}});
  ExpectFieldsOfTree("[1]", {{"a"}});
  ExpectFieldsOfTree("7", {{"a"}});
  ExpectFieldsOfTree("", {{"a"}});
}

// ---- npy, raw ----------------------------------------------------------------------------------

// numpy.save of numpy.array([0, 1, 2, 50256, 65535], "uint16"), [3, 70000] as "int32", [4, 5] as
// "uint32" with format version 2, [6] as "int64"; NumPy 2.
const char* const kNpyU16 =
    "934e554d5059010076007b276465736372273a20273c7532272c2027666f727472616e5f6f7264657227"
    "3a2046616c73652c20277368617065273a2028352c292c207d2020202020202020202020202020202020"
    "202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "200a00000100020050c4ffff";
const char* const kNpyI32 =
    "934e554d5059010076007b276465736372273a20273c6934272c2027666f727472616e5f6f7264657227"
    "3a2046616c73652c20277368617065273a2028322c292c207d2020202020202020202020202020202020"
    "202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "200a0300000070110100";
const char* const kNpyU32v2 =
    "934e554d50590200740000007b276465736372273a20273c7534272c2027666f727472616e5f6f726465"
    "72273a2046616c73652c20277368617065273a2028322c292c207d202020202020202020202020202020"
    "202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "200a0400000005000000";
const char* const kNpyI64 =
    "934e554d5059010076007b276465736372273a20273c6938272c2027666f727472616e5f6f7264657227"
    "3a2046616c73652c20277368617065273a2028312c292c207d2020202020202020202020202020202020"
    "202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "200a0600000000000000";

TEST_F(SourceTest, NpyFilesOfNumpyGiveTheirIds) {
  const auto ids = [&](const char* hex) {
    Collector out;
    const Status status = Read({.format = "npy"}, File("a.npy", Bytes(hex)), out);
    EXPECT_TRUE(status.ok()) << status.message();
    return out.ids;
  };
  EXPECT_EQ(ids(kNpyU16), (Ids{0, 1, 2, 50256, 65535}));
  EXPECT_EQ(ids(kNpyI32), (Ids{3, 70000}));
  EXPECT_EQ(ids(kNpyU32v2), (Ids{4, 5}));
  EXPECT_EQ(ids(kNpyI64), (Ids{6}));
}

TEST_F(SourceTest, NpyFilesThatMeanIllAreRefusedByName) {
  const std::string good = Bytes(kNpyU16);
  const auto refused = [&](const std::string& bytes, const std::string& part) {
    ExpectRefused({.format = "npy"}, File("a.npy", bytes), part);
  };
  for (std::size_t n = 0; n < good.size(); ++n) {
    Collector out;
    EXPECT_FALSE(Read({.format = "npy"}, File("a.npy", good.substr(0, n)), out).ok()) << n;
  }
  refused("", "ends within the first 8 bytes");
  refused("PK\x03\x04 a zip file", "does not begin with \\x93NUMPY");
  refused(good + "xx", "holds 6 ids, but its header says 5");
  refused(good.substr(0, good.size() - 2), "holds 4 ids, but its header says 5: it is cut short");
  refused(good.substr(0, good.size() - 1), "not a multiple of their 2 bytes");
  std::string changed = good;
  changed[6] = 3;
  refused(changed, ".npy version 3, expected 1 or 2");
  std::string v2 = Bytes(kNpyU32v2);
  v2.replace(8, 4, "\xff\xff\xff\xff");
  refused(v2, "the header has 4294967295 bytes");
  std::string negative = Bytes(kNpyI32);
  negative.back() = '\xff';
  refused(negative, "token 1 is -");
  std::string big = Bytes(kNpyI64);
  big.back() = 1;
  refused(big, "which is not an id of any tokenizer");
}

TEST(NpyHeaderTest, OnlyOneRowOfIdsInCOrderIsTaken) {
  const auto message = [](std::string_view text) {
    const Result<NpyHeader> header = ParseNpyHeader(text);
    return header.ok() ? "ok" : header.status().message();
  };
  const auto has = [&](std::string_view text, std::string_view part) {
    EXPECT_NE(message(text).find(part), std::string::npos) << text << ": " << message(text);
  };
  has("{'descr': '<u2', 'fortran_order': False, 'shape': (3,), }  \n", "ok");
  has("{\"shape\":(3,),'fortran_order':False,'descr':'<i8'}", "ok");
  has("{'descr': '>u2', 'fortran_order': False, 'shape': (3,), }", "its dtype is \">u2\"");
  has("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "its dtype is \"<f4\"");
  has("{'descr': '<u2', 'fortran_order': True, 'shape': (3,), }", "Fortran");
  has("{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4), }", "it has 2 dimensions");
  has("{'descr': '<u2', 'fortran_order': False, 'shape': (), }", "it has 0 dimensions");
  for (const std::string_view broken :
       {"", "{", "{}", "{'descr': '<u2'}", "{'descr': '<u2', 'fortran_order': False, 'shape': 3}",
        "{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<u2', 'fortran_order': No, 'shape': (3,)}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (-3,)}",
        "{'descr': '<u2', 'descr': '<u2', 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (3,), 'more': 1}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (3,)} x"}) {
    has(broken, "the header is not a dictionary");
  }
}

TEST_F(SourceTest, RawIdsNeedTheirWidthAndAWholeNumberOfThem) {
  const std::string path = File("a.bin", Bytes("0100 50c4 ffff 0000"));
  Collector narrow, wide;
  ASSERT_TRUE(Read({.format = "raw", .dtype = "u16"}, path, narrow).ok());
  EXPECT_EQ(narrow.ids, (Ids{1, 50256, 65535, 0}));
  ASSERT_TRUE(Read({.format = "raw", .dtype = "u32"}, File("b.bin", Bytes("50c40000")), wide).ok());
  EXPECT_EQ(wide.ids, Ids{50256});
  ExpectRefused({.format = "raw"}, path, "dtype: expected u16 or u32, found nothing");
  ExpectRefused({.format = "raw", .dtype = "i16"}, path,
                "dtype: expected u16 or u32, found \"i16\"");
  ExpectRefused({.format = "raw", .dtype = "u16"}, File("c.bin", "123"),
                "it has 3 bytes of ids, which is not a multiple of their 2 bytes");
  ExpectRefused({.format = "raw", .dtype = "u32"}, File("d.bin", Bytes("ffffffff")),
                "token 0 is 4294967295, which is not an id");
}

// ---- Megatron ----------------------------------------------------------------------------------

template <typename Word>
std::string Le(Word word) {
  std::string bytes(sizeof word, '\0');
  std::memcpy(bytes.data(), &word, sizeof word);
  return bytes;
}

// By the layout in model/data/source/megatron.h: three sequences (10 11), (12), (13 14 15); the
// first two are a document.
std::string Idx(std::uint8_t code, bool fairseq = false, std::int64_t width = 2) {
  std::string idx("MMIDIDX\0\0", 9);
  idx += Le<std::uint64_t>(1) + Le<std::uint8_t>(code) + Le<std::uint64_t>(3);
  if (!fairseq) idx += Le<std::uint64_t>(3);
  for (const std::int32_t length : {2, 1, 3}) idx += Le(length);
  for (const std::int64_t pointer : {0, 2, 3}) idx += Le<std::int64_t>(pointer * width);
  if (!fairseq) {
    for (const std::int64_t boundary : {0, 2, 3}) idx += Le(boundary);
  }
  return idx;
}

TEST_F(SourceTest, MegatronGivesDocumentsByTheirBoundariesAndFairseqEachSequence) {
  File("a.bin", Bytes("0a00 0b00 0c00 0d00 0e00 0f00"));
  Collector megatron, fairseq;
  ASSERT_TRUE(Read({.format = "megatron"}, File("a.idx", Idx(8)), megatron).ok());
  EXPECT_EQ(megatron.ids, (Ids{10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(megatron.ends, (std::vector<std::size_t>{3, 6}));
  EXPECT_EQ(files_.size(), 2u);  // both are hashed
  ASSERT_TRUE(Read({.format = "megatron"}, File("a.idx", Idx(8, true)), fairseq).ok());
  EXPECT_EQ(fairseq.ends, (std::vector<std::size_t>{2, 3, 6}));

  File("b.bin", Bytes("0a000000 0b000000 0c000000 0d000000 0e000000 0f000000"));
  Collector wide;
  ASSERT_TRUE(Read({.format = "megatron"}, File("b.idx", Idx(4, false, 4)), wide).ok());
  EXPECT_EQ(wide.ids, megatron.ids);
}

TEST_F(SourceTest, MegatronFilesThatMeanIllAreRefusedByField) {
  const auto parse = [](const std::string& idx, std::int64_t bin_bytes = 12) {
    return ParseMegatronIndex(std::as_bytes(std::span<const char>(idx)), bin_bytes).status();
  };
  const std::string good = Idx(8);
  ASSERT_TRUE(parse(good).ok());
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse(good.substr(0, n)).ok()) << n;
  const auto with = [&](std::size_t at, const std::string& bytes) {
    std::string changed = good;
    changed.replace(at, bytes.size(), bytes);
    return parse(changed).message();
  };
  const auto has = [](const std::string& message, std::string_view part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  has(with(0, "X"), "does not begin with MMIDIDX");
  has(with(9, Le<std::uint64_t>(2)), "version is 2, expected 1");
  has(with(17, "\x06"), "type code is 6, expected an integer type, 1 to 5 or 8");
  has(with(18, Le<std::uint64_t>(UINT64_MAX)), "n_sequences is 18446744073709551615");
  has(with(26, Le<std::uint64_t>(UINT64_MAX / 8)), "file size is");
  has(with(34, Le<std::int32_t>(-1)), "length[0] is -1");
  has(with(34 + 8, Le<std::int32_t>(INT32_MAX)), "pointer[2] is 6 (with 2147483647 ids");
  has(with(46 + 8, Le<std::int64_t>(-2)), "pointer[1] is -2");
  has(with(46 + 16, Le<std::int64_t>(INT64_MAX)), "pointer[2] is 9223372036854775807");
  has(with(70, Le<std::int64_t>(1)), "boundary[0] is 1, expected 0");
  has(with(78, Le<std::int64_t>(4)), "boundary[1] is 4");
  has(with(86, Le<std::int64_t>(2)), "boundary[2] is 2, expected n_sequences, 3");
  has(parse(good, 11).message(), "pointer[2]");
  ExpectRefused({.format = "megatron"}, File("a.bin", ""), "list the .idx file");
  ExpectRefused({.format = "megatron"}, File("lone.idx", good), "cannot read");
}

// ---- options -----------------------------------------------------------------------------------

TEST(SourceOptionsTest, UnknownFormatsAndOptionsOfOthersAreRefused) {
  const auto message = [](const SourceOptions& options) {
    return CheckSourceOptions(options).status().message();
  };
  EXPECT_EQ(
      message({.format = "json"}),
      "unknown format \"json\"; did you mean \"jsonl\"? (choose one of text, jsonl, npy, raw, "
      "megatron, parquet, rule)");
  EXPECT_EQ(message({.format = "text", .field = "a"}),
            "format text has no key \"field\": leave it out");
  EXPECT_EQ(message({.format = "npy", .dtype = "u16"}),
            "format npy has no key \"dtype\": leave it out");
  EXPECT_NE(message({.format = "npy", .universal_newlines = true}).find("format npy gives tokens"),
            std::string::npos);
  EXPECT_NE(message({.format = "text", .separator = ""}).find("separator: expected line"),
            std::string::npos);
  EXPECT_NE(message({.format = "text", .separator = "bytes:"}).find("found 0 bytes"),
            std::string::npos);
}

// As bytes they would be found nowhere, and a whole file would silently be one document.
TEST(SourceOptionsTest, AMistypedNameOfASeparatorIsNotTakenForBytes) {
  const auto message = [](const char* separator) {
    return CheckSourceOptions({.format = "text", .separator = separator}).status().message();
  };
  EXPECT_EQ(message("blank-lines"),
            "separator: unknown name \"blank-lines\"; did you mean \"blank_lines\"? (choose one of "
            "line, form_feed, blank_lines; to separate documents by this very word, write "
            "bytes:blank-lines)");
  EXPECT_EQ(message("eof"),
            "separator: unknown name \"eof\" (choose one of line, form_feed, blank_lines; to "
            "separate documents by this very word, write bytes:eof)");
  for (const char* const bytes :
       {"\f", "---", "<|endoftext|>", "\nEND\n", "the end", "bytes:eof"}) {
    EXPECT_EQ(message(bytes), "") << bytes;
  }
}

TEST(SourceOptionsTest, ABuildWithoutParquetSaysHowToHaveIt) {
  const Status status = CheckSourceOptions({.format = "parquet"}).status();
  if (status.ok()) GTEST_SKIP() << "this build has it; tests/model/data/parquet_test.cc";
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_NE(status.message().find("-DLONGRUN_PARQUET=ON"), std::string::npos);
}

TEST(SourceOptionsTest, TheFormatIsGuessedFromTheName) {
  EXPECT_EQ(GuessSourceFormat("a.txt"), "text");
  EXPECT_EQ(GuessSourceFormat("a.jsonl.gz"), "jsonl");
  EXPECT_EQ(GuessSourceFormat("dir.npy/a"), "text");
  EXPECT_EQ(GuessSourceFormat("a.npy"), "npy");
  EXPECT_EQ(GuessSourceFormat("a.idx"), "megatron");
  EXPECT_EQ(GuessSourceFormat("a.parquet"), "parquet");
  EXPECT_EQ(NamedSourceFormat("a.txt.zst"), "text");
  EXPECT_EQ(NamedSourceFormat("dir.txt/a"), "");
  EXPECT_EQ(NamedSourceFormat("a.raw"), "");
}

}  // namespace
}  // namespace longrun
