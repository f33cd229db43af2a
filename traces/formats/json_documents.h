// JsonDocuments: the JSON documents of a file one after another, be it one document, one per line
// or any other white space between them. Memory is one document, in which evenly nested lists of
// whole numbers take four bytes a number.
#pragma once

#include <cstdint>
#include <memory>

#include "sim/base/result.h"
#include "traces/formats/byte_file.h"
#include "traces/formats/tree.h"

namespace moecast {

/// A longer document is refused.
inline constexpr uint64_t kMaxJsonDocumentBytes = uint64_t{1} << 30;

class JsonDocuments {
 public:
  /// REQUIRES: `file` outlives the reader.
  explicit JsonDocuments(const ByteFile& file);
  JsonDocuments(JsonDocuments&&) noexcept;
  JsonDocuments& operator=(JsonDocuments&&) noexcept;
  ~JsonDocuments();

  /// Replaces `tree` by the next document; false at the end of the file. ERRORS: not JSON, nested
  /// deeper than 32, too long or too many values, with the byte. COST: about 2 ns a byte.
  Result<bool> Next(Tree& tree);
  /// First byte of the document that Next returned last.
  [[nodiscard]] uint64_t begin() const;
  /// The byte just past the number before which its document has `numbers` others: reads the
  /// document again. For errors about values. REQUIRES: Next returned that document last.
  [[nodiscard]] uint64_t ByteOfNumber(uint64_t numbers) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moecast
