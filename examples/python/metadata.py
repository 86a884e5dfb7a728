"""Everything Revenium can be told about a call. All of it is optional; none of it reaches the provider."""

import os

import librevenium

client = librevenium.Anthropic()
message = client.messages.create(
    model=os.environ.get("MODEL", "claude-sonnet-5-5"),
    max_tokens=100,
    messages=[{"role": "user", "content": "Summarize ticket 4711 in one sentence."}],
    usage_metadata={
        # Who pays, for which product, on whose behalf.
        "organizationName": "Acme",
        "productName": "Support Desk",
        "subscriptionId": "sub-2026-gold",
        "subscriber": {
            "id": "user-42",
            "email": "jane@acme.example",
            "credential": {"name": "support-key", "value": "key-7"},  # for nobody in particular: credentialAlias
        },
        # What for.
        "agent": "summarizer",
        "agentVersion": "2.3.0",
        "taskType": "summarize",
        "operationSubtype": "ticket",
        "ticketId": "4711",
        "responseQualityScore": 0.95,
        # Where it stands among other calls.
        "traceId": "trace-9f2c",
        "traceType": "support",
        "traceName": "Answer a ticket",
        "transactionName": "Summarize the ticket",
        "parentTransactionId": "transaction-1",
        "retryNumber": 0,
        "environment": "production",
        "region": "eu-central-1",
        # The job an agent works at, and the agents it works with.
        "agenticJobId": "job-100",
        "agenticJobName": "Clear the inbox",
        "agenticJobType": "support",
        "agenticJobVersion": "1",
        "squadId": "squad-5",
        "squadName": "Support",
        "squadRole": "writer",
        # The skill in use.
        "skillName": "summarize-ticket",
        "skillKind": "prompt",
        "skillSource": "plugin",
        "skillPluginName": "support-tools",
        "skillMarketplaceName": "acme-tools",
        "skillInvocationTrigger": "automatic",
        # How the prompt came about.
        "effort": "low",
        "speed": "fast",
        "entrypoint": "cli",
        "clientSurface": "terminal",
        "promptId": "prompt-3",
        "promptLength": 38,
        "querySource": "user",
        "subagentType": "writer",
        "codingAssistantAccountUuid": "00000000-0000-4000-8000-000000000042",
        # What only the application or a gateway of its own knows.
        "modelHost": "gateway-1",
        "mediationLatency": 12,
        "systemFingerprint": "fp-1",
        "temperature": 1.0,
        "pricingTier": "STANDARD",
        "costMultiplier": 1.0,
        "subscriptionTier": "gold",
        "requestedServiceTier": "auto",
        "actualServiceTier": "standard",
    },
)
print(message.text)
print(f"metered: {'yes' if message.info['metered'] else 'no'}")
