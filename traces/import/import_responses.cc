// ImportResponses: each answer becomes a sequence, prompt rows prefill, the others decode.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "traces/formats/base64.h"
#include "traces/formats/json_documents.h"
#include "traces/formats/npy.h"
#include "traces/import/capture_sources.h"
#include "traces/import/responses.h"

namespace moecast {
namespace {

using Kind = TreeValue::Kind;

/// Rows of ids as plain elements, and how to name one of them in an error.
struct Elements {
  ElementType type = ElementType::kI32;
  std::vector<int64_t> shape = {};  // [tokens, layers, k]
  std::span<const char> bytes = {};
  bool is_text = false;
  uint64_t base = 0;  // byte of the decoded text, or number of the document, of the first id
};

class ResponseImporter {
 public:
  explicit ResponseImporter(const CaptureJob& job) : job_(job) {}

  Status Run() {
    for (const ByteFile& file : job_.files) {
      JsonDocuments documents(file);
      while (true) {
        SIM_TRY(const bool more, documents.Next(tree_));
        if (!more) break;
        SIM_RETURN_IF_ERROR(Add(file, documents));
      }
    }
    if (without_routing_ > 0) {
      job_.report.Note(std::to_string(without_routing_) +
                       " answers have no routing (aborted requests) and are left out");
    }
    if (!import_) return job_.files[0].Fail("no answer has routing");
    return FinishTokens(import_->sink, job_.report);
  }

 private:
  Status Add(const ByteFile& file, const JsonDocuments& documents) {
    const Result<ResponseContent> content = ReadResponse(tree_, tree_.root);
    if (!content.ok()) return file.At(documents.begin(), content.errors()[0].message);
    without_routing_ += content->without_routing;
    for (const ResponseRouting& routing : content->routings) {
      SIM_RETURN_IF_ERROR(AddRouting(routing, {file, documents}));
    }
    return Ok();
  }

  struct Place {
    const ByteFile& file;
    const JsonDocuments& documents;
  };

  Status AddRouting(const ResponseRouting& routing, const Place& place) {
    const auto wrong = [&](const std::string& what) {
      return place.file.At(place.documents.begin(),
                           "the response that begins here: " + routing.field + " " + what);
    };
    SIM_TRY(const std::vector<uint16_t> prompt, DecodePrompt(routing, place));
    SIM_TRY(std::vector<uint16_t> ids, DecodeRows(routing, routing.rows, buffer_, place));
    const int64_t token_ids = import_->sink.token_ids();
    ids.insert(ids.begin(), prompt.begin(), prompt.end());
    const int64_t rows = std::ssize(ids) / token_ids;
    const int64_t first = routing.first_token.value_or(job_.options.first_token);
    const auto [prompt_tokens, completion_tokens] =
        std::pair(PromptTokens(routing, std::ssize(prompt) / token_ids), routing.completion_tokens);
    if (prompt_tokens && completion_tokens &&
        rows != *prompt_tokens + *completion_tokens - 1 - first) {
      return wrong("has " + std::to_string(rows) + " tokens; " + std::to_string(*prompt_tokens) +
                   " prompt and " + std::to_string(*completion_tokens) +
                   " completion tokens from token " + std::to_string(first) + " on are " +
                   std::to_string(*prompt_tokens + *completion_tokens - 1 - first) +
                   " (the last one is never routed)");
    }
    if (first < 0 || (prompt_tokens && (*prompt_tokens < first || *prompt_tokens > first + rows))) {
      return wrong("has " + std::to_string(rows) + " tokens from token " + std::to_string(first) +
                   " on, the prompt has " + std::to_string(prompt_tokens.value_or(0)));
    }
    return Store(routing, std::move(ids), {first, prompt_tokens});
  }

  /// Where a sequence's rows begin and where its prompt ends.
  struct Extent {
    int64_t first = 0;
    std::optional<int64_t> prompt_tokens;
  };

  Status Store(const ResponseRouting& routing, std::vector<uint16_t> ids, const Extent& extent) {
    TokenSink& sink = import_->sink;
    sink.Begin(routing.label);
    const int64_t rows = std::ssize(ids) / sink.token_ids();
    if (!extent.prompt_tokens) {
      job_.report.Note(std::string("responses without a prompt length: all their tokens are taken "
                                   "as ") +
                       (job_.options.phase == RoutingPhase::kPrefill ? "prefill" : "decode"));
      return sink.Add(job_.options.phase, extent.first, std::move(ids));
    }
    if (extent.first > 0) {
      job_.report.Note("prompt tokens that the engine did not return are kept as unknown");
      SIM_RETURN_IF_ERROR(sink.AddUnknown(RoutingPhase::kPrefill, 0, extent.first));
    }
    const int64_t prefill = std::min(rows, *extent.prompt_tokens - extent.first);
    const auto split = ids.begin() + static_cast<std::ptrdiff_t>(prefill * sink.token_ids());
    std::vector<uint16_t> decode(split, ids.end());
    ids.erase(split, ids.end());
    SIM_RETURN_IF_ERROR(sink.Add(RoutingPhase::kPrefill, extent.first, std::move(ids)));
    return sink.Add(RoutingPhase::kDecode, *extent.prompt_tokens, std::move(decode));
  }

  static std::optional<int64_t> PromptTokens(const ResponseRouting& routing, int64_t prompt_rows) {
    return routing.prompt_rows ? std::optional(prompt_rows) : routing.prompt_tokens;
  }

  Result<std::vector<uint16_t>> DecodePrompt(const ResponseRouting& routing, const Place& place) {
    if (!routing.prompt_rows) return std::vector<uint16_t>();
    return DecodeRows(routing, *routing.prompt_rows, prompt_buffer_, place);
  }

  Result<std::vector<uint16_t>> DecodeRows(const ResponseRouting& routing, const TreeValue& value,
                                           std::string& buffer, const Place& place) {
    SIM_TRY(const Elements elements, value.kind == Kind::kText
                                         ? TextElements(routing, value, buffer, place)
                                         : ListElements(routing, value, place));
    const IdShape shape{elements.shape[1], elements.shape[2]};
    const std::string where = place.file.name() + ": " + routing.field;
    if (!import_) {
      job_.report.layout = routing.layout + Encoding(elements);
      SIM_TRY(TokenImport begun, BeginTokens(job_, shape, nullptr, where));
      import_.emplace(std::move(begun));
    }
    const IdShape& known = import_->decoder.shape();
    if (known.layers != shape.layers || known.columns != shape.columns) {
      return Error{"has rows " + ShapeText(elements.shape) + ", earlier responses have " +
                       std::to_string(known.layers) + " layers of " +
                       std::to_string(known.columns) + " ids",
                   where};
    }
    std::vector<uint16_t> ids;
    const auto fault =
        import_->decoder.Decode(elements.bytes, elements.type, elements.shape[0], ids);
    if (fault) return At(*fault, elements, shape, routing.field, place);
    return ids;
  }

  static std::string Encoding(const Elements& elements) {
    return (elements.is_text ? ", base64 " : ", nested lists ") + std::string(Name(elements.type)) +
           " [tokens, " + std::to_string(elements.shape[1]) + ", " +
           std::to_string(elements.shape[2]) + "]";
  }

  static Error At(const IdFault& fault, const Elements& elements, const IdShape& shape,
                  const std::string& field, const Place& place) {
    const auto index = static_cast<uint64_t>(
        (fault.token * shape.layers + fault.layer) * shape.columns + fault.column);
    const std::string message = field + ": token " + std::to_string(fault.token) + ", layer " +
                                std::to_string(fault.layer) + ": " + fault.message;
    if (!elements.is_text) {
      return place.file.At(place.documents.ByteOfNumber(elements.base + index), message);
    }
    return place.file.At(place.documents.begin(),
                         "the response that begins here: " + message + ", at byte " +
                             std::to_string(elements.base + index * ElementBytes(elements.type)) +
                             " of the decoded text");
  }

  Result<Elements> ListElements(const ResponseRouting& routing, const TreeValue& value,
                                const Place& place) const {
    const TreeNode& node = tree_.at(value);
    if (node.shape.size() != 3) {
      return place.file.At(
          place.documents.ByteOfNumber(node.first_number),
          routing.field + " is " + ShapeText(node.shape) + ", it must be [token][layer][k]");
    }
    const auto count = static_cast<size_t>(ElementCount(node.shape).value_or(0));
    const std::span<const int32_t> ids = std::span(tree_.integers).subspan(node.first, count);
    return Elements{.type = ElementType::kI32,
                    .shape = node.shape,
                    .bytes = {reinterpret_cast<const char*>(ids.data()), ids.size_bytes()},
                    .base = node.first_number};
  }

  Result<Elements> TextElements(const ResponseRouting& routing, const TreeValue& value,
                                std::string& buffer, const Place& place) const {
    const auto wrong = [&](const std::string& what) {
      return place.file.At(place.documents.begin(),
                           "the response that begins here: " + routing.field + " " + what);
    };
    if (const auto problem = DecodeBase64(tree_.at(value).text, buffer)) {
      return wrong(problem->message);
    }
    if (buffer.starts_with("\x93NUMPY")) return NpyElements(routing, buffer, place);
    SIM_TRY(std::vector<int64_t> shape, RawShape(routing, buffer.size(), wrong));
    return Elements{
        .type = routing.raw_type, .shape = std::move(shape), .bytes = buffer, .is_text = true};
  }

  static Result<Elements> NpyElements(const ResponseRouting& routing, std::string& buffer,
                                      const Place& place) {
    const uint64_t size = buffer.size();
    const ByteFile decoded = ByteFile::OfBytes(
        buffer, place.file.name() + ": " + routing.field + " of the response at byte " +
                    std::to_string(place.documents.begin()) + ", decoded");
    SIM_TRY(const ArrayRef array, ReadNpyHeader(decoded, 0, size));
    if (array.shape.size() != 3 || !IsInteger(array.type)) {
      return decoded.At(array.offset, "is " + std::string(Name(array.type)) +
                                          ShapeText(array.shape) +
                                          ", it must be integers [token][layer][k]");
    }
    return Elements{.type = array.type,
                    .shape = array.shape,
                    .bytes = std::span<const char>(buffer).subspan(array.offset),
                    .is_text = true,
                    .base = array.offset};
  }

  /// Raw bytes have the stated shape, or [tokens, layers, k] with the model's k.
  template <class Wrong>
  Result<std::vector<int64_t>> RawShape(const ResponseRouting& routing, uint64_t bytes,
                                        const Wrong& wrong) const {
    const auto element = static_cast<int64_t>(ElementBytes(routing.raw_type));
    const int64_t elements = static_cast<int64_t>(bytes) / element;
    const std::string size =
        std::to_string(bytes) + " bytes of " + std::string(Name(routing.raw_type));
    if (routing.shape) {
      const auto count = ElementCount(*routing.shape);
      if (routing.shape->size() == 3 && count == elements &&
          static_cast<int64_t>(bytes) % element == 0) {
        return *routing.shape;
      }
      return wrong("has " + size + ", its shape is " + ShapeText(*routing.shape));
    }
    const int64_t top_k = job_.options.model.top_k;
    if (!routing.prompt_tokens || !routing.completion_tokens || top_k == 0) {
      return wrong("has " + size +
                   " without a shape: the token counts and the model's k are needed to tell it");
    }
    const int64_t first = routing.first_token.value_or(job_.options.first_token);
    const int64_t tokens = *routing.prompt_tokens + *routing.completion_tokens - 1 - first;
    if (tokens < 1 || static_cast<int64_t>(bytes) % element != 0 || elements % tokens != 0 ||
        elements / tokens % top_k != 0 || elements == 0) {
      return wrong("has " + size + ", which are not whole rows of " + std::to_string(tokens) +
                   " tokens (prompt + completion - 1 - " + std::to_string(first) + ") with k " +
                   std::to_string(top_k));
    }
    return std::vector<int64_t>{tokens, elements / tokens / top_k, top_k};
  }

  const CaptureJob& job_;
  Tree tree_;
  std::optional<TokenImport> import_;
  std::string buffer_;
  std::string prompt_buffer_;
  int64_t without_routing_ = 0;
};

}  // namespace

Status ImportResponses(const CaptureJob& job) { return ResponseImporter(job).Run(); }

}  // namespace moecast
