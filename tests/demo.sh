#!/bin/sh
# demo.sh: runs the examples of every language beside a sandbox, then shows the records that arrived.
# Fails unless each example printed what examples/expected says and each metered call gave one record.
#
# At the end out/demo.png shows the sandbox's page, where there is a Chromium.
#
# A language takes part by an executable examples/LANGUAGE/run, which gets the name of an example.
set -eu

cd "$(dirname -- "$0")/.."
if [ -z "${SANDBOX_URL:-}" ]; then
    # With a pause between the pieces of a stream one sees them come, and a call can be cancelled half way.
    exec env SANDBOX_OPTIONS='--fail anthropic:gap_ms=20' tests/with_sandbox.sh "$0"
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unmetered=0
recorded=0

complain() {
    echo "demo: $*" >&2
    touch "$scratch/failed"
}

# The C and C++ programs that read JSON need a library for it; without one they are left out.
lacks() {
    case $1/$2 in
    c/tools) pkg-config --exists libcjson 2>/dev/null || echo libcjson-dev ;;
    cpp/tools) echo '#include <nlohmann/json.hpp>' | "${CXX:-g++}" -E -x c++ - >/dev/null 2>&1 || echo nlohmann-json3-dev ;;
    esac
}

run() {
    printf '\n---- %s: %s\n\n' "$1" "$2"
    missing=$(lacks "$1" "$2")
    [ -z "$missing" ] || { echo "left out: apt-get install $missing"; return; }
    beside=
    case $2 in
    # The sandbox wants requests to AWS signed, and takes any signature.
    bedrock) beside='env AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox' ;;
    budget) beside='env REVENIUM_TEAM_ID=demo' ;;
    # A job is reported once: a sandbox of its own for each, and a key that may do more than meter.
    jobs)
        beside='env -u SANDBOX_URL SANDBOX_OPTIONS= tests/with_sandbox.sh env REVENIUM_TEAM_ID=demo'
        beside="$beside REVENIUM_METERING_API_KEY=rev_sk_sandbox_0123456789abcdef"
        ;;
    esac
    # shellcheck disable=SC2086 # they are words
    { $beside "examples/$1/run" "$2" || complain "$1/$2 failed"; } | tee "$scratch/output" |
        if [ "$2" = status ]; then sed '/^  "settings": {$/,$ { s/^  "settings": {$/&.../p; d; }'; else cat; fi
    # What follows in braces differs from machine to machine.
    if ! sed '/^{$/,$d' "$scratch/output" | diff -u "examples/expected/$2.txt" - >&2; then
        complain "$1/$2 did not print what examples/expected/$2.txt says"
    fi
    unmetered=$((unmetered + $(grep -c '(not metered)$' "$scratch/output" || true)))
    recorded=$((recorded + $(grep -c '(recorded)$' "$scratch/output" || true)))
}

# A picture of the page. A file that was there before is no picture of this run.
picture() {
    browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || return 1
    # Chromium's own sandbox wants a user that is not root.
    [ "$(id -u)" != 0 ] || browser="$browser --no-sandbox"
    mkdir -p out && rm -f out/demo.png
    # The page's stream has no end, so the picture is taken after a while. (The options are words.)
    # shellcheck disable=SC2086
    timeout 60 $browser --headless --disable-gpu --hide-scrollbars --user-data-dir="$scratch/browser" \
        --window-size=1280,1400 --timeout=5000 --screenshot=out/demo.png "$SANDBOX_URL/" >"$scratch/picture" 2>&1
    [ -s out/demo.png ]
}

echo "demo: what is metered can be watched at $SANDBOX_URL/ while this runs"
# The rule that blocks in the example `budget`.
python3 - <<'PYTHON'
import json, os, urllib.request

rule = {"ruleId": 1, "name": "writer's month", "breached": True, "action": "BLOCK", "currentValue": 12.5, "threshold": 10.0,
        "denyMessage": "Ask the boss.", "filters": [{"dimension": "AGENT", "operator": "IS", "value": "writer"}]}
body = json.dumps({"rules": [rule]}).encode()
headers = {"content-type": "application/json"}
urllib.request.urlopen(urllib.request.Request(os.environ["SANDBOX_URL"] + "/sandbox/budgets", body, headers, method="PUT")).close()
PYTHON
for language in c ${LANGUAGES-cpp go node python}; do
    [ -x "examples/$language/run" ] || continue
    for example in getting_started metadata streaming tools scopes async status bedrock record tool_events jobs budget; do
        run "$language" "$example"
    done
done

# One trace through all languages: this script is the host, whose span the calls and tool events are children of.
mkfifo "$scratch/until"
python3 examples/otel/receiver.py "$scratch/port" <"$scratch/until" >"$scratch/trace" &
receiver=$!
exec 8>"$scratch/until"
while [ ! -e "$scratch/port" ]; do
    kill -0 "$receiver" 2>/dev/null || { echo 'demo: examples/otel/receiver.py did not start' >&2; exit 1; }
    sleep 0.02
done
trace=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n') span=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
(
    exec 8>&-
    export REVENIUM_OTLP=1 REVENIUM_OTLP_PROTOCOL=http/json TRACEPARENT="00-$trace-$span-01"
    REVENIUM_OTLP_ENDPOINT="http://127.0.0.1:$(cat "$scratch/port")"
    export REVENIUM_OTLP_ENDPOINT
    begun=$(date +%s)
    for language in c ${LANGUAGES-cpp go node python}; do
        [ -x "examples/$language/run" ] || continue
        export OTEL_SERVICE_NAME="$language program"
        run "$language" otel
    done
    python3 - "$REVENIUM_OTLP_ENDPOINT" "$trace" "$span" "$begun" <<'PYTHON'
import json, sys, time, urllib.request

endpoint, trace, span, begun = sys.argv[1:]
own = {"traceId": trace, "spanId": span, "name": "make demo", "kind": 1, "startTimeUnixNano": begun + "0" * 9,
       "endTimeUnixNano": str(time.time_ns())}
service = {"attributes": [{"key": "service.name", "value": {"stringValue": "the host"}}]}
export = {"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": [own]}]}]}
request = urllib.request.Request(endpoint + "/v1/traces", json.dumps(export).encode(), {"content-type": "application/json"})
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()
PYTHON
)
exec 8>&-
wait "$receiver"
printf '\n---- what an OpenTelemetry backend got\n\n'
cat "$scratch/trace"
languages=1
for language in ${LANGUAGES-cpp go node python}; do [ ! -x "examples/$language/run" ] || languages=$((languages + 1)); done
for kind in chat execute_tool; do
    [ "$(grep -c "^    $kind " "$scratch/trace")" -eq "$languages" ] || complain "a span $kind is missing from the trace"
done

printf '\n---- what Revenium got\n\n'
python3 - "$unmetered" "$recorded" "$languages" <<'PYTHON' || complain 'a record or tool event is missing, or there is one too many'
import json, os, sys, textwrap, urllib.request

def get(path):
    with urllib.request.urlopen(os.environ["SANDBOX_URL"] + path) as answer:
        return answer.read().decode()

print(get("/sandbox/table"))
bodies = [record["body"] for record in json.loads(get("/sandbox/records"))]
if bodies:
    print("The one with the most to say:\n")
    print(textwrap.fill(json.dumps(max(bodies, key=len)), 110, initial_indent="  ", subsequent_indent="  "))
calls, events = json.loads(get("/sandbox/stats"))["requests"], json.loads(get("/sandbox/tool-events"))
unmetered, recorded, languages = map(int, sys.argv[1:])
print(f"\n{calls} calls were made, {unmetered} of them unmetered on purpose, and {recorded} by something else; "
      f"{len(bodies)} records and {len(events)} tool events arrived.")
# Two of tool_events, one of otel.
sys.exit((calls - unmetered + recorded, 3 * languages) != (len(bodies), len(events)))
PYTHON

if picture; then
    echo "The page that showed it, $SANDBOX_URL/, is in out/demo.png."
else
    echo "The page that showed it was $SANDBOX_URL/; for a picture of it: apt-get install chromium"
fi
echo 'To have it for your own program: target/debug/revenium sandbox --open'
[ ! -e "$scratch/failed" ]
