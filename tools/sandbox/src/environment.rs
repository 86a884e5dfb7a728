//! What a program's environment has to hold to find the sandbox.

/// Keys that no service would take. Outcomes of jobs want one that may write.
const ANTHROPIC_KEY: &str = "sk-ant-sandbox";
const REVENIUM_KEY: &str = "rev_sk_sandbox_0123456789abcdef";

/// Lines for a shell; without providers those of Revenium only. `url` has no path.
pub fn environment(url: &str, providers: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if providers {
        lines.push(format!("export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={ANTHROPIC_KEY}"));
        lines.push(format!(
            "export AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url} AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox"
        ));
    }
    // Budgets set on the page are for trying them out at once.
    lines.push(format!(
        "export REVENIUM_METERING_BASE_URL={url} REVENIUM_METERING_API_KEY={REVENIUM_KEY} REVENIUM_TEAM_ID=sandbox \
         REVENIUM_CIRCUIT_BREAKER_ENABLED=true REVENIUM_CB_POLL_INTERVAL_SECONDS=1"
    ));
    lines
}
