# Sourced by every test and benchmark (POSIX sh). What a developer's shell happens to hold must neither change a result
# nor let a call out of the machine: every endpoint is the sandbox, or port 9 (discard) where nothing listens, so that a
# test which forgets to plan an endpoint fails at once; keys, profiles and proxies are gone.

_endpoint="${SANDBOX_URL:-http://127.0.0.1:9}"

export ANTHROPIC_BASE_URL="$_endpoint"
export REVENIUM_METERING_BASE_URL="$_endpoint"
export REVENIUM_ENFORCEMENT_BASE_URL="$_endpoint"
export REVENIUM_PROFITSTREAM_BASE_URL="$_endpoint"
export AWS_ENDPOINT_URL_BEDROCK_RUNTIME="$_endpoint"
export AWS_ENDPOINT_URL="$_endpoint"
unset _endpoint

# Asking for instance metadata would leave the machine, and wait for an answer.
export AWS_EC2_METADATA_DISABLED=true
export AWS_CONFIG_FILE=/dev/null
export AWS_SHARED_CREDENTIALS_FILE=/dev/null

# One after the other, so that they arrive in the order of their calls.
export REVENIUM_METERING_WORKERS=1

unset HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY FTP_PROXY http_proxy https_proxy all_proxy no_proxy ftp_proxy
unset ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_CUSTOM_HEADERS ANTHROPIC_PROFILE
unset ANTHROPIC_IDENTITY_TOKEN ANTHROPIC_IDENTITY_TOKEN_FILE ANTHROPIC_BEDROCK_BASE_URL
unset REVENIUM_METERING_API_KEY REVENIUM_API_KEY REVENIUM_WRITE_API_KEY REVENIUM_OUTCOME_API_KEY REVENIUM_BASE_URL
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_BEARER_TOKEN_BEDROCK
unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_ROLE_ARN AWS_ROLE_SESSION_NAME AWS_WEB_IDENTITY_TOKEN_FILE
unset AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CONTAINER_CREDENTIALS_FULL_URI
unset AWS_CONTAINER_AUTHORIZATION_TOKEN AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
unset AWS_IGNORE_CONFIGURED_ENDPOINT_URLS

# Spans go nowhere but where a test says.
for _name in $(env | sed -n 's/^\(OTEL_[A-Z0-9_]*\|REVENIUM_OTLP[A-Z0-9_]*\)=.*/\1/p'); do unset "$_name"; done
unset _name TRACEPARENT TRACESTATE
