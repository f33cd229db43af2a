#include "traces/formats/json_documents.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moecast {
namespace {

namespace json = boost::json;
using Kind = TreeValue::Kind;

constexpr size_t kBlockBytes = size_t{256} << 10;
constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

/// A list or map that is being read.
struct Frame {
  enum class Mode {
    kEmpty,   // nothing yet
    kInts,    // whole numbers only, in Tree::integers from first_int
    kBlocks,  // `count` evenly nested arrays of block_shape, likewise
    kGeneral  // values on the stack from first_value
  };
  bool is_map = false;
  Mode mode = Mode::kEmpty;
  int64_t count = 0;
  size_t first_value = 0;
  size_t first_int = 0;
  uint64_t first_number = 0;
  std::vector<int64_t> block_shape = {};
};

/// Receives the parser's events and fills a Tree. The interface, down to the names, is that of
/// boost::json::basic_parser's Handler.
class TreeHandler {
 public:
  static constexpr size_t max_object_size = kNoLimit;  // NOLINT(readability-identifier-naming)
  static constexpr size_t max_array_size = kNoLimit;   // NOLINT(readability-identifier-naming)
  static constexpr size_t max_key_size = kNoLimit;     // NOLINT(readability-identifier-naming)
  static constexpr size_t max_string_size = kNoLimit;  // NOLINT(readability-identifier-naming)

  void Begin(Tree& tree, std::optional<uint64_t> stop_at) {
    tree.Clear();
    tree_ = &tree;
    stop_at_ = stop_at;
    numbers_ = 0;
    depth_ = 0;
    stack_.clear();
    text_.clear();
  }
  [[nodiscard]] bool too_many() const { return tree_->nodes.size() >= Tree::kMaxNodes; }

  bool on_document_begin(json::error_code& /*ec*/) { return true; }
  bool on_document_end(json::error_code& /*ec*/) {
    tree_->root = stack_.at(0);
    return true;
  }
  bool on_object_begin(json::error_code& ec) { return Open(true, ec); }
  bool on_array_begin(json::error_code& ec) { return Open(false, ec); }
  bool on_object_end(size_t /*count*/, json::error_code& ec) {
    Frame& frame = frames_[--depth_];
    return Put(Collect(frame, Kind::kMap), ec);
  }
  bool on_array_end(size_t /*count*/, json::error_code& ec);
  bool on_key_part(json::string_view part, size_t /*size*/, json::error_code& /*ec*/) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view last, size_t size, json::error_code& ec) {
    return on_string(last, size, ec);
  }
  bool on_string_part(json::string_view part, size_t /*size*/, json::error_code& /*ec*/) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool on_string(json::string_view last, size_t /*size*/, json::error_code& ec) {
    text_.append(last.data(), last.size());
    Tree::Node node;
    node.text = std::exchange(text_, {});
    return Put(tree_->Add(Kind::kText, std::move(node)), ec);
  }
  bool on_number_part(json::string_view /*part*/, json::error_code& /*ec*/) { return true; }
  bool on_int64(int64_t value, json::string_view /*text*/, json::error_code& ec);
  bool on_uint64(uint64_t value, json::string_view text, json::error_code& ec) {
    return on_double(static_cast<double>(value), text, ec);
  }
  bool on_double(double value, json::string_view /*text*/, json::error_code& ec) {
    return CountNumber(ec) && Put({.kind = Kind::kReal, .real = value}, ec);
  }
  bool on_bool(bool value, json::error_code& ec) {
    return Put({.kind = Kind::kBool, .integer = value ? 1 : 0}, ec);
  }
  bool on_null(json::error_code& ec) { return Put({}, ec); }
  bool on_comment_part(json::string_view /*part*/, json::error_code& /*ec*/) { return true; }
  bool on_comment(json::string_view /*last*/, json::error_code& /*ec*/) { return true; }

 private:
  static bool Stop(json::error_code& ec) {
    ec = json::error::exception;  // any error: it only stops the parser
    return false;
  }
  bool CountNumber(json::error_code& ec) { return stop_at_ == numbers_++ ? Stop(ec) : true; }
  bool Open(bool is_map, json::error_code& ec);
  bool Put(const TreeValue& value, json::error_code& ec);
  void ToGeneral(Frame& frame);
  TreeValue AddIntegers(const Frame& frame, std::vector<int64_t> shape, int64_t index);
  TreeValue Collect(const Frame& frame, Kind kind);
  Frame* parent() { return depth_ == 0 ? nullptr : &frames_[depth_ - 1]; }

  Tree* tree_ = nullptr;
  std::optional<uint64_t> stop_at_;
  uint64_t numbers_ = 0;
  std::vector<Frame> frames_;  // [depth_), kept longer for their memory
  size_t depth_ = 0;
  std::vector<TreeValue> stack_;
  std::string text_;
};

bool TreeHandler::Open(bool is_map, json::error_code& ec) {
  if (too_many()) return Stop(ec);
  // The parent's own numbers leave the common array before the child's enter it.
  if (Frame* above = parent(); above != nullptr && above->mode == Frame::Mode::kInts) {
    ToGeneral(*above);
  }
  if (depth_ == frames_.size()) frames_.emplace_back();
  Frame& frame = frames_[depth_++];
  frame.is_map = is_map;
  frame.mode = is_map ? Frame::Mode::kGeneral : Frame::Mode::kEmpty;
  frame.count = 0;
  frame.first_value = stack_.size();
  frame.first_int = tree_->integers.size();
  frame.first_number = numbers_;
  return true;
}

TreeValue TreeHandler::AddIntegers(const Frame& frame, std::vector<int64_t> shape, int64_t index) {
  const auto before = static_cast<size_t>(index * ElementCount(shape).value_or(0));
  Tree::Node node;
  node.shape = std::move(shape);
  node.first = frame.first_int + before;
  node.first_number = frame.first_number + before;
  return tree_->Add(Kind::kIntegers, std::move(node));
}

/// Puts what the frame holds compactly onto the stack, one value each.
void TreeHandler::ToGeneral(Frame& frame) {
  if (frame.mode == Frame::Mode::kInts) {
    for (size_t i = frame.first_int; i < tree_->integers.size(); ++i) {
      stack_.push_back({.kind = Kind::kInteger, .integer = tree_->integers[i]});
    }
    tree_->integers.resize(frame.first_int);
  } else if (frame.mode == Frame::Mode::kBlocks) {
    for (int64_t i = 0; i < frame.count; ++i) {
      stack_.push_back(AddIntegers(frame, frame.block_shape, i));
    }
  }
  frame.mode = Frame::Mode::kGeneral;
}

bool TreeHandler::Put(const TreeValue& value, json::error_code& ec) {
  if (too_many()) return Stop(ec);
  if (Frame* frame = parent(); frame != nullptr) ToGeneral(*frame);
  stack_.push_back(value);
  return true;
}

bool TreeHandler::on_int64(int64_t value, json::string_view /*text*/, json::error_code& ec) {
  if (!CountNumber(ec)) return false;
  Frame* frame = parent();
  const bool compact = frame != nullptr && value == static_cast<int32_t>(value) &&
                       (frame->mode == Frame::Mode::kInts || frame->mode == Frame::Mode::kEmpty);
  if (!compact) return Put({.kind = Kind::kInteger, .integer = value}, ec);
  frame->mode = Frame::Mode::kInts;
  tree_->integers.push_back(static_cast<int32_t>(value));
  ++frame->count;
  return true;
}

TreeValue TreeHandler::Collect(const Frame& frame, Kind kind) {
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(frame.first_value);
  Tree::Node node;
  node.items.assign(first, stack_.end());
  stack_.erase(first, stack_.end());
  return tree_->Add(kind, std::move(node));
}

bool TreeHandler::on_array_end(size_t /*count*/, json::error_code& ec) {
  Frame& frame = frames_[--depth_];
  if (frame.mode == Frame::Mode::kEmpty || frame.mode == Frame::Mode::kGeneral) {
    return Put(Collect(frame, Kind::kList), ec);
  }
  std::vector<int64_t>& shape = frame.block_shape;
  if (frame.mode == Frame::Mode::kInts) shape.clear();
  shape.insert(shape.begin(), frame.count);
  Frame* const above = parent();
  if (above != nullptr && above->mode == Frame::Mode::kEmpty) {
    above->mode = Frame::Mode::kBlocks;
    above->block_shape = shape;
  } else if (above == nullptr || above->mode != Frame::Mode::kBlocks ||
             above->block_shape != shape) {
    // Converting the parent's earlier blocks first keeps the stack in order.
    if (above != nullptr) ToGeneral(*above);
    return Put(AddIntegers(frame, shape, 0), ec);
  }
  ++above->count;
  return true;
}

using Parser = json::basic_parser<TreeHandler>;

/// How feeding the parser ended.
struct Fed {
  uint64_t consumed = 0;
  bool complete = false;
  json::error_code error;
};

}  // namespace

struct JsonDocuments::State {
  explicit State(const ByteFile& of) : file(of), parser(MakeOptions()) {}

  static json::parse_options MakeOptions() {
    json::parse_options options;
    options.max_depth = 32;
    return options;
  }
  /// Feeds the parser from `at` to the end of one document. ERRORS: the file cannot be read.
  Result<Fed> Feed(uint64_t at);
  /// The first byte from `at` that is not white space, or the file's size.
  Result<uint64_t> SkipSpace(uint64_t at);

  const ByteFile& file;
  Parser parser;
  std::string block;
  uint64_t begin = 0;
  uint64_t next = 0;
};

Result<Fed> JsonDocuments::State::Feed(uint64_t at) {
  Fed fed;
  while (true) {
    const uint64_t left = file.size() - at - fed.consumed;
    block.resize(std::min<uint64_t>(kBlockBytes, left));
    SIM_RETURN_IF_ERROR(file.Read(at + fed.consumed, std::span(block)));
    const bool more = block.size() < left;
    const size_t used = parser.write_some(more, block.data(), block.size(), fed.error);
    fed.consumed += used;
    fed.complete = parser.done();
    if (fed.error || fed.complete || !more || used < block.size()) return fed;
    if (fed.consumed > kMaxJsonDocumentBytes) return fed;
  }
}

Result<uint64_t> JsonDocuments::State::SkipSpace(uint64_t at) {
  while (at < file.size()) {
    block.resize(std::min<uint64_t>(kBlockBytes, file.size() - at));
    SIM_RETURN_IF_ERROR(file.Read(at, std::span(block)));
    const size_t found = block.find_first_not_of(" \t\r\n");
    if (found != std::string::npos) return at + found;
    at += block.size();
  }
  return at;
}

JsonDocuments::JsonDocuments(const ByteFile& file) : state_(std::make_unique<State>(file)) {}
JsonDocuments::JsonDocuments(JsonDocuments&&) noexcept = default;
JsonDocuments& JsonDocuments::operator=(JsonDocuments&&) noexcept = default;
JsonDocuments::~JsonDocuments() = default;

uint64_t JsonDocuments::begin() const { return state_->begin; }

Result<bool> JsonDocuments::Next(Tree& tree) {
  State& state = *state_;
  SIM_TRY(state.begin, state.SkipSpace(state.next));
  if (state.begin == state.file.size()) return false;
  state.parser.reset();
  state.parser.handler().Begin(tree, std::nullopt);
  SIM_TRY(const Fed fed, state.Feed(state.begin));
  const uint64_t place = state.begin + fed.consumed;
  if (state.parser.handler().too_many()) {
    return state.file.At(place, "the JSON document that begins at byte " +
                                    std::to_string(state.begin) + " has more than " +
                                    std::to_string(Tree::kMaxNodes) + " texts, lists and maps");
  }
  if (fed.error) return state.file.At(place, "is not JSON: " + fed.error.message());
  if (!fed.complete) {
    return state.file.At(place, "the JSON document that begins at byte " +
                                    std::to_string(state.begin) + " is longer than " +
                                    std::to_string(kMaxJsonDocumentBytes) + " bytes");
  }
  state.next = place;
  return true;
}

uint64_t JsonDocuments::ByteOfNumber(uint64_t numbers) const {
  State& state = *state_;
  Tree scratch;
  state.parser.reset();
  state.parser.handler().Begin(scratch, numbers);
  const auto fed = state.Feed(state.begin);
  return state.begin + (fed.ok() ? fed->consumed : 0);
}

}  // namespace moecast
