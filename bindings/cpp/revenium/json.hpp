// Just enough JSON to write metadata and to look a member up. Bring a JSON library of your own for more.
#ifndef REVENIUM_JSON_HPP
#define REVENIUM_JSON_HPP

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <locale>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace revenium {

/// `text` as a JSON string with its quotes. `text` is UTF-8.
inline std::string json_string(std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size() + 2);
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (byte < 0x20) {
          out += "\\u00";
          out += hex[byte >> 4];
          out += hex[byte & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
  return out;
}

struct field;

/// A JSON value under construction: text, a number, true or false, an object of fields, a list, or JSON as it is.
class value {
 public:
  value(const char* text) : json_(json_string(text)) {}
  value(std::string_view text) : json_(json_string(text)) {}
  value(const std::string& text) : json_(json_string(text)) {}
  template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
  value(T number) : json_(written(number)) {}
  /// An object: `{{"name", "key"}, {"value", "key-7"}}`.
  value(std::initializer_list<field> fields);

  /// JSON that is inserted as it is.
  static value raw(std::string_view json) { return value(as_is{}, json); }
  /// A list of values.
  static value list(const std::vector<value>& items) {
    std::string out = "[";
    for (const value& item : items) {
      if (out.size() > 1) out += ',';
      out += item.json_;
    }
    return value(as_is{}, out + "]");
  }

  const std::string& json() const noexcept { return json_; }

 private:
  struct as_is {};
  value(as_is, std::string_view json) : json_(json) {}

  template <class T>
  static std::string written(T number) {
    if constexpr (std::is_same_v<T, bool>) {
      return number ? "true" : "false";
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!std::isfinite(number)) return "null";
      // Not to_string or to_chars: one cuts at six digits and asks the locale, the other is missing in older libraries.
      std::ostringstream out;
      out.imbue(std::locale::classic());
      out.precision(std::numeric_limits<T>::max_digits10 - 2);
      out << number;
      return out.str();
    } else {
      return std::to_string(number);
    }
  }

  std::string json_;
};

/// One member of an object.
struct field {
  std::string_view name;
  revenium::value value;
};

/// An object of fields as JSON.
inline std::string json_object(std::initializer_list<field> fields) {
  std::string out = "{";
  for (const field& each : fields) {
    if (out.size() > 1) out += ',';
    out += json_string(each.name);
    out += ':';
    out += each.value.json();
  }
  return out + "}";
}

inline value::value(std::initializer_list<field> fields) : json_(json_object(fields)) {}

namespace detail {

/// Walks over JSON without building anything. On malformed text it ends early; it never reads beyond the end.
class scanner {
 public:
  explicit scanner(std::string_view text) noexcept : text_(text) {}

  /// Skips white space, then `c` if it is there.
  bool take(char c) noexcept {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  /// The next value as it is written; empty if there is none.
  std::string_view next() noexcept {
    skip_space();
    const std::size_t start = at_;
    std::size_t depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        skip_string();
      } else if (c == '{' || c == '[') {
        ++depth;
        ++at_;
      } else if (c == '}' || c == ']') {
        if (depth == 0) break;
        --depth;
        ++at_;
      } else if (depth == 0) {
        while (at_ < text_.size() && std::string_view(",]}: \t\r\n").find(text_[at_]) == std::string_view::npos) ++at_;
        break;
      } else {
        ++at_;
      }
      if (depth == 0) break;
    }
    return text_.substr(start, at_ - start);
  }

 private:
  void skip_space() noexcept {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  void skip_string() noexcept {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        if (++at_ == text_.size()) return;
      } else if (text_[at_] == '"') {
        ++at_;
        return;
      }
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// The value of `name` in `object` as it is written, or nothing. Names are compared as they are written.
inline std::string_view member(std::string_view object, std::string_view name) noexcept {
  scanner scan(object);
  if (!scan.take('{')) return {};
  do {
    const std::string_view key = scan.next();
    if (key.size() < 2 || !scan.take(':')) return {};
    const std::string_view found = scan.next();
    if (key.substr(1, key.size() - 2) == name) return found;
  } while (scan.take(','));
  return {};
}

/// `object` with a member that it does not have yet. What is no object stays as it is, for the library to say so.
/// At the end, so that lines and columns of an error about `object` stay right.
inline std::string with_member(std::string_view object, std::string_view name, const value& added) {
  std::string out(object);
  const auto last = out.find_last_not_of(" \t\r\n");
  if (last == std::string::npos || last == 0 || out[last] != '}') return out;
  const bool empty = out[out.find_last_not_of(" \t\r\n", last - 1)] == '{';
  return out.replace(last, 1, (empty ? "" : ",") + json_string(name) + ":" + added.json() + "}");
}

inline std::optional<std::int64_t> integer(std::string_view json) noexcept {
  std::int64_t number = 0;
  const auto [end, fault] = std::from_chars(json.data(), json.data() + json.size(), number);
  if (json.empty() || fault != std::errc() || end != json.data() + json.size()) return std::nullopt;
  return number;
}

inline void append_utf8(std::string& out, std::uint32_t point) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0 | point >> 6);
    put(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    put(0xE0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3F));
    put(0x80 | (point & 0x3F));
  } else {
    put(0xF0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3F));
    put(0x80 | (point >> 6 & 0x3F));
    put(0x80 | (point & 0x3F));
  }
}

/// The text of a JSON string; empty for anything else. Half a surrogate pair becomes U+FFFD.
inline std::string unquoted(std::string_view json) {
  std::string out;
  if (json.size() < 2 || json.front() != '"' || json.back() != '"') return out;
  json = json.substr(1, json.size() - 2);
  const auto unit = [&json](std::size_t at) -> std::optional<std::uint32_t> {
    std::uint32_t code = 0;
    if (at + 6 > json.size() || json[at] != '\\' || json[at + 1] != 'u') return std::nullopt;
    const auto [end, fault] = std::from_chars(json.data() + at + 2, json.data() + at + 6, code, 16);
    if (fault != std::errc() || end != json.data() + at + 6) return std::nullopt;
    return code;
  };
  for (std::size_t at = 0; at < json.size(); ++at) {
    if (json[at] != '\\' || at + 1 == json.size()) {
      out += json[at];
      continue;
    }
    if (auto code = unit(at)) {
      at += 5;
      if (*code >= 0xD800 && *code < 0xDC00) {
        const auto low = unit(at + 1);
        if (low && *low >= 0xDC00 && *low < 0xE000) {
          code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
          at += 6;
        }
      }
      append_utf8(out, *code >= 0xD800 && *code < 0xE000 ? 0xFFFD : *code);
      continue;
    }
    switch (json[++at]) {
      case 'n': out += '\n'; break;
      case 't': out += '\t'; break;
      case 'r': out += '\r'; break;
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      default: out += json[at];
    }
  }
  return out;
}

}  // namespace detail
}  // namespace revenium

#endif
