// Jobs: calls that belong to one unit of work, and what came of it. Needs a key that may do more than meter.
#include "example.hpp"

static void program() {
  const revenium::library library;
  const revenium::client client;

  // Every call of this thread carries the job's id while it lives. Left by an exception, it is reported as failed.
  revenium::job job("loan-1", {{"agenticJobType", "loan"}});
  std::cout << client.messages.create(question("Is the loan granted?")).text() << '\n';

  // Once its records have arrived, Revenium knows the job. Until then it is asked again, for at most ten seconds.
  revenium::flush(std::chrono::seconds(10));
  job.report_outcome(
      {{"executionStatus", "SUCCESS"}, {"outcomeType", "CONVERTED"}, {"outcomeValue", 500}, {"timeoutMs", 10000}});
  std::cout << "jobs.report_outcome: done\n";
  revenium::jobs::amend_outcome(job.id(), {{"outcomeValue", 700}, {"reason", "corrected"}, {"timeoutMs", 10000}});
  std::cout << "jobs.amend_outcome: done\n";
}

int main() { return run(program); }
