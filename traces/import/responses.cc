#include "traces/import/responses.h"

#include <utility>

namespace moecast {
namespace {

using Kind = TreeValue::Kind;

bool IsRows(const TreeValue& value) {
  return value.kind == Kind::kText || value.kind == Kind::kIntegers;
}

bool IsEmptyList(const Tree& tree, const TreeValue& value) {
  return value.kind == Kind::kList && tree.at(value).items.empty();
}

Error WrongKind(const std::string& field) {
  return Error{field + " must be base64 text or evenly nested lists [token][layer][k]", ""};
}

/// A number of tokens; what no request can have counts as not stated.
std::optional<int64_t> Tokens(const Tree& tree, const TreeValue& map, std::string_view key) {
  constexpr int64_t kMost = int64_t{1} << 24;  // longer than any context
  const auto value = tree.Integer(map, key);
  return value && *value >= 0 && *value <= kMost ? value : std::nullopt;
}

/// choices[i] of vLLM, or of SGLang's OpenAI route.
Status ReadChoice(const Tree& tree, const TreeValue& choice, const std::string& place,
                  ResponseRouting routing, ResponseContent& content) {
  std::string field = place + ".routed_experts";
  auto rows = tree.Find(choice, "routed_experts");
  if (const auto extension = tree.Find(choice, "sgl_ext", Kind::kMap)) {
    rows = tree.Find(*extension, "routed_experts");
    routing.layout = "SGLang response (OpenAI route)";
    field = place + ".sgl_ext.routed_experts";
  }
  if (rows && routing.prompt_rows && IsEmptyList(tree, *rows)) {
    // An answer of one token: only the prompt was routed.
    rows = std::exchange(routing.prompt_rows, std::nullopt);
    const std::vector<int64_t>& shape = tree.at(*rows).shape;
    if (!routing.prompt_tokens && !shape.empty()) routing.prompt_tokens = shape[0];
  }
  if (!rows || rows->kind == Kind::kNull || IsEmptyList(tree, *rows)) {
    ++content.without_routing;
    return Ok();
  }
  if (!IsRows(*rows)) return WrongKind(field);
  routing.field = std::move(field);
  routing.rows = *rows;
  content.routings.push_back(std::move(routing));
  return Ok();
}

Status ReadChoices(const Tree& tree, const TreeValue& document, const TreeValue& choices,
                   ResponseContent& content) {
  ResponseRouting common;
  common.layout = "vLLM response";
  common.label.request_id = tree.Text(document, "id");
  if (const auto usage = tree.Find(document, "usage", Kind::kMap)) {
    common.prompt_tokens = Tokens(tree, *usage, "prompt_tokens");
    common.completion_tokens = Tokens(tree, *usage, "completion_tokens");
  }
  common.prompt_rows = tree.Find(document, "prompt_routed_experts");
  if (common.prompt_rows &&
      (common.prompt_rows->kind == Kind::kNull || IsEmptyList(tree, *common.prompt_rows))) {
    common.prompt_rows.reset();
  }
  if (common.prompt_rows && !IsRows(*common.prompt_rows)) return WrongKind("prompt_routed_experts");
  const std::vector<TreeValue>& items = tree.at(choices).items;
  for (size_t i = 0; i < items.size(); ++i) {
    ResponseRouting routing = common;
    if (items.size() > 1) {
      routing.label.request_id += "/" + std::to_string(i);
      routing.completion_tokens.reset();  // usage counts all answers together
    }
    SIM_RETURN_IF_ERROR(ReadChoice(tree, items[i], "choices[" + std::to_string(i) + "]",
                                   std::move(routing), content));
  }
  return Ok();
}

Status ReadSglang(const Tree& tree, const TreeValue& info, ResponseContent& content) {
  ResponseRouting routing;
  routing.layout = "SGLang response";
  routing.field = "meta_info.routed_experts";
  routing.label.request_id = tree.Text(info, "id");
  routing.prompt_tokens = Tokens(tree, info, "prompt_tokens");
  routing.completion_tokens = Tokens(tree, info, "completion_tokens");
  const auto rows = tree.Find(info, "routed_experts");
  if (!rows || rows->kind == Kind::kNull) {
    ++content.without_routing;
    return Ok();
  }
  if (!IsRows(*rows)) return WrongKind(routing.field);
  routing.rows = *rows;
  content.routings.push_back(std::move(routing));
  return Ok();
}

Status ReadDynamo(const Tree& tree, const TreeValue& document, const TreeValue& nvext,
                  ResponseContent& content) {
  ResponseRouting routing;
  routing.layout = "Dynamo response";
  routing.field = "nvext.engine_data.routed_experts.data";
  routing.label.request_id = tree.Text(document, "id");
  if (const auto usage = tree.Find(document, "usage", Kind::kMap)) {
    routing.prompt_tokens = Tokens(tree, *usage, "prompt_tokens");
    routing.completion_tokens = Tokens(tree, *usage, "completion_tokens");
  }
  const auto engine = tree.Find(nvext, "engine_data", Kind::kMap);
  const auto experts = engine ? tree.Find(*engine, "routed_experts", Kind::kMap) : std::nullopt;
  if (!experts) {
    ++content.without_routing;
    return Ok();
  }
  const auto data = tree.Find(*experts, "data", Kind::kText);
  const auto shape = tree.Find(*experts, "shape");
  const auto type = ElementTypeNamed(tree.Text(*experts, "dtype"));
  routing.shape = shape ? tree.Integers(*shape) : std::nullopt;
  if (!data || !routing.shape || !type || !IsInteger(*type)) {
    return Error{
        "nvext.engine_data.routed_experts must have data (base64), shape and an integer "
        "dtype such as uint8",
        ""};
  }
  routing.rows = *data;
  routing.raw_type = *type;
  routing.first_token = Tokens(tree, *experts, "start");
  content.routings.push_back(std::move(routing));
  return Ok();
}

Status ReadOne(const Tree& tree, const TreeValue& document, ResponseContent& content) {
  if (const auto nvext = tree.Find(document, "nvext", Kind::kMap)) {
    return ReadDynamo(tree, document, *nvext, content);
  }
  if (const auto choices = tree.Find(document, "choices", Kind::kList)) {
    return ReadChoices(tree, document, *choices, content);
  }
  if (const auto info = tree.Find(document, "meta_info", Kind::kMap)) {
    return ReadSglang(tree, *info, content);
  }
  return Error{"has neither choices, meta_info nor nvext", ""};
}

}  // namespace

Result<ResponseContent> ReadResponse(const Tree& tree, const TreeValue& document) {
  ResponseContent content;
  if (document.kind != Kind::kList) {
    SIM_RETURN_IF_ERROR(ReadOne(tree, document, content));
    return content;
  }
  for (const TreeValue& item : tree.at(document).items) {
    SIM_RETURN_IF_ERROR(ReadOne(tree, item, content));
  }
  return content;
}

}  // namespace moecast
