#include "traces/formats/pickle.h"

#include <cstring>
#include <utility>
#include <vector>

#include "traces/formats/torch_values.h"

namespace moecast {
namespace {

using Kind = TreeValue::Kind;

// Names and numbers of Python's pickletools.
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kAppend = 'a',
  kGlobal = 'c',
  kEmptyDict = '}',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kEmptyList = ']',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kEmptyTuple = ')',
  kSetItems = 'u',
  kBinFloat = 'G',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a
};

std::string Hex(uint8_t byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  return {'0', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
}

/// The pickle machine: a stack, a memo, and the arena of a Tree. Each step RETURNS what is wrong
/// with it, empty when nothing is.
class Machine {
 public:
  Machine(std::string_view bytes, const TorchStorages& storages, Tree& tree)
      : bytes_(bytes), storages_(storages), tree_(tree) {}

  std::optional<PickleProblem> Run() {
    tree_.Clear();
    while (true) {
      const size_t position = at_;
      if (at_ == bytes_.size()) return PickleProblem{position, "the pickle is truncated"};
      const auto opcode = static_cast<uint8_t>(bytes_[at_++]);
      if (opcode == kStop) return Stop(position);
      if (tree_.nodes.size() >= Tree::kMaxNodes) {
        return PickleProblem{
            position, "the pickle has more than " + std::to_string(Tree::kMaxNodes) + " objects"};
      }
      if (std::string wrong = Step(opcode); !wrong.empty()) {
        return PickleProblem{position, std::move(wrong)};
      }
    }
  }

 private:
  std::optional<PickleProblem> Stop(size_t position) {
    if (stack_.size() != 1 || !marks_.empty()) {
      return PickleProblem{position, "the pickle ends with " + std::to_string(stack_.size()) +
                                         " objects instead of one"};
    }
    tree_.root = stack_[0];
    return std::nullopt;
  }

  std::string Step(uint8_t opcode);
  std::string StepNumber(uint8_t opcode);
  std::string StepContainer(uint8_t opcode);
  std::string StepMemo(uint8_t opcode);
  std::string StepTorch(uint8_t opcode);

  /// The next `count` bytes, none when the pickle has fewer.
  std::optional<std::string_view> Take(size_t count) {
    if (count > bytes_.size() - at_) return std::nullopt;
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  /// A little-endian number of `count` bytes.
  std::optional<uint64_t> TakeNumber(size_t count) {
    const auto bytes = Take(count);
    if (!bytes) return std::nullopt;
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;) value = value << 8 | static_cast<uint8_t>((*bytes)[i]);
    return value;
  }
  std::string Push(const TreeValue& value) {
    stack_.push_back(value);
    return {};
  }
  std::string PushInteger(int64_t value) {
    return Push({.kind = Kind::kInteger, .integer = value});
  }
  /// Objects above the last mark that may be popped.
  [[nodiscard]] size_t Above() const {
    return stack_.size() - (marks_.empty() ? 0 : marks_.back());
  }
  std::optional<TreeValue> Pop() {
    if (Above() == 0) return std::nullopt;
    const TreeValue value = stack_.back();
    stack_.pop_back();
    return value;
  }
  /// The objects above the last mark, which goes; none without a mark.
  std::optional<std::vector<TreeValue>> PopMark() {
    if (marks_.empty()) return std::nullopt;
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<TreeValue> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::string AddTo(Kind kind, std::vector<TreeValue> items);
  std::string PushTuple(size_t count);
  std::string PushText();
  std::string PushGlobal();
  std::string PushStorage();
  std::string Reduce();

  std::string_view bytes_;
  const TorchStorages& storages_;
  Tree& tree_;
  size_t at_ = 0;
  std::vector<TreeValue> stack_;
  std::vector<size_t> marks_;  // stack sizes
  std::vector<TreeValue> memo_;
};

constexpr const char* kCut = "the pickle is truncated inside this opcode";
constexpr const char* kUnderflow = "the pickle's stack has too few objects for this opcode";

std::string Machine::Step(uint8_t opcode) {
  switch (opcode) {
    case kProto: {
      const auto version = TakeNumber(1);
      if (!version) return kCut;
      return *version == 2 ? ""
                           : "has pickle protocol " + std::to_string(*version) +
                                 ", read is 2, as torch.save writes";
    }
    case kNone:
      return Push({});
    case kNewTrue:
    case kNewFalse:
      return Push({.kind = Kind::kBool, .integer = opcode == kNewTrue ? 1 : 0});
    case kBinUnicode:
      return PushText();
    case kBinInt:
    case kBinInt1:
    case kBinInt2:
    case kLong1:
    case kBinFloat:
      return StepNumber(opcode);
    case kBinPut:
    case kLongBinPut:
    case kBinGet:
    case kLongBinGet:
      return StepMemo(opcode);
    case kGlobal:
    case kBinPersId:
    case kReduce:
      return StepTorch(opcode);
    default:
      return StepContainer(opcode);
  }
}

std::string Machine::StepNumber(uint8_t opcode) {
  if (opcode == kLong1) {
    const auto size = TakeNumber(1);
    if (!size) return kCut;
    if (*size > sizeof(int64_t)) return "a whole number of more than 64 bits";
    const auto value = TakeNumber(*size);
    if (!value) return kCut;
    const auto shift = static_cast<int>(64 - 8 * *size);
    return PushInteger(*size == 0 ? 0 : static_cast<int64_t>(*value << shift) >> shift);
  }
  const size_t size =
      opcode == kBinFloat ? 8 : (opcode == kBinInt ? 4 : (opcode == kBinInt2 ? 2 : 1));
  const auto value = TakeNumber(size);
  if (!value) return kCut;
  if (opcode == kBinInt) return PushInteger(static_cast<int32_t>(*value));
  if (opcode != kBinFloat) return PushInteger(static_cast<int64_t>(*value));
  const uint64_t big_endian = __builtin_bswap64(*value);
  double real = 0;
  std::memcpy(&real, &big_endian, sizeof(real));
  return Push({.kind = Kind::kReal, .real = real});
}

std::string Machine::StepContainer(uint8_t opcode) {
  switch (opcode) {
    case kMark:
      marks_.push_back(stack_.size());
      return {};
    case kEmptyList:
    case kEmptyTuple:
      return Push(tree_.Add(Kind::kList));
    case kEmptyDict:
      return Push(tree_.Add(Kind::kMap));
    case kTuple1:
    case kTuple2:
    case kTuple3:
      return PushTuple(static_cast<size_t>(opcode - kTuple1) + 1);
    case kTuple: {
      auto items = PopMark();
      if (!items) return kUnderflow;
      return Push(tree_.Add(Kind::kList, {.items = std::move(*items)}));
    }
    case kAppend: {
      const auto item = Pop();
      return item ? AddTo(Kind::kList, {*item}) : kUnderflow;
    }
    case kSetItem: {
      const auto value = Pop();
      const auto key = Pop();
      return key ? AddTo(Kind::kMap, {*key, *value}) : kUnderflow;
    }
    case kAppends:
    case kSetItems: {
      auto items = PopMark();
      if (!items) return kUnderflow;
      return AddTo(opcode == kAppends ? Kind::kList : Kind::kMap, std::move(*items));
    }
    default:
      return "pickle opcode " + Hex(opcode) +
             " is refused: only those that build lists, maps, numbers, texts and tensors are read";
  }
}

std::string Machine::AddTo(Kind kind, std::vector<TreeValue> items) {
  if (Above() == 0) return kUnderflow;
  const TreeValue& target = stack_.back();
  if (target.kind != kind) return "items are added to what is no list or map";
  if (kind == Kind::kMap && items.size() % 2 != 0) return "a map gets a key without a value";
  std::vector<TreeValue>& all = tree_.at(target).items;
  all.insert(all.end(), items.begin(), items.end());
  return {};
}

std::string Machine::PushTuple(size_t count) {
  if (Above() < count) return kUnderflow;
  const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
  std::vector<TreeValue> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  return Push(tree_.Add(Kind::kList, {.items = std::move(items)}));
}

std::string Machine::PushText() {
  const auto size = TakeNumber(4);
  if (!size) return kCut;
  const auto text = Take(*size);
  if (!text) return kCut;
  return Push(tree_.Add(Kind::kText, {.text = std::string(*text)}));
}

std::string Machine::StepMemo(uint8_t opcode) {
  const bool put = opcode == kBinPut || opcode == kLongBinPut;
  const auto index = TakeNumber(opcode == kBinPut || opcode == kBinGet ? 1 : 4);
  if (!index) return kCut;
  if (!put) {
    if (*index >= memo_.size()) return "the memo has no entry " + std::to_string(*index);
    return Push(memo_[*index]);
  }
  if (Above() == 0) return kUnderflow;
  // Python numbers entries in order, so a jump is not from a pickler and would only take memory.
  if (*index > memo_.size()) return "memo entry " + std::to_string(*index) + " is out of order";
  if (*index == memo_.size()) memo_.emplace_back();
  memo_[*index] = stack_.back();
  return {};
}

std::string Machine::StepTorch(uint8_t opcode) {
  if (opcode == kGlobal) return PushGlobal();
  return opcode == kBinPersId ? PushStorage() : Reduce();
}

std::string Machine::PushGlobal() {
  const size_t module_end = bytes_.find('\n', at_);
  const size_t end =
      module_end == std::string_view::npos ? module_end : bytes_.find('\n', module_end + 1);
  if (end == std::string_view::npos) return kCut;
  std::string name(bytes_.substr(at_, module_end - at_));
  name += ' ';
  name += bytes_.substr(module_end + 1, end - module_end - 1);
  at_ = end + 1;
  if (!IsTorchName(name)) {
    constexpr size_t kShown = 80;
    return "the pickle asks for '" + name.substr(0, kShown) +
           "', which is refused: only tensors and ordered maps are read, nothing is executed";
  }
  return Push(tree_.Add(Kind::kGlobal, {.text = std::move(name)}));
}

std::string Machine::PushStorage() {
  const auto tuple = Pop();
  if (!tuple) return kUnderflow;
  auto storage = MakeStorage(tree_, *tuple, storages_);
  if (!storage.ok()) return storage.errors()[0].message;
  return Push(tree_.Add(Kind::kStorage, std::move(storage).value()));
}

std::string Machine::Reduce() {
  const auto arguments = Pop();
  const auto callable = Pop();
  if (!callable) return kUnderflow;
  if (callable->kind != Kind::kGlobal || arguments->kind != Kind::kList) {
    return "what is called is no known name, or without arguments";
  }
  const std::string& name = tree_.at(*callable).text;
  const std::vector<TreeValue> items = tree_.at(*arguments).items;
  if (name == kRebuildTensor) {
    auto tensor = MakeTensor(tree_, items);
    if (!tensor.ok()) return tensor.errors()[0].message;
    return Push(tree_.Add(Kind::kTensor, std::move(tensor).value()));
  }
  if (name == kOrderedDict && items.empty()) return Push(tree_.Add(Kind::kMap));
  return "'" + name + "' is called in a way that is not read";
}

}  // namespace

std::optional<PickleProblem> ReadPickle(std::string_view bytes, const TorchStorages& storages,
                                        Tree& tree) {
  return Machine(bytes, storages, tree).Run();
}

}  // namespace moecast
