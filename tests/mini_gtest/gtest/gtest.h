// The part of GoogleTest that our tests use, under GoogleTest's names, for machines that have no
// GoogleTest (a trainer-only build). Where GoogleTest is, it is used instead of this file.
//
// There are TEST, TEST_F, TEST_P with INSTANTIATE_TEST_SUITE_P (Values, ValuesIn, Range, Bool),
// EXPECT_ and ASSERT_ TRUE FALSE EQ NE LT LE GT GE STREQ NEAR FLOAT_EQ DOUBLE_EQ, FAIL,
// ADD_FAILURE, SUCCEED, GTEST_SKIP, SCOPED_TRACE, and --gtest_filter and --gtest_list_tests.
// There are no death tests, no matchers and no mocks.
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <ranges>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace testing {

// What follows an assertion: EXPECT_EQ(a, b) << "in round " << i;
class Message {
 public:
  template <typename T>
  Message& operator<<(const T& part) {
    text_ << part;
    return *this;
  }
  Message& operator<<(bool part) {
    text_ << (part ? "true" : "false");
    return *this;
  }
  Message& operator<<(std::ostream& (*part)(std::ostream&)) {
    text_ << part;
    return *this;
  }
  std::string GetString() const { return text_.str(); }

 private:
  std::ostringstream text_;
};

class Test {
 public:
  virtual ~Test() = default;
  static void SetUpTestSuite() {}
  static void TearDownTestSuite() {}
  static bool HasFatalFailure();
  static bool HasFailure();
  static bool IsSkipped();

  virtual void SetUp() {}
  virtual void TearDown() {}
  virtual void TestBody() = 0;

 protected:
  Test() = default;
};

template <typename T>
class WithParamInterface {
 public:
  using ParamType = T;
  virtual ~WithParamInterface() = default;
  static const T& GetParam() { return *param_; }
  static void SetParam(const T* param) { param_ = param; }

 private:
  static inline const T* param_ = nullptr;
};

template <typename T>
class TestWithParam : public Test, public WithParamInterface<T> {};

template <typename T>
struct TestParamInfo {
  T param;
  std::size_t index = 0;
};

// Numbers and text as they are, ranges by their elements, other things by their size.
template <typename T>
std::string PrintToString(const T& value);

namespace internal {

template <typename T>
void Print(std::ostream& out, const T& value) {
  if constexpr (std::same_as<T, bool>) {
    out << (value ? "true" : "false");
  } else if constexpr (std::same_as<T, std::nullptr_t>) {
    out << "nullptr";
  } else if constexpr (std::convertible_to<T, std::string_view> && !std::is_pointer_v<T>) {
    out << '"' << std::string_view(value) << '"';
  } else if constexpr (std::same_as<T, signed char> || std::same_as<T, unsigned char>) {
    out << static_cast<int>(value);
  } else if constexpr (std::floating_point<T>) {
    const auto precision = out.precision(std::numeric_limits<T>::max_digits10);
    out << value;
    out.precision(precision);
  } else if constexpr (requires { out << value; }) {
    out << value;
  } else if constexpr (std::is_enum_v<T>) {
    Print(out, static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::ranges::input_range<const T>) {
    out << '{';
    const char* separator = "";
    for (const auto& item : value) {
      out << separator;
      Print(out, item);
      separator = ", ";
    }
    out << '}';
  } else if constexpr (requires { value.first, value.second; }) {
    out << '(';
    Print(out, value.first);
    out << ", ";
    Print(out, value.second);
    out << ')';
  } else {
    out << sizeof(T) << "-byte object";
  }
}

// Whether an assertion holds and, where not, what it saw.
struct Outcome {
  bool holds = true;
  std::string text;
  explicit operator bool() const { return holds; }
};

inline Outcome Truth(bool value, const char* expression, bool expected) {
  if (value == expected) return {};
  return {false, std::string("Value of: ") + expression + "\n  Actual: " +
                     (value ? "true" : "false") + "\nExpected: " + (expected ? "true" : "false")};
}

template <typename A, typename B, typename Holds>
Outcome Compared(const A& a, const B& b, const char* a_text, const char* sign, const char* b_text,
                 Holds holds) {
  if (holds(a, b)) return {};
  return {false, std::string("Expected: ") + a_text + " " + sign + " " + b_text +
                     "\n  Actual: " + PrintToString(a) + " vs " + PrintToString(b)};
}

// Equal in GoogleTest's sense: at most 4 steps of the type apart.
template <std::floating_point T, typename Bits>
bool AlmostEqual(T a, T b) {
  if (std::isnan(a) || std::isnan(b)) return false;
  constexpr Bits kSign = Bits{1} << (8 * sizeof(Bits) - 1);
  const auto place = [](T value) {
    const Bits bits = std::bit_cast<Bits>(value);
    return (bits & kSign) != 0 ? static_cast<Bits>(~bits + 1) : static_cast<Bits>(kSign | bits);
  };
  const Bits x = place(a), y = place(b);
  return (x > y ? x - y : y - x) <= 4;
}

inline bool SameText(const char* a, const char* b) {
  return a == nullptr || b == nullptr ? a == b : std::strcmp(a, b) == 0;
}

enum class Kind { kFailure, kFatal, kSkip, kSuccess };

// Takes the message that follows an assertion: assignment binds weaker than <<.
class Report {
 public:
  Report(Kind kind, const char* file, int line, std::string text)
      : kind_(kind), file_(file), line_(line), text_(std::move(text)) {}
  void operator=(const Message& message) const;

 private:
  Kind kind_;
  const char* file_;
  int line_;
  std::string text_;
};

class Trace {
 public:
  Trace(const char* file, int line, const std::string& text);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
};

struct Case {
  std::string suite;
  std::string name;
  std::function<std::unique_ptr<Test>()> make;
  void (*set_up_suite)() = nullptr;
  void (*tear_down_suite)() = nullptr;
};

bool AddCase(Case added);
// Adds the cases of a parameterized suite, once all are known: before the run.
bool AddExpansion(std::function<void()> expand);

// The TEST_P bodies of one fixture.
template <typename Fixture>
struct Bodies {
  struct Body {
    std::string name;
    std::unique_ptr<Test> (*make)() = nullptr;
    void (*set_up_suite)() = nullptr;
    void (*tear_down_suite)() = nullptr;
  };
  static std::vector<Body>& All() {
    static std::vector<Body> all;
    return all;
  }
  static bool Add(Body body) {
    All().push_back(std::move(body));
    return true;
  }
};

template <typename T>
std::string NameByIndex(const TestParamInfo<T>& info) {
  return std::to_string(info.index);
}

template <typename Fixture, typename Values, typename Name>
bool Instantiate(std::string prefix, std::string suite, Values values, Name name) {
  using T = typename Fixture::ParamType;
  auto kept = std::make_shared<std::vector<T>>();
  for (auto&& value : values) kept->push_back(static_cast<T>(value));
  return AddExpansion([=] {
    for (const auto& body : Bodies<Fixture>::All()) {
      for (std::size_t i = 0; i < kept->size(); ++i) {
        const T* param = &(*kept)[i];
        AddCase({.suite = prefix + "/" + suite,
                 .name = body.name + "/" + name(TestParamInfo<T>{*param, i}),
                 .make =
                     [make = body.make, param, kept] {
                       Fixture::SetParam(param);
                       return make();
                     },
                 .set_up_suite = body.set_up_suite,
                 .tear_down_suite = body.tear_down_suite});
      }
    }
  });
}

template <typename Fixture, typename Values>
bool Instantiate(std::string prefix, std::string suite, Values values) {
  return Instantiate<Fixture>(std::move(prefix), std::move(suite), std::move(values),
                              &NameByIndex<typename Fixture::ParamType>);
}

}  // namespace internal

template <typename T>
std::string PrintToString(const T& value) {
  std::ostringstream out;
  internal::Print(out, value);
  return out.str();
}

template <typename... T>
auto Values(T... values) {
  return std::vector<std::common_type_t<T...>>{values...};
}
template <typename Container>
auto ValuesIn(const Container& container) {
  return std::vector<std::ranges::range_value_t<Container>>(std::ranges::begin(container),
                                                            std::ranges::end(container));
}
template <typename T>
auto Range(T begin, T end, T step = 1) {
  std::vector<T> values;
  for (T value = begin; value < end; value = static_cast<T>(value + step)) values.push_back(value);
  return values;
}
inline std::vector<bool> Bool() { return {false, true}; }

void InitGoogleTest(int* argc, char** argv);
void InitGoogleTest();

}  // namespace testing

int RUN_ALL_TESTS();

#define LR_GTEST_CLASS(suite, name) suite##_##name##_Test

// The class itself names the fixture's functions, which may be protected.
#define LR_GTEST_MAKE(class_name)                                                               \
  [] { return std::unique_ptr<::testing::Test>(new class_name); }, &class_name::SetUpTestSuite, \
      &class_name::TearDownTestSuite
#define LR_GTEST_TEST(suite, name, fixture)                                                      \
  class LR_GTEST_CLASS(suite, name) : public fixture {                                           \
    void TestBody() override;                                                                    \
    static const bool is_added_;                                                                 \
  };                                                                                             \
  const bool LR_GTEST_CLASS(suite, name)::is_added_ =                                            \
      ::testing::internal::AddCase({#suite, #name, LR_GTEST_MAKE(LR_GTEST_CLASS(suite, name))}); \
  void LR_GTEST_CLASS(suite, name)::TestBody()

#define TEST(suite, name) LR_GTEST_TEST(suite, name, ::testing::Test)
#define TEST_F(fixture, name) LR_GTEST_TEST(fixture, name, fixture)
#define TEST_P(fixture, name)                                                                      \
  class LR_GTEST_CLASS(fixture, name) : public fixture {                                           \
    void TestBody() override;                                                                      \
    static const bool is_added_;                                                                   \
  };                                                                                               \
  const bool LR_GTEST_CLASS(fixture, name)::is_added_ = ::testing::internal::Bodies<fixture>::Add( \
      {#name, LR_GTEST_MAKE(LR_GTEST_CLASS(fixture, name))});                                      \
  void LR_GTEST_CLASS(fixture, name)::TestBody()

#define INSTANTIATE_TEST_SUITE_P(prefix, fixture, ...)                       \
  [[maybe_unused]] static const bool lr_gtest_##prefix##_##fixture##_added = \
      ::testing::internal::Instantiate<fixture>(#prefix, #fixture, __VA_ARGS__)

#define LR_GTEST_REPORT(kind, text)                                                        \
  ::testing::internal::Report(::testing::internal::Kind::kind, __FILE__, __LINE__, text) = \
      ::testing::Message()

// The switch keeps an `else` of the test from joining our `if`.
#define LR_GTEST_EXPECT(outcome)                                         \
  switch (0)                                                             \
  case 0:                                                                \
  default:                                                               \
    if (const ::testing::internal::Outcome lr_gtest_outcome = (outcome)) \
      ;                                                                  \
    else                                                                 \
      LR_GTEST_REPORT(kFailure, lr_gtest_outcome.text)
#define LR_GTEST_ASSERT(outcome)                                         \
  switch (0)                                                             \
  case 0:                                                                \
  default:                                                               \
    if (const ::testing::internal::Outcome lr_gtest_outcome = (outcome)) \
      ;                                                                  \
    else                                                                 \
      return LR_GTEST_REPORT(kFatal, lr_gtest_outcome.text)

#define LR_GTEST_TRUTH(value, expected) \
  ::testing::internal::Truth(static_cast<bool>(value), #value, expected)
#define LR_GTEST_COMPARED(a, sign, b)                                                   \
  ::testing::internal::Compared(a, b, #a, #sign, #b,                                    \
                                [](const auto& lr_gtest_a, const auto& lr_gtest_b) {    \
                                  return static_cast<bool>(lr_gtest_a sign lr_gtest_b); \
                                })
#define LR_GTEST_NEAR(a, b, error)                                                     \
  ::testing::internal::Compared(static_cast<double>(a), static_cast<double>(b), #a,    \
                                "within " #error " of", #b,                            \
                                [&](double lr_gtest_a, double lr_gtest_b) {            \
                                  return std::abs(lr_gtest_a - lr_gtest_b) <= (error); \
                                })
#define LR_GTEST_FLOAT(a, b)                                                                \
  ::testing::internal::Compared(static_cast<float>(a), static_cast<float>(b), #a, "~=", #b, \
                                &::testing::internal::AlmostEqual<float, std::uint32_t>)
#define LR_GTEST_DOUBLE(a, b)                                                                 \
  ::testing::internal::Compared(static_cast<double>(a), static_cast<double>(b), #a, "~=", #b, \
                                &::testing::internal::AlmostEqual<double, std::uint64_t>)
#define LR_GTEST_STRING(a, b)                                                                 \
  ::testing::internal::Compared(static_cast<const char*>(a), static_cast<const char*>(b), #a, \
                                "is the text", #b, &::testing::internal::SameText)

#define EXPECT_TRUE(value) LR_GTEST_EXPECT(LR_GTEST_TRUTH(value, true))
#define EXPECT_FALSE(value) LR_GTEST_EXPECT(LR_GTEST_TRUTH(value, false))
#define EXPECT_EQ(a, b) LR_GTEST_EXPECT(LR_GTEST_COMPARED(a, ==, b))
#define EXPECT_NE(a, b) LR_GTEST_EXPECT(LR_GTEST_COMPARED(a, !=, b))
#define EXPECT_LT(a, b) LR_GTEST_EXPECT(LR_GTEST_COMPARED(a, <, b))
#define EXPECT_LE(a, b) LR_GTEST_EXPECT(LR_GTEST_COMPARED(a, <=, b))
#define EXPECT_GT(a, b) LR_GTEST_EXPECT(LR_GTEST_COMPARED(a, >, b))
#define EXPECT_GE(a, b) LR_GTEST_EXPECT(LR_GTEST_COMPARED(a, >=, b))
#define EXPECT_NEAR(a, b, error) LR_GTEST_EXPECT(LR_GTEST_NEAR(a, b, error))
#define EXPECT_FLOAT_EQ(a, b) LR_GTEST_EXPECT(LR_GTEST_FLOAT(a, b))
#define EXPECT_DOUBLE_EQ(a, b) LR_GTEST_EXPECT(LR_GTEST_DOUBLE(a, b))
#define EXPECT_STREQ(a, b) LR_GTEST_EXPECT(LR_GTEST_STRING(a, b))
#define ASSERT_TRUE(value) LR_GTEST_ASSERT(LR_GTEST_TRUTH(value, true))
#define ASSERT_FALSE(value) LR_GTEST_ASSERT(LR_GTEST_TRUTH(value, false))
#define ASSERT_EQ(a, b) LR_GTEST_ASSERT(LR_GTEST_COMPARED(a, ==, b))
#define ASSERT_NE(a, b) LR_GTEST_ASSERT(LR_GTEST_COMPARED(a, !=, b))
#define ASSERT_LT(a, b) LR_GTEST_ASSERT(LR_GTEST_COMPARED(a, <, b))
#define ASSERT_LE(a, b) LR_GTEST_ASSERT(LR_GTEST_COMPARED(a, <=, b))
#define ASSERT_GT(a, b) LR_GTEST_ASSERT(LR_GTEST_COMPARED(a, >, b))
#define ASSERT_GE(a, b) LR_GTEST_ASSERT(LR_GTEST_COMPARED(a, >=, b))
#define ASSERT_NEAR(a, b, error) LR_GTEST_ASSERT(LR_GTEST_NEAR(a, b, error))
#define ASSERT_FLOAT_EQ(a, b) LR_GTEST_ASSERT(LR_GTEST_FLOAT(a, b))
#define ASSERT_DOUBLE_EQ(a, b) LR_GTEST_ASSERT(LR_GTEST_DOUBLE(a, b))
#define ASSERT_STREQ(a, b) LR_GTEST_ASSERT(LR_GTEST_STRING(a, b))

#define ADD_FAILURE() LR_GTEST_REPORT(kFailure, "Failed")
#define FAIL() return LR_GTEST_REPORT(kFatal, "Failed")
#define SUCCEED() LR_GTEST_REPORT(kSuccess, "")
#define GTEST_SKIP() return LR_GTEST_REPORT(kSkip, "Skipped")

#define LR_GTEST_JOIN_INNER(a, b) a##b
#define LR_GTEST_JOIN(a, b) LR_GTEST_JOIN_INNER(a, b)
#define SCOPED_TRACE(text)                                                   \
  const ::testing::internal::Trace LR_GTEST_JOIN(lr_gtest_trace_, __LINE__)( \
      __FILE__, __LINE__, (::testing::Message() << text).GetString())
