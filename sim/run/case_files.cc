#include "sim/run/case_files.h"

#include <utility>

#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr std::string_view kHeader =
    "request,replica,outcome,arrival_s,scheduled_s,first_token_s,finish_s,input_tokens,"
    "output_tokens,generated_tokens,preemptions,ttft_ms,tpot_ms,e2e_ms\n";

std::string_view OutcomeName(RequestOutcome outcome) {
  switch (outcome) {
    case RequestOutcome::kFinished:
      return "finished";
    case RequestOutcome::kRejectedTooLong:
      return "rejected_too_long";
    case RequestOutcome::kUnfinished:
      return "unfinished";
  }
  SIM_CHECK(false);
}

/// Nanoseconds as an exact decimal of the unit that is 10^`digits` ns.
void AppendDecimal(std::string& out, int64_t ns, size_t digits) {
  if (ns < 0) out += '-';
  std::string text = std::to_string(ns < 0 ? -ns : ns);
  if (text.size() <= digits) text.insert(0, digits + 1 - text.size(), '0');
  size_t end = text.size();
  while (end > text.size() - digits && text[end - 1] == '0') --end;
  out.append(text, 0, text.size() - digits);
  if (end > text.size() - digits) {
    out += '.';
    out.append(text, text.size() - digits, end - (text.size() - digits));
  }
}

constexpr size_t kSecondDigits = 9;
constexpr size_t kMillisecondDigits = 6;

void AppendTime(std::string& out, Time at, bool known) {
  out += ',';
  if (known) AppendDecimal(out, at.time_since_epoch().count(), kSecondDigits);
}

void AppendLatencies(std::string& out, const RequestRecord& row) {
  out += ',';
  if (row.generated_tokens > 0) AppendDecimal(out, row.ttft().count(), kMillisecondDigits);
  out += ',';
  const bool finished = row.outcome == RequestOutcome::kFinished;
  if (finished && row.generated_tokens > 1) {
    const double gaps = static_cast<double>(row.generated_tokens - 1);
    out += ShortestDouble(ToMilliseconds(row.e2e() - row.ttft()) / gaps);
  }
  out += ',';
  if (finished) AppendDecimal(out, row.e2e().count(), kMillisecondDigits);
  out += '\n';
}

void AppendRow(std::string& out, const RequestRecord& row) {
  out += std::to_string(row.id.value());
  out += ',';
  out += std::to_string(row.replica.value());
  out += ',';
  out += OutcomeName(row.outcome);
  AppendTime(out, row.arrival, true);
  AppendTime(out, row.scheduled, row.generated_tokens > 0 || row.scheduled > Time{});
  AppendTime(out, row.first_token, row.generated_tokens > 0);
  AppendTime(out, row.finish, row.outcome == RequestOutcome::kFinished);
  for (const int64_t count :
       {row.input_tokens, row.output_tokens, row.generated_tokens, row.preemptions}) {
    out += ',';
    out += std::to_string(count);
  }
  AppendLatencies(out, row);
}

std::string Sanitised(std::string_view name) {
  std::string text(name);
  for (char& c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
    if (!plain) c = '_';
  }
  return text;
}

std::string FolderName(const StudyCase& c) {
  return c.load.empty() ? Sanitised(c.variant) : Sanitised(c.variant) + "@" + Sanitised(c.load);
}

}  // namespace

std::filesystem::path CaseFolder(const Study& study, size_t case_index) {
  if (study.cases.size() == 1) return {};
  const std::string name = FolderName(study.cases[case_index]);
  // Two names can be equal after sanitising; the later one is told apart by its position.
  for (size_t i = 0; i < case_index; ++i) {
    if (FolderName(study.cases[i]) == name) return name + "_" + std::to_string(case_index);
  }
  return name;
}

std::string ReplicationFile(std::string_view stem, const Scenario& scenario, uint32_t replication) {
  std::string name(stem);
  if (scenario.replications > 1) name += ".r" + std::to_string(replication);
  return name + ".csv";
}

RequestRowsFile::RequestRowsFile(AtomicFile file) : file_(std::move(file)) {}

Result<RequestRowsFile> RequestRowsFile::Create(const std::filesystem::path& path) {
  SIM_TRY(AtomicFile file, AtomicFile::Create(path));
  SIM_RETURN_IF_ERROR(file.Write(kHeader));
  return RequestRowsFile(std::move(file));
}

void RequestRowsFile::Add(std::span<const RequestRecord> rows) {
  buffer_.clear();
  for (const RequestRecord& row : rows) AppendRow(buffer_, row);
  static_cast<void>(file_.Write(buffer_));  // AtomicFile remembers the failure until Commit
}

Status RequestRowsFile::Commit() { return file_.Commit(); }

}  // namespace moecast
