#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "scenarios/import_parts.h"

namespace moecast {
namespace {

using boost::json::object;
using boost::json::value;

constexpr const char* kFp8 = "fp8";

std::string DtypeFormat(ModelConfig& config) {
  const auto dtype = config.Has("torch_dtype") ? config.Text("torch_dtype") : config.Text("dtype");
  if (!dtype) {
    config.Infer("formats: bf16, torch_dtype is absent");
    return "bf16";
  }
  if (*dtype == "bfloat16") return "bf16";
  if (*dtype == "float16") return "fp16";
  config.Infer("formats: bf16, as served; the file stores " + *dtype);
  return "bf16";
}

int64_t IntegerOr(const object& in, const char* key, int64_t otherwise) {
  const value* found = in.if_contains(key);
  return found != nullptr && found->is_int64() ? found->get_int64() : otherwise;
}

std::string TextOr(const object& in, const char* key, const std::string& otherwise) {
  const value* found = in.if_contains(key);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : otherwise;
}

// Weight format of the first group of a compressed-tensors configuration; empty when unknown.
std::string CompressedTensorsFormat(const object& quantisation) {
  const value* groups = quantisation.if_contains("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->get_object().empty()) return {};
  const value& group = groups->get_object().begin()->value();
  const value* weights = group.is_object() ? group.get_object().if_contains("weights") : nullptr;
  if (weights == nullptr || !weights->is_object()) return {};
  const int64_t bits = IntegerOr(weights->get_object(), "num_bits", 0);
  const int64_t group_size = IntegerOr(weights->get_object(), "group_size", 0);
  const std::string type = TextOr(weights->get_object(), "type", "int");
  if (bits == 8) return type == "float" ? kFp8 : "int8";
  if (bits == 4 && type == "float") return "nvfp4";
  if (bits == 4 && group_size == 32) return "w4a16-g32";
  if (bits == 4 && group_size == 128) return "int4-g128";
  return {};
}

// Name in the catalog of formats; empty when unknown.
std::string QuantisedFormat(const object& quantisation, const std::string& method) {
  const bool blocks = quantisation.contains("weight_block_size");
  if (method == "fp8") return blocks ? "fp8-block" : kFp8;
  if (method == "mxfp4") return "mxfp4";
  if (method == "compressed-tensors") return CompressedTensorsFormat(quantisation);
  const bool int4 =
      IntegerOr(quantisation, "bits", 0) == 4 && IntegerOr(quantisation, "group_size", 0) == 128;
  if ((method == "gptq" || method == "awq") && int4) return "int4-g128";
  if (method == "modelopt" && TextOr(quantisation, "quant_algo", "") == "NVFP4") return "nvfp4";
  if (method == "modelopt" && TextOr(quantisation, "quant_algo", "") == "FP8") return kFp8;
  return {};
}

// True when a module of the language model whose name holds `part` keeps its original format.
bool Spared(const object& quantisation, const std::string& part) {
  for (const char* key : {"modules_to_not_convert", "ignore", "ignored_layers"}) {
    const value* list = quantisation.if_contains(key);
    if (list == nullptr || !list->is_array()) continue;
    for (const value& item : list->get_array()) {
      if (!item.is_string()) continue;
      const std::string name(item.get_string());
      if (!name.starts_with("vision") && name.find(part) != std::string::npos) return true;
    }
  }
  return false;
}

}  // namespace

std::map<std::string, std::string> ImportFormats(ModelConfig& config) {
  const std::string plain = DtypeFormat(config);
  std::map<std::string, std::string> formats{{"attention", plain},
                                             {"dense_ffn", plain},
                                             {"experts", plain},
                                             {"embeddings", plain},
                                             {"activations", plain}};
  const value* found = config.Find("quantization_config");
  if (found == nullptr) return formats;
  if (!found->is_object()) {
    config.Problem("quantization_config", "expected an object");
    return formats;
  }
  const object& quantisation = found->get_object();
  const std::string method = TextOr(quantisation, "quant_method", "");
  const std::string format = QuantisedFormat(quantisation, method);
  if (format.empty()) {
    config.Problem("quantization_config",
                   "quant_method '" + method +
                       "' with these settings has no format in the catalog; remove the key and set "
                       "formats in the scenario");
    return formats;
  }
  formats["experts"] = format;
  if (!Spared(quantisation, "self_attn")) formats["attention"] = format;
  if (method != "mxfp4" && !Spared(quantisation, "shared_expert")) formats["dense_ffn"] = format;
  config.Infer("formats: experts " + format + ", attention " + formats["attention"] +
               ", dense_ffn " + formats["dense_ffn"] + ", by quantization_config; embeddings " +
               plain);
  return formats;
}

}  // namespace moecast
