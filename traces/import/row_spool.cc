#include "traces/import/row_spool.h"

#include <cerrno>
#include <string>
#include <system_error>

#include "sim/base/check.h"

namespace moecast {
namespace {

Error Fail(const std::string& what) {
  return {what + ": " + std::generic_category().message(errno), "temporary file"};
}

}  // namespace

Result<RowSpool> RowSpool::Create(int64_t row_ids) {
  SIM_CHECK(row_ids >= 1);
  RowSpool spool(row_ids);
  spool.file_.reset(std::tmpfile());
  if (spool.file_ == nullptr) return Fail("cannot be created");
  return spool;
}

Status RowSpool::Append(std::span<const uint16_t> ids) {
  SIM_CHECK(std::ssize(ids) % row_ids_ == 0);
  const bool placed = std::fseek(file_.get(), 0, SEEK_END) == 0;
  if (!placed || std::fwrite(ids.data(), sizeof(uint16_t), ids.size(), file_.get()) != ids.size()) {
    return Fail("cannot be written");
  }
  rows_ += std::ssize(ids) / row_ids_;
  return Ok();
}

Status RowSpool::Read(int64_t first_row, std::span<uint16_t> ids) {
  SIM_CHECK(std::ssize(ids) % row_ids_ == 0 && first_row + std::ssize(ids) / row_ids_ <= rows_);
  const int64_t offset = first_row * row_ids_ * static_cast<int64_t>(sizeof(uint16_t));
  const bool placed = std::fseek(file_.get(), offset, SEEK_SET) == 0;
  if (!placed || std::fread(ids.data(), sizeof(uint16_t), ids.size(), file_.get()) != ids.size()) {
    return Fail("cannot be read");
  }
  return Ok();
}

}  // namespace moecast
