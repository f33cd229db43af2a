// Result<T>: a value, or every error found. Errors are about user input and are born only in codecs
// and file readers; programmer errors are SIM_CHECK.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "sim/base/check.h"

namespace moecast {

/// One thing wrong with the user's input. `message` says what is wrong, the value found and what is
/// allowed; `where` says the place as file:line:column or file: field, empty when there is none.
struct Error {
  std::string message;
  std::string where;
  friend bool operator==(const Error&, const Error&) = default;
};
using Errors = std::vector<Error>;

/// "where: message" lines, one per error.
std::string ToString(const Errors& errors);

/// A T, or at least one Error.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): return x;
  Result(Error error) : value_(Errors{std::move(error)}) {}  // NOLINT(google-explicit-constructor)
  Result(Errors errors) : value_(std::move(errors)) {        // NOLINT(google-explicit-constructor)
    SIM_CHECK(!std::get<Errors>(value_).empty());
  }

  [[nodiscard]] bool ok() const { return std::holds_alternative<T>(value_); }
  [[nodiscard]] const T& value() const& {
    SIM_CHECK(ok());
    return std::get<T>(value_);
  }
  [[nodiscard]] T& value() & {
    SIM_CHECK(ok());
    return std::get<T>(value_);
  }
  [[nodiscard]] T&& value() && {
    SIM_CHECK(ok());
    return std::get<T>(std::move(value_));
  }
  [[nodiscard]] const Errors& errors() const {
    SIM_CHECK(!ok());
    return std::get<Errors>(value_);
  }

  const T& operator*() const { return value(); }
  T& operator*() { return value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

 private:
  std::variant<T, Errors> value_;
};

struct Unit {
  friend bool operator==(Unit, Unit) = default;
};
using Status = Result<Unit>;
inline Status Ok() { return Unit{}; }

}  // namespace moecast

// SIM_TRY(auto x, F()): x is F()'s value, or the errors are returned from this function.
// NOLINTBEGIN(cppcoreguidelines-macro-usage,bugprone-macro-parentheses): only a macro can return
// from its caller, and a declaration takes no parentheses.
#define SIM_TRY_NAME2(line) sim_try_##line
#define SIM_TRY_NAME(line) SIM_TRY_NAME2(line)
#define SIM_TRY(declaration, expression)                                    \
  auto SIM_TRY_NAME(__LINE__) = (expression);                               \
  if (!SIM_TRY_NAME(__LINE__).ok()) return SIM_TRY_NAME(__LINE__).errors(); \
  declaration = std::move(SIM_TRY_NAME(__LINE__)).value()
#define SIM_RETURN_IF_ERROR(expression) \
  if (auto sim_status = (expression); !sim_status.ok()) return sim_status.errors()
// NOLINTEND(cppcoreguidelines-macro-usage,bugprone-macro-parentheses)
