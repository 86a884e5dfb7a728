// What else Revenium offers: jobs and their outcomes, economics, budgets, webhooks.
#ifndef REVENIUM_PLATFORM_HPP
#define REVENIUM_PLATFORM_HPP

#include <chrono>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "error.hpp"
#include "handle.hpp"
#include "json.hpp"
#include "library.hpp"
#include "scope.hpp"

namespace revenium {

/// Asks Revenium for something and waits for the answer, JSON. `operation` is one of those in revenium.h, "jobs.get" say;
/// `params` a JSON object of what it takes. Tried again where that may help, for minutes; "timeoutMs" in `params` bounds it.
/// Throws argument_error and config_error before anything is sent, the class of the HTTP status for Revenium's refusals.
inline std::string platform_call(const std::string& operation, std::string_view params = "{}") {
  const handle result = detail::made([&](revenium_result* out) {
    return revenium_platform_call(operation.c_str(), params.data(), params.size(), out);
  });
  return std::string(detail::read(revenium_result_json, result.get()));
}

/// The same without exceptions.
inline outcome<std::string> try_platform_call(const std::string& operation, std::string_view params = "{}") noexcept {
  return detail::attempt<std::string>([&]() -> outcome<std::string> { return platform_call(operation, params); });
}

namespace detail {

/// `params` with a member in front of it.
inline std::string asked(std::string_view name, std::string_view text, std::string_view params) {
  return with_member(params, name, value(text));
}

}  // namespace detail

/// Jobs: units of work with a business result. The functions return Revenium's JSON and throw as platform_call does;
/// `params` are the fields of Revenium's API, such as `{{"executionStatus", "SUCCESS"}}`.
namespace jobs {

using params = std::initializer_list<field>;

inline std::string create(std::string_view id, params fields = {}) {
  return platform_call("jobs.create", detail::asked("id", id, json_object(fields)));
}
inline std::string list(params fields = {}) { return platform_call("jobs.list", json_object(fields)); }
inline std::string get(std::string_view id) { return platform_call("jobs.get", detail::asked("id", id, "{}")); }
inline std::string roi(std::string_view id) { return platform_call("jobs.roi", detail::asked("id", id, "{}")); }
inline std::string transactions(std::string_view id, params fields = {}) {
  return platform_call("jobs.transactions", detail::asked("id", id, json_object(fields)));
}
inline std::string types() { return platform_call("jobs.types"); }
inline std::string conversion_funnel(params fields = {}) {
  return platform_call("jobs.conversion_funnel", json_object(fields));
}
/// Once for each job: `executionStatus` (SUCCESS, FAILED, CANCELLED), `outcomeType`, `outcomeValue` and so on.
inline std::string report_outcome(std::string_view id, params fields) {
  return platform_call("jobs.report_outcome", detail::asked("id", id, json_object(fields)));
}
inline std::string amend_outcome(std::string_view id, params fields) {
  return platform_call("jobs.amend_outcome", detail::asked("id", id, json_object(fields)));
}
/// `metrics`: a JSON array of objects with `key` and `value`.
inline std::string append_metrics(std::string_view id, std::string_view metrics) {
  return platform_call("jobs.append_metrics",
                       detail::asked("id", id, json_object({{"metrics", value::raw(metrics)}})));
}
inline std::string outcome_history(std::string_view id) {
  return platform_call("jobs.outcome_history", detail::asked("id", id, "{}"));
}

}  // namespace jobs

/// What a type of job costs without Claude.
namespace economics {

inline std::string get(std::string_view type) { return platform_call("economics.get", detail::asked("type", type, "{}")); }
/// `economics`: a JSON object.
inline std::string put(std::string_view type, std::string_view economics) {
  return platform_call("economics.put", detail::asked("type", type, json_object({{"economics", value::raw(economics)}})));
}
inline std::string baselines(std::string_view type) {
  return platform_call("economics.baselines", detail::asked("type", type, "{}"));
}
inline std::string add_baseline(std::string_view type, std::initializer_list<field> fields) {
  return platform_call("economics.add_baseline", detail::asked("type", type, json_object(fields)));
}
/// `facts`: a JSON array.
inline std::string add_facts(std::string_view type, std::string_view facts) {
  return platform_call("economics.add_facts", detail::asked("type", type, json_object({{"facts", value::raw(facts)}})));
}

}  // namespace economics

namespace budgets {

/// Whether a call with this body would go out, without making it: JSON of "allowed", "warnings" and "would_refuse".
/// Throws budget_exceeded if it would not. Never waits.
inline std::string check(std::string_view body, const metadata& scope = metadata::of_thread()) {
  const handle result = detail::made([&](revenium_result* out) {
    return revenium_budget_check(body.data(), body.size(), scope.native(), out);
  });
  return std::string(detail::read(revenium_result_json, result.get()));
}
/// The rules that are in force for the team.
inline std::string list(std::initializer_list<field> fields = {}) {
  return platform_call("budgets.list", json_object(fields));
}
inline std::string roster(std::string_view rule_id, std::initializer_list<field> fields = {}) {
  return platform_call("budgets.roster", detail::asked("ruleId", rule_id, json_object(fields)));
}

}  // namespace budgets

/// A job while it runs: calls of this thread carry its id while the object lives. Left by an exception it is reported as
/// FAILED, for at most `patience`; otherwise say how it ended with report_outcome(). A report that fails is dropped.
///
///     revenium::job job("loan-1", {{"agenticJobType", "loan"}});
///     ...
///     job.report_outcome({{"executionStatus", "SUCCESS"}});
///
/// Stays on its thread, as revenium::scope does.
class job {
 public:
  explicit job(std::string id, std::initializer_list<field> metadata = {},
               std::chrono::milliseconds patience = std::chrono::seconds(30))
      : id_(std::move(id)),
        patience_(patience),
        exceptions_(std::uncaught_exceptions()),
        scope_(detail::asked("agenticJobId", id_, json_object(metadata))) {}
  job(const job&) = delete;
  job& operator=(const job&) = delete;
  ~job() {
    if (reported_ || std::uncaught_exceptions() <= exceptions_) return;
    // Which exception it is cannot be told here.
    (void)detail::attempt<int>([&]() -> outcome<int> {
      platform_call("jobs.report_outcome", json_object({{"id", id_},
                                                        {"executionStatus", "FAILED"},
                                                        {"outcomeReason", "exception"},
                                                        {"timeoutMs", patience_.count()}}));
      return 0;
    });
  }

  const std::string& id() const noexcept { return id_; }
  /// See jobs::report_outcome().
  std::string report_outcome(std::initializer_list<field> fields) {
    std::string answer = jobs::report_outcome(id_, fields);
    reported_ = true;
    return answer;
  }

 private:
  std::string id_;
  std::chrono::milliseconds patience_;
  int exceptions_;
  bool reported_ = false;
  scope scope_;
};

/// Whether a webhook really comes from Revenium. `timestamp`, `signature`: the headers X-Revenium-Webhook-Timestamp and
/// X-Revenium-Signature-256; `body`: its bytes as they came. False whatever is the matter with it. Throws argument_error
/// for a secret that is empty.
inline bool verify_webhook(std::string_view secret, const std::string& timestamp, const std::string& signature,
                           std::string_view body, std::chrono::seconds tolerance = std::chrono::minutes(5)) {
  const int code = revenium_webhook_verify(secret.data(), secret.size(), timestamp.c_str(), signature.c_str(), body.data(),
                                           body.size(), static_cast<std::int32_t>(tolerance.count()));
  if (code == REVENIUM_E_AUTHENTICATION) return false;
  detail::check(code, "The webhook could not be judged");
  return true;
}

}  // namespace revenium

#endif
