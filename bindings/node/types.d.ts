// The Messages API's shapes, structurally the same as in the official SDK, without importing it. Members that this
// package only passes through are typed loosely; plug in the SDK's own types where you want them closer (see Types).

export type Model = string;

export type StopReason =
  | 'end_turn'
  | 'max_tokens'
  | 'stop_sequence'
  | 'tool_use'
  | 'pause_turn'
  | 'refusal'
  | 'model_context_window_exceeded';

export interface TextBlock {
  type: 'text';
  text: string;
  citations: any[] | null;
}

export interface ThinkingBlock {
  type: 'thinking';
  thinking: string;
  signature: string;
}

export interface RedactedThinkingBlock {
  type: 'redacted_thinking';
  data: string;
}

export interface ToolUseBlock {
  type: 'tool_use';
  id: string;
  name: string;
  input: unknown;
  caller: any;
  toolset_name?: string | null;
}

export interface ServerToolUseBlock {
  type: 'server_tool_use';
  id: string;
  name:
    | 'web_search'
    | 'web_fetch'
    | 'code_execution'
    | 'bash_code_execution'
    | 'text_editor_code_execution'
    | 'tool_search_tool_regex'
    | 'tool_search_tool_bm25';
  input: unknown;
  caller: any;
}

export interface WebSearchToolResultBlock {
  type: 'web_search_tool_result';
  tool_use_id: string;
  content: any;
  caller: any;
}

export interface WebFetchToolResultBlock {
  type: 'web_fetch_tool_result';
  tool_use_id: string;
  content: any;
  caller: any;
}

export interface CodeExecutionToolResultBlock {
  type: 'code_execution_tool_result';
  tool_use_id: string;
  content: any;
}

export interface BashCodeExecutionToolResultBlock {
  type: 'bash_code_execution_tool_result';
  tool_use_id: string;
  content: any;
}

export interface TextEditorCodeExecutionToolResultBlock {
  type: 'text_editor_code_execution_tool_result';
  tool_use_id: string;
  content: any;
}

export interface ToolSearchToolResultBlock {
  type: 'tool_search_tool_result';
  tool_use_id: string;
  content: any;
}

export interface ContainerUploadBlock {
  type: 'container_upload';
  file_id: string;
}

export type ContentBlock =
  | TextBlock
  | ThinkingBlock
  | RedactedThinkingBlock
  | ToolUseBlock
  | ServerToolUseBlock
  | WebSearchToolResultBlock
  | WebFetchToolResultBlock
  | CodeExecutionToolResultBlock
  | BashCodeExecutionToolResultBlock
  | TextEditorCodeExecutionToolResultBlock
  | ToolSearchToolResultBlock
  | ContainerUploadBlock;

/** Token counts as the provider reports them. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cache_creation: { ephemeral_1h_input_tokens: number; ephemeral_5m_input_tokens: number } | null;
  cache_creation_input_tokens: number | null;
  cache_read_input_tokens: number | null;
  inference_geo: string | null;
  output_tokens_details: { thinking_tokens: number } | null;
  server_tool_use: { web_fetch_requests: number; web_search_requests: number } | null;
  service_tier: 'standard' | 'priority' | 'batch' | null;
  speed: 'standard' | 'fast' | null;
}

export interface Message {
  id: string;
  type: 'message';
  role: 'assistant';
  model: Model;
  content: ContentBlock[];
  stop_reason: StopReason | null;
  stop_sequence: string | null;
  stop_details: any;
  container: any;
  diagnostics: any;
  usage: Usage;
  /** The provider's request id; null if it gave none. Not enumerable. */
  _request_id?: string | null;
}

export interface RawMessageStartEvent {
  type: 'message_start';
  message: Message;
}

export interface RawContentBlockStartEvent {
  type: 'content_block_start';
  index: number;
  content_block: ContentBlock;
}

export type RawContentBlockDelta =
  | { type: 'text_delta'; text: string }
  | { type: 'input_json_delta'; partial_json: string }
  | { type: 'citations_delta'; citation: any }
  | { type: 'thinking_delta'; thinking: string }
  | { type: 'signature_delta'; signature: string };

export interface RawContentBlockDeltaEvent {
  type: 'content_block_delta';
  index: number;
  delta: RawContentBlockDelta;
}

export interface RawContentBlockStopEvent {
  type: 'content_block_stop';
  index: number;
}

export interface RawMessageDeltaEvent {
  type: 'message_delta';
  delta: { container: any; stop_details: any; stop_reason: StopReason | null; stop_sequence: string | null };
  /** Totals so far, not increments. */
  usage: {
    input_tokens: number | null;
    output_tokens: number;
    cache_creation_input_tokens: number | null;
    cache_read_input_tokens: number | null;
    output_tokens_details: { thinking_tokens: number } | null;
    server_tool_use: { web_fetch_requests: number; web_search_requests: number } | null;
  };
}

export interface RawMessageStopEvent {
  type: 'message_stop';
}

export type RawMessageStreamEvent =
  | RawMessageStartEvent
  | RawContentBlockStartEvent
  | RawContentBlockDeltaEvent
  | RawContentBlockStopEvent
  | RawMessageDeltaEvent
  | RawMessageStopEvent;

export type MessageStreamEvent = RawMessageStreamEvent;

export interface MessageParam {
  role: 'user' | 'assistant' | 'system';
  content: string | any[];
}

/** The body of POST /v1/messages. Members that are not listed here pass through to the provider. */
export interface MessageCreateParamsBase {
  model: Model;
  max_tokens: number;
  messages: MessageParam[];
  system?: string | any[];
  stop_sequences?: string[];
  stream?: boolean;
  temperature?: number;
  top_k?: number;
  top_p?: number;
  thinking?: any;
  tool_choice?: any;
  tools?: any[];
  metadata?: any;
  cache_control?: any;
  container?: any;
  diagnostics?: any;
  inference_geo?: string | null;
  output_config?: any;
  service_tier?: 'auto' | 'standard_only';
  speed?: 'standard' | 'fast' | null;
  user_profile_id?: string;
  workspace_id?: string;
  /** What this one call is for, over `withUsageMetadata()`. Never reaches the provider. */
  usage_metadata?: UsageMetadata;
  /** The same. Where both name a field, this one wins. */
  usageMetadata?: UsageMetadata;
  /** Choices for this one call, over those of client and request options. Never reach the provider. */
  revenium?: {
    /** true: metered even if metering is selective. false: not metered. */
    meter?: boolean;
    /** false: no record of a failure that you will try again by yourself. */
    meter_retryable?: boolean;
    timeout_ms?: number;
    max_retries?: number;
    provider?: 'auto' | 'anthropic' | 'bedrock';
    api_key?: string;
    base_url?: string;
    /** The region of a call to AWS Bedrock. */
    aws_region?: string;
    headers?: Record<string, string | null>;
    /** The W3C trace context that the call is made in. Default: the active span, where @opentelemetry/api is installed. */
    traceparent?: string;
    tracestate?: string;
  };
}

export interface MessageCreateParamsNonStreaming extends MessageCreateParamsBase {
  stream?: false;
}

export interface MessageCreateParamsStreaming extends MessageCreateParamsBase {
  stream: true;
}

export type MessageCreateParams = MessageCreateParamsNonStreaming | MessageCreateParamsStreaming;

export interface Subscriber {
  /** At most 255 characters. */
  id?: string;
  /** At most 255 characters. */
  email?: string;
  credential?: { name?: string; value?: string };
}

/** Fields of Revenium's usage records, by the names they have there. */
interface UsageFields {
  organizationName?: string | null;
  productName?: string | null;
  subscriptionId?: string | null;
  subscriber?: Subscriber | null;
  credentialAlias?: string | null;
  taskType?: string | null;
  agent?: string | null;
  agentVersion?: string | null;
  environment?: string | null;
  region?: string | null;
  traceId?: string | null;
  traceType?: string | null;
  traceName?: string | null;
  ticketId?: string | null;
  transactionName?: string | null;
  parentTransactionId?: string | null;
  retryNumber?: number | null;
  responseQualityScore?: number | null;
  operationSubtype?: string | null;
  effort?: string | null;
  speed?: string | null;
  entrypoint?: string | null;
  clientSurface?: string | null;
  promptId?: string | null;
  promptLength?: number | null;
  querySource?: string | null;
  subagentType?: string | null;
  skillName?: string | null;
  skillSource?: string | null;
  skillKind?: string | null;
  skillPluginName?: string | null;
  skillMarketplaceName?: string | null;
  skillInvocationTrigger?: string | null;
  agenticJobId?: string | null;
  agenticJobName?: string | null;
  agenticJobType?: string | null;
  agenticJobVersion?: string | null;
  squadId?: string | null;
  squadName?: string | null;
  squadRole?: string | null;
  codingAssistantAccountUuid?: string | null;
  mediationLatency?: number | null;
  modelHost?: string | null;
  systemFingerprint?: string | null;
  temperature?: number | null;
  costMultiplier?: number | null;
  pricingTier?: 'STANDARD' | 'BATCH' | null;
  subscriptionTier?: string | null;
  actualServiceTier?: string | null;
  requestedServiceTier?: string | null;
}

type Snake<Name extends string> = Name extends `${infer Head}${infer Tail}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${Snake<Tail>}`
  : Name;

/**
 * What a call is for. Every field may be written in snake_case too; where both spellings are given, the camelCase one
 * wins. A blank value never erases one from an outer scope; `subscriber` is replaced as a whole. A bad value loses its
 * field, with a warning in the log; it never fails the call. A name that Revenium does not know is an error to the compiler.
 */
export type UsageMetadata = UsageFields & { [Name in keyof UsageFields as Snake<Name>]?: UsageFields[Name] };
