// RowSpool: rows of expert ids set aside in an unnamed temporary file, to be taken back in another
// order. Recorders write pass by pass, traces are written request by request.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>

#include "sim/base/result.h"

namespace moecast {

class RowSpool {
 public:
  /// `row_ids` ids make a row. ERRORS: no temporary file.
  static Result<RowSpool> Create(int64_t row_ids);

  /// Appends whole rows. ERRORS: a full disk.
  Status Append(std::span<const uint16_t> ids);
  /// Reads rows back. REQUIRES: ids.size() is a multiple of row_ids; the rows were appended.
  Status Read(int64_t first_row, std::span<uint16_t> ids);
  [[nodiscard]] int64_t rows() const { return rows_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  explicit RowSpool(int64_t row_ids) : row_ids_(row_ids) {}

  std::unique_ptr<std::FILE, Close> file_;
  int64_t row_ids_;
  int64_t rows_ = 0;
};

}  // namespace moecast
