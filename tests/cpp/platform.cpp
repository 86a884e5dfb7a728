// Revenium's platform: jobs, budgets, webhooks. One process each: they have settings of their own.
#include <thread>

#include "support.hpp"

using test::ask;
using test::at;
using test::text_at;
using test::thrown_by;

static const revenium::client client;
static const std::string jobs_path = "/profitstream/v2/api/jobs";
static const char* const settings = R"({"metering_api_key": "rev_sk_tenant_0123456789abcdef", "team_id": "T"})";

static void plan_path(const std::string& path, const std::string& answers) {
  test::http("POST", "/sandbox/plan", R"({"path": ")" + path + R"(", "answers": )" + answers + "}");
}

static std::vector<std::string> asked() { return test::items(test::http("GET", "/sandbox/requests?service=platform")); }

TEST(jobs) {
  const revenium::library library(settings);
  plan_path(jobs_path + "/loan-1/outcome", R"([{"json": {"entityVersion": 4}}])");
  const std::string answer = revenium::jobs::report_outcome(
      "loan-1", {{"executionStatus", "SUCCESS"}, {"outcomeType", "CONVERTED"}, {"outcomeValue", 5.5}});
  CHECK_EQUAL(answer, R"({"entityVersion":4})");
  const std::string sent = asked().at(0);
  CHECK_EQUAL(text_at(sent, "query"), "teamId=T");
  CHECK_EQUAL(at(sent, "body.outcomeValue"), "5.5");
  CHECK_EQUAL(text_at(sent, "body.outcomeCurrency"), "USD");

  plan_path(jobs_path + "/j/outcome", R"([{"status": 409, "json": {"details": {"guidance": "PATCH"}}}])");
  const auto conflict =
      thrown_by<revenium::conflict_error>([] { revenium::jobs::report_outcome("j", {{"executionStatus", "FAILED"}}); });
  CHECK_EQUAL(at(conflict.json(), "error.already_reported"), "true");
  CHECK_EQUAL(conflict.status(), 409);
  thrown_by<revenium::argument_error>([] { revenium::jobs::get(""); });
  CHECK_EQUAL(revenium::try_platform_call("jobs.explode").code(), REVENIUM_E_ARGUMENT);
  CHECK_EQUAL(revenium::try_platform_call("jobs.get", "[]").code(), REVENIUM_E_JSON);
}

TEST(an_operation_on_a_queue) {
  const revenium::library library(settings);
  plan_path(jobs_path + "/types", R"([{"json": ["loan"]}])");
  revenium::queue queue;
  queue.submit_platform("jobs.types", "{}", 7);
  std::string answer;
  while (answer.empty()) {
    queue.read([&](revenium::frame& each) {
      CHECK_EQUAL(each.tag(), 7u);
      answer = each.result().value().json();
    });
  }
  CHECK_EQUAL(answer, R"(["loan"])");
}

TEST(a_job_left_by_an_exception_has_failed) {
  const revenium::library library(settings);
  plan_path(jobs_path + "/loan-1/outcome", R"([{"json": {}}])");
  thrown_by<std::runtime_error>([] {
    revenium::job job("loan-1", {{"agenticJobType", "loan"}});
    client.messages.create(ask("x"));
    throw std::runtime_error("secret words");
  });
  CHECK(revenium::flush(std::chrono::seconds(10)));
  const std::string record = test::record();
  CHECK_EQUAL(text_at(record, "agenticJobId"), "loan-1");
  CHECK_EQUAL(text_at(record, "agenticJobType"), "loan");
  CHECK_EQUAL(asked().size(), 1u);
  CHECK_EQUAL(text_at(asked().at(0), "body.executionStatus"), "FAILED");
  CHECK(asked().at(0).find("secret") == std::string::npos);

  {
    revenium::job fine("loan-2");
  }
  thrown_by<std::runtime_error>([] {
    revenium::job job("loan-1");
    job.report_outcome({{"executionStatus", "CANCELLED"}});
    throw std::runtime_error("x");
  });
  CHECK_EQUAL(asked().size(), 2u);
  CHECK_EQUAL(text_at(asked().at(1), "body.executionStatus"), "CANCELLED");
}

TEST(a_budget_refuses) {
  plan_path("/v2/api/ai/enforcement-rules/T",
            R"([{"json": {"rules": [{"ruleId": 9, "name": "cap-1", "breached": true, "currentValue": 12.5, "threshold": 10,
                "denyMessage": "Ask."}]}}])");
  const revenium::library library(
      R"({"metering_api_key": "rev_sk_tenant_0123456789abcdef", "team_id": "T", "budget_enforcement": true})");
  for (bool known = false; !known;) {
    try {
      revenium::budgets::check(ask("x"));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } catch (const revenium::budget_exceeded&) {
      known = true;
    }
  }
  const auto error = thrown_by<revenium::budget_exceeded>([] { client.messages.create(ask("x")); });
  CHECK_EQUAL(error.rule_name(), "cap-1");
  CHECK_EQUAL(error.rule_id(), "9");
  CHECK_EQUAL(error.current_value().value(), 12.5);
  CHECK_EQUAL(error.threshold().value(), 10.0);
  CHECK_EQUAL(error.deny_message(), "Ask.");
  CHECK_EQUAL(error.resets_at(), "");
  CHECK_EQUAL(error.status(), 402);
  CHECK_EQUAL(client.messages.try_create(ask("x")).code(), REVENIUM_E_BUDGET);
  CHECK_EQUAL(test::http("GET", "/sandbox/requests?service=anthropic"), "[]");
}

TEST(webhooks) {
  const std::string digest = "sha256=9a0b";
  CHECK(!revenium::verify_webhook("s1", "1800000000", digest, "{}"));
  CHECK(!revenium::verify_webhook("s1", "", "", ""));
  thrown_by<revenium::argument_error>([] { revenium::verify_webhook("", "1", "", ""); });
  // The vendor's own example, with a tolerance of decades.
  const std::string good = "sha256=f450b84ee02d1bdcf500b3cb57505dc2f2355d50a37b3f18d49597d0aa1327a8";
  const std::chrono::seconds decades(2000000000);
  CHECK(revenium::verify_webhook("s1", "1800000000", good, R"({"event":"x"})", decades));
  CHECK(!revenium::verify_webhook("s2", "1800000000", good, R"({"event":"x"})", decades));
}

TEST_MAIN
